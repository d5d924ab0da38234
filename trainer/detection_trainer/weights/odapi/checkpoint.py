"""A checkpoint of the OD API, as a source of weights and as a run to continue.

    ckpt-26 · ckpt-26.index       one checkpoint, of the model zoo or of a model_dir
    model_dir                     the newest one, which its file `checkpoint` names

A detection checkpoint has the model below `model/`, a classification checkpoint the backbone below
`feature_extractor/`. A training checkpoint also has the step and the optimizer's slots.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from detection_trainer.contract.model import Model
from detection_trainer.contract.odapi import BACKBONES
from detection_trainer.errors import (
    DamagedCheckpointError,
    NotFoundError,
    RestoreRefusedError,
    TooLargeError,
)
from detection_trainer.storage import Folder, open_folder, open_parent
from detection_trainer.weights.odapi.bundle import Bundle, open_bundle
from detection_trainer.weights.odapi.names import (
    CLASSIFICATION_BACKBONE,
    EXTRACTOR,
    PREDICTOR,
    object_paths,
)

STATE_FILE = "checkpoint"
"""The file of `tf.train.CheckpointManager` in a model_dir; it names the newest checkpoint."""
_MAX_STATE_BYTES = 1 << 20
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_SLOT = "/.OPTIMIZER_SLOT/"
_AVERAGE = f"{_SLOT}optimizer/average{_VALUE}"
_STEP = f"step{_VALUE}"
_MODEL = "model/"
_OPTIMIZERS = {"rms": "rms_prop", "m": "adam", "momentum": "momentum"}
"""Slot of Keras' optimizers -> `optimizer.name`; RMSprop with momentum has both slots."""
_CLASSIFICATION = "feature_extractor/"
_NEWEST = re.compile(r"""^[ \t]*model_checkpoint_path[ \t]*:[ \t]*(["'])(.+?)\1""", re.MULTILINE)
_INDEX = ".index"
_PART = re.compile(r"(.+)\.data-\d{5}-of-\d{5}|((?:.*/)?[^/]*ckpt[^/]*)\.index")
"""A file of a checkpoint."""
_OWN = re.compile(r"(?:.*/)?step-\d{8,}/manifest\.json")
"""A checkpoint of this trainer."""
_SHOWN = 5


def find_bundle(uri: str, credentials: Mapping[str, Path]) -> Bundle | None:
    """Return the OD API's checkpoint at `uri`, or None if there is none.

    Raises:
        NotFoundError: the folder names a checkpoint that it does not contain.
        DamagedCheckpointError: the checkpoint is damaged.
    """
    parent, name = open_parent(uri.rstrip("/"), credentials)
    prefix = name.removesuffix(_INDEX)
    if parent.exists(f"{prefix}{_INDEX}"):
        return open_bundle(parent, prefix)
    folder = open_folder(uri, credentials)
    if not folder.exists(STATE_FILE):
        return None
    newest = _newest(folder)
    if not folder.exists(f"{newest}{_INDEX}"):
        raise NotFoundError(_explain_missing(folder, newest, find_strays(uri, credentials)))
    return open_bundle(folder, newest)


def find_strays(uri: str, credentials: Mapping[str, Path]) -> list[str]:
    """Return the URIs of checkpoints in the folder `uri` or below it, complete or not.

    For a folder in which `find_bundle` finds none: its file `checkpoint` is missing, or the user
    means another folder.
    """
    folder = open_folder(uri, credentials)
    found: dict[str, None] = {}
    for entry in folder.list():
        part = _PART.fullmatch(entry.path)
        if part is not None:
            found[folder.uri_of(part[1] or part[2])] = None
        elif _OWN.fullmatch(entry.path):
            found[folder.uri_of(entry.path.rpartition("/")[0])] = None
    return sorted(found, key=_by_number)


def explain_strays(uri: str, strays: Sequence[str]) -> str:
    """Return what is wrong with a folder that contains `strays`, and what to name instead."""
    shown = ", ".join(strays[:_SHOWN]) + (", …" if len(strays) > _SHOWN else "")
    return (
        f"{uri} holds checkpoints ({shown}), but no file {STATE_FILE!r} that names the "
        f"newest: bring that file back, or name one of them, as {strays[-1]}"
    )


def _explain_missing(folder: Folder, newest: str, strays: Sequence[str]) -> str:
    others = f", or name another one, as {strays[-1]}" if strays else ""
    return (
        f"{folder.uri_of(STATE_FILE)} names {newest} as the newest checkpoint, but there is no "
        f"{newest}{_INDEX} beside it: copy the model_dir again{others}"
    )


def _by_number(uri: str) -> list[tuple[int, str]]:
    """Return a sort key with ckpt-9 before ckpt-10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", uri)]


def _newest(folder: Folder) -> str:
    """Return the newest checkpoint's name in the state file, without its folder.

    The folder may be another machine's, also a Windows one: the files are beside the state file.
    """
    try:
        state = folder.read_small(STATE_FILE, _MAX_STATE_BYTES).decode(errors="replace")
    except TooLargeError as error:
        raise DamagedCheckpointError(f"state of a model_dir {error}") from error
    found = _NEWEST.search(state)
    if found is None:
        raise DamagedCheckpointError(
            f'{folder.uri_of(STATE_FILE)}: expected a line model_checkpoint_path: "ckpt-N"; '
            f"received {state[:80]!r}: name the checkpoint itself, as {folder.uri_of('ckpt-1')}"
        )
    return re.split(r"[/\\]+", found[2])[-1]


class ODAPIWeights:
    """The variables of an OD API checkpoint, under the paths of one of our models."""

    classes: list[str] | None = None
    """Not stored in the checkpoint: only the label map has the classes."""
    model: Model | None = None
    digest: str | None = None

    def __init__(self, bundle: Bundle, model: Model) -> None:
        """Map the checkpoint's variables to paths of `model`; of the tensors only the step is read.

        Raises:
            RestoreRefusedError: it has no weights, or the OD API has no such model.
        """
        self.bundle = bundle
        self.uri = bundle.uri
        self._names = _names_by_path(bundle, model)
        self.shapes: Mapping[str, tuple[int, ...]] = {
            path: bundle.tensors[name].shape for path, name in self._names.items()
        }
        self.step = _step(bundle) if _STEP in bundle.tensors else None
        self.optimizer = _optimizer(bundle)
        """The optimizer of its slots, as `optimizer.name`; None without slots."""
        self.averaged = any(name.endswith(_AVERAGE) for name in bundle.tensors)
        """Whether its training kept moving averages of the weights."""

    def read(self, paths: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
        """Return the weights at `paths`, after verifying each."""
        return {path: self.bundle.read(self._names[path]) for path in paths}

    def read_slots(self, slot: str, paths: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
        """Return the optimizer's `slot` of the variables at `paths` that have one."""
        names = {
            path: f"{self._names[path].removesuffix(_VALUE)}{_SLOT}optimizer/{slot}{_VALUE}"
            for path in paths
        }
        return {p: self.bundle.read(n) for p, n in names.items() if n in self.bundle.tensors}


def _step(bundle: Bundle) -> int:
    value = bundle.read(_STEP)
    if value.shape != () or value.dtype.kind != "i" or not 0 <= value < 2**31:
        raise DamagedCheckpointError(
            f"{bundle.uri}: expected a whole number as its step; received {value.dtype} of shape "
            f"{list(value.shape)}: use another checkpoint"
        )
    return int(value)


def _names_by_path(bundle: Bundle, model: Model) -> dict[str, str]:
    try:
        table = object_paths(model, num_classes=1)
    except KeyError:
        twins = ", ".join(f"{ours} ({theirs})" for ours, theirs in BACKBONES.items())
        raise RestoreRefusedError(
            f"{bundle.uri} is a checkpoint of the TensorFlow Object Detection API, which has no "
            f"RetinaNet over {model.backbone}: set model.backbone to the one it was trained with, "
            f"one of {twins}"
        ) from None
    known = {twin: path for path, twin in table.items()}
    return {known.get(twin) or f"{_group(twin)}/{twin}": name for name, twin in _variables(bundle)}


def _optimizer(bundle: Bundle) -> str | None:
    paths = (name.partition(_SLOT)[2].removesuffix(_VALUE) for name in bundle.tensors)
    # The slots of an optimizer within `use_moving_average` are below its name.
    slots = {slot.rpartition("/")[2] for slot in paths if slot}
    return next((name for slot, name in _OPTIMIZERS.items() if slot in slots), None)


def _variables(bundle: Bundle) -> list[tuple[str, str]]:
    """Return name and object path of each variable of the model."""
    names = [n for n in bundle.tensors if n.endswith(_VALUE) and _SLOT not in n]
    roots = {
        f"{_MODEL}{EXTRACTOR}/": f"{EXTRACTOR}/",
        f"{_MODEL}{PREDICTOR}/": f"{PREDICTOR}/",
        f"{_CLASSIFICATION}layer_with_weights": f"{CLASSIFICATION_BACKBONE}/layer_with_weights",
    }
    found = [
        (name, twin + name.removeprefix(root).removesuffix(_VALUE))
        for name in names
        for root, twin in roots.items()
        if name.startswith(root)
    ]
    if not found:
        raise RestoreRefusedError(
            f"{bundle.uri} holds no weights of a detector (its {len(bundle.tensors)} entries: "
            f"{', '.join(sorted(bundle.tensors)[:5])}): the OD API writes ckpt-1 of a run without "
            "fine_tune_checkpoint before it builds the model; take a later checkpoint"
        )
    return found


def _group(twin: str) -> str:
    if twin.startswith(CLASSIFICATION_BACKBONE):
        return "backbone"
    return "feature_extractor" if twin.startswith(EXTRACTOR) else "class_head"
