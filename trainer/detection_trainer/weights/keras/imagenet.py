"""ImageNet weights of `keras.applications` as a source for `classification`.

`keras://resnet50/imagenet`. Names and shapes are known without a download. The file is downloaded
on the first read and cached by Keras (`KERAS_HOME`, else ~/.keras). No model configuration is
deserialised: only weights are read, into a network that this package builds.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from typing import Any
from urllib.error import HTTPError

import numpy as np
import numpy.typing as npt

from detection_trainer.contract.backbone_shapes import (
    RANDOM_STATE,
    RESIDUAL,
    RESNET_V1_BLOCKS,
    backbone_shapes,
)
from detection_trainer.contract.model import Backbone, Model
from detection_trainer.errors import RestoreRefusedError, StorageUnavailableError

_URI = re.compile(r"^keras://([^/]+)/imagenet/?$")


class KerasWeights:
    """A backbone's ImageNet weights, under the detector's paths."""

    classes: list[str] | None = None
    step: int | None = None
    digest: str | None = None

    def __init__(self, uri: str) -> None:
        """Open the source `uri`; downloads nothing.

        Raises:
            RestoreRefusedError: Keras has no such weights.
        """
        self.uri = uri
        self._backbone = _backbone(uri)
        self.model = Model(backbone=self._backbone)
        self.shapes: Mapping[str, tuple[int, ...]] = {
            f"backbone/{path}": shape
            for path, shape in backbone_shapes(self._backbone, top_level=5).items()
            if not path.endswith(f"/{RANDOM_STATE}")
        }

    def read(self, paths: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
        """Return the weights at `paths`.

        Raises:
            StorageUnavailableError: the download failed, or its cache cannot be written.
        """
        found = self._download()
        return {path: found[path] for path in paths}

    def _download(self) -> dict[str, npt.NDArray[Any]]:
        # The import takes seconds, and the preflight needs names and shapes only.
        from detection_trainer.models.backbones import imagenet_network  # noqa: PLC0415

        try:
            # Standard output has one JSON object per line; Keras would draw a progress bar there.
            with redirect_stdout(sys.stderr):
                network = imagenet_network(self._backbone)
        except Exception as error:
            # Keras wraps every error of urllib, ssl, h5py and the file system in `Exception`, and
            # leaves the response of a host that refused the request open.
            if isinstance(error.__context__, HTTPError):
                error.__context__.close()
            msg = (
                f"{self.uri}: expected to download the weights from Keras' public storage, or to "
                f"find them in its cache; received {error!r}: allow the download, put the file "
                "into KERAS_HOME/models, or name a copy of it in a storage of yours as "
                "restore.from.uri (s3://zoo/….h5)"
            )
            raise StorageUnavailableError(msg) from error
        return {
            f"backbone/{layer.name}/{variable.name}": np.array(variable.numpy())
            for layer in network.layers
            for variable in layer.variables
        }


def _backbone(uri: str) -> Backbone:
    match = _URI.match(uri)
    own = {*RESIDUAL, *RESNET_V1_BLOCKS, Backbone.EFFICIENTNET_LITE0}
    known = [backbone.value for backbone in Backbone if backbone not in own]
    if match is None or match[1] not in known:
        msg = (
            f"expected keras://<backbone>/imagenet with a backbone of {', '.join(known)}; "
            f"received {uri!r}"
        )
        raise RestoreRefusedError(msg)
    return Backbone(match[1])
