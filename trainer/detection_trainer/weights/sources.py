"""Opens the URI of a restore or a continuation; decides by content, not only by the name.

Called by the trainer and by the preflight, so that both accept the same sources. Imports no
TensorFlow, and reads a tensor only on request.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from detection_trainer.checkpoints.export_manifest import read_export
from detection_trainer.checkpoints.format import Checkpoint, CheckpointWeights, find_checkpoint
from detection_trainer.contract.model import Model
from detection_trainer.contract.report import ExportRecord
from detection_trainer.errors import InvalidConfigError, NotFoundError, RestoreRefusedError
from detection_trainer.storage import Folder, open_folder, open_parent
from detection_trainer.weights.keras.file import KerasFile
from detection_trainer.weights.keras.imagenet import KerasWeights
from detection_trainer.weights.keras.layers import is_keras_file
from detection_trainer.weights.odapi.checkpoint import (
    ODAPIWeights,
    explain_strays,
    find_bundle,
    find_strays,
)
from detection_trainer.weights.torch.file import TorchFile
from detection_trainer.weights.torch.tensors import is_torch_file

KERAS_SCHEME = "keras://"


class Weights(Protocol):
    """A source of weights; everything but `read` is known without reading a tensor."""

    shapes: Mapping[str, tuple[int, ...]]
    classes: list[str] | None
    uri: str
    step: int | None
    digest: str | None

    @property
    def model(self) -> Model | None:
        """The model of these variables; None if the source does not record it."""

    def read(self, paths: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
        """Return the values at `paths`."""


def open_weights(uri: str, credentials: Mapping[str, Path], model: Model) -> Weights:
    """Return the weights at `uri`, under the paths of `model`.

    Raises:
        NotFoundError: there is no source of a known kind.
        RestoreRefusedError: the source cannot be used for `model`.
    """
    if uri.startswith(KERAS_SCHEME):
        return KerasWeights(uri)
    if place := _place_of_file(uri, credentials):
        if is_torch_file(*place):
            return TorchFile(*place)
        if is_keras_file(*place):
            return KerasFile(*place, model)
    found = find_run(uri, credentials, model)
    return found if isinstance(found, ODAPIWeights) else CheckpointWeights(found)


def find_run(uri: str, credentials: Mapping[str, Path], model: Model) -> Checkpoint | ODAPIWeights:
    """Return the checkpoint at `uri`: one of this trainer or of the OD API.

    Raises:
        NotFoundError: there is neither.
        RestoreRefusedError: it has only weights, or is an export, which cannot be continued.
    """
    folder = open_folder(uri, credentials)
    export = read_export(folder)
    if export is not None:
        return _of_export(export, credentials, model)
    try:
        return find_checkpoint(folder)
    except NotFoundError as error:
        place = _place_of_file(uri, credentials)
        if place and (is_torch_file(*place) or is_keras_file(*place)):
            msg = (
                f"{uri} holds weights alone, without step and optimizer: use it in restore (mode "
                "full takes all of them), not in continueFrom"
            )
            raise RestoreRefusedError(msg) from error
        bundle = find_bundle(uri, credentials)
        if bundle is None:
            strays = find_strays(uri, credentials)
            if strays:
                raise NotFoundError(explain_strays(uri, strays)) from error
            msg = (
                f"{error}. A checkpoint of the TensorFlow Object Detection API is named by its "
                "model_dir, or by its own name: …/ckpt-26"
            )
            raise NotFoundError(msg) from error
        return ODAPIWeights(bundle, model)


def _of_export(export: ExportRecord, credentials: Mapping[str, Path], model: Model) -> ODAPIWeights:
    """Return an export for the OD API as a checkpoint of the OD API."""
    bundle = find_bundle(export.uri, credentials) if export.format == "ODAPI" else None
    if bundle is None:
        raise RestoreRefusedError(
            f"{export.uri} is an export of format {export.format}, which other programs load and "
            "nothing can be restored from; expected a checkpoint: name the one that it was made "
            f"of, step-{export.step:08d} in the run's folder"
        )
    return ODAPIWeights(bundle, model)


def _place_of_file(uri: str, credentials: Mapping[str, Path]) -> tuple[Folder, str] | None:
    """Return folder and name of the file that `uri` would be; None for a bucket or a whole disk."""
    try:
        return open_parent(uri.rstrip("/"), credentials)
    except InvalidConfigError:
        return None  # The root of a bucket or a disk.
