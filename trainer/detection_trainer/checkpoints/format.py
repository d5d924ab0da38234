"""Checkpoints in a folder: one directory a step, committed by a manifest that is written last.

    step-00018000/model.safetensors      every variable of the model, by stable path
    step-00018000/optimizer.safetensors  every slot of the optimizer, by stable path
    step-00018000/manifest.json          commits it; lists the files with their digests
    step-00018000/metrics.json           added after the step was evaluated

A directory without a manifest is ignored; files that differ from it are damaged and never used.
Imports no TensorFlow.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from detection_trainer.checkpoints.candidate import Candidate
from detection_trainer.checkpoints.manifest import (
    AVERAGE,
    MAX_MANIFEST_BYTES,
    MODEL_FILE,
    OPTIMIZER_FILE,
    FileRecord,
    Manifest,
    VariableRecord,
    parse_manifest,
    seal,
)
from detection_trainer.checkpoints.safetensors_writer import pack_tensors
from detection_trainer.contract.base import bytes_digest
from detection_trainer.contract.documents import parse_json
from detection_trainer.contract.report import CheckpointRecord
from detection_trainer.errors import (
    DamagedCheckpointError,
    NotFoundError,
    TooLargeError,
)
from detection_trainer.storage import PIECE_BYTES, Folder, Pieces
from detection_trainer.storage.folder import require_small

MANIFEST_FILE = "manifest.json"
METRICS_FILE = "metrics.json"
_DIRECTORY = re.compile(r"^step-(\d{8,10})/(.+)$")
_BEST = "mAP"
MAX_REPORTED_METRICS = 64

_UNREADABLE = (safetensors.SafetensorError, ValueError, LookupError, TypeError, OverflowError)
"""What safetensors raises for invalid bytes and for types that numpy lacks."""

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The run's state, copied off the device between two steps."""

    step: int
    weights: Arrays
    optimizer: Arrays
    groups: Mapping[str, str]
    """Path in `weights` -> group."""


@dataclass(frozen=True)
class Checkpoint:
    """A committed checkpoint: its directory and its manifest; files are read on demand."""

    folder: Folder
    manifest: Manifest
    metrics: Mapping[str, float] = field(default_factory=dict)
    is_evaluated: bool = False

    @property
    def step(self) -> int:
        """The step after which the state was taken."""
        return self.manifest.step

    @property
    def score(self) -> float | None:
        """The metric by which `best` is chosen; None before an evaluation."""
        return self.metrics.get(_BEST)

    @property
    def record(self) -> CheckpointRecord:
        """The checkpoint as a record for reports."""
        return CheckpointRecord(
            step=self.step,
            uri=self.folder.uri.rstrip("/"),
            digest=self.manifest.digest,
            saved_at=self.manifest.saved_at,
            metrics=reported_metrics({k: v for k, v in self.metrics.items() if "/" not in k}),
        )

    def load(self) -> tuple[Arrays, Arrays]:
        """Return weights and optimizer slots, after verifying all digests.

        Raises:
            DamagedCheckpointError: a file is missing or its bytes differ.
        """
        return self.read_file(MODEL_FILE), self.read_file(OPTIMIZER_FILE)

    def read_weights(self) -> Arrays:
        """Return the weights to evaluate and export: the averaged ones if the run keeps them."""
        weights = self.read_file(MODEL_FILE)
        averaged = self.manifest.averaged
        slots = self.read_file(OPTIMIZER_FILE) if averaged else {}
        return weights | {path: slots[f"{AVERAGE}{path}"] for path in averaged}

    def read_file(self, name: str) -> Arrays:
        """Return the tensors of one file, after verifying its digest, names, shapes and dtypes."""
        data = _read_verified(self.folder, name, self.manifest.files.get(name))
        try:
            tensors: Arrays = safetensors.numpy.load(data)
        except _UNREADABLE as error:
            msg = f"{self.folder.uri}/{name}: expected safetensors; reading it failed: {error}"
            raise DamagedCheckpointError(msg) from error
        _compare_with_manifest(tensors, self.manifest, name, self.folder.uri)
        return tensors

    def verify(self) -> None:
        """Read every file of the manifest and verify its digest.

        Raises:
            DamagedCheckpointError: a file is missing or its bytes differ.
        """
        for name, record in self.manifest.files.items():
            _read_verified(self.folder, name, record)


class CheckpointWeights:
    """A checkpoint as a source of a restore; its shapes are known without reading tensors."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Use the variables of `checkpoint`."""
        self.checkpoint = checkpoint
        self.shapes: Mapping[str, tuple[int, ...]] = checkpoint.manifest.shapes()
        self.classes: list[str] | None = list(checkpoint.manifest.classes)
        self.model = checkpoint.manifest.model
        self.uri: str = checkpoint.folder.uri.rstrip("/")
        self.step: int | None = checkpoint.step
        self.digest: str | None = checkpoint.manifest.digest

    @cached_property
    def _tensors(self) -> Arrays:
        return self.checkpoint.read_weights()

    def read(self, paths: Iterable[str]) -> Arrays:
        """Return the variables at `paths`; the file's digest is verified first."""
        return {path: self._tensors[path] for path in paths}


def checkpoint_name(step: int) -> str:
    """Return the directory of `step`."""
    return f"step-{step:08d}"


def committed_steps(folder: Folder) -> list[int]:
    """Return the steps whose directories contain a manifest, ascending."""
    matches = (_DIRECTORY.match(entry.path) for entry in folder.list("step-"))
    return sorted(int(m[1]) for m in matches if m and m[2] == MANIFEST_FILE)


def uncommitted_steps(folder: Folder) -> list[int]:
    """Return the steps whose directories contain files but no manifest, left by killed saves."""
    matches = (_DIRECTORY.match(entry.path) for entry in folder.list("step-"))
    started = {int(match[1]) for match in matches if match}
    return sorted(started - set(committed_steps(folder)))


def open_checkpoint(folder: Folder) -> Checkpoint:
    """Return the checkpoint in the directory `folder`; reads only manifest and metrics.

    Raises:
        NotFoundError: there is no manifest.
        CheckpointMissingError: the format of the manifest is newer.
        DamagedCheckpointError: the manifest is invalid.
    """
    manifest, metrics = read_manifest(folder), read_metrics(folder)
    return Checkpoint(folder, manifest, metrics or {}, is_evaluated=metrics is not None)


def read_manifest(folder: Folder) -> Manifest:
    """Return the manifest in a checkpoint's directory; raises as `open_checkpoint` does."""
    try:
        data = folder.read_small(MANIFEST_FILE, MAX_MANIFEST_BYTES)
    except TooLargeError as error:
        raise DamagedCheckpointError(f"manifest {error}") from error
    return parse_manifest(data, f"{folder.uri}/{MANIFEST_FILE}")


def read_metrics(folder: Folder) -> dict[str, float] | None:
    """Return the metrics beside a manifest, or None if the step is not evaluated."""
    try:
        document = parse_json(folder.read_small(METRICS_FILE, MAX_MANIFEST_BYTES))
        return {str(name): float(value) for name, value in document["metrics"].items()}
    except (
        NotFoundError,
        TooLargeError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
    ):
        # An unreadable file counts as absent: the step is evaluated again.
        return None


def write_metrics(folder: Folder, step: int, metrics: Mapping[str, float]) -> None:
    """Write the metrics of an evaluated checkpoint beside its manifest."""
    document = {"step": step, "metrics": dict(metrics)}
    folder.write(METRICS_FILE, _json_bytes(document))


def write_checkpoint(
    folder: Folder,
    snapshot: Snapshot,
    describe: Callable[[dict[str, FileRecord], dict[str, VariableRecord]], Manifest],
    before_commit: Callable[[], None],
) -> Checkpoint:
    """Write `snapshot` into its directory below the run's `folder` and commit it.

    The manifest of a damaged checkpoint of the same step is deleted first. A process that is killed
    at any moment leaves either no checkpoint or a complete one.

    Args:
        folder: the run's folder.
        snapshot: what to write.
        describe: builds the manifest from the records of files and variables.
        before_commit: raises if this process may no longer write.
    """
    place = folder.child(checkpoint_name(snapshot.step))
    for stale in (MANIFEST_FILE, METRICS_FILE):
        if place.exists(stale):
            place.delete(stale)
    contents = {MODEL_FILE: snapshot.weights, OPTIMIZER_FILE: snapshot.optimizer}
    files = _write_files(place, {name: pack_tensors(arrays) for name, arrays in contents.items()})
    manifest = describe(files, _variable_records(snapshot, contents))
    before_commit()
    place.write(MANIFEST_FILE, _json_bytes(seal(manifest)))
    return Checkpoint(folder=place, manifest=manifest)


def _write_files(place: Folder, contents: Mapping[str, Pieces]) -> dict[str, FileRecord]:
    """Write and digest all files in parallel threads, without copying their bytes."""
    with ThreadPoolExecutor(2 * len(contents)) as pool:
        writes = [pool.submit(place.write, name, data) for name, data in contents.items()]
        digests = {name: pool.submit(bytes_digest, data) for name, data in contents.items()}
        for write in writes:
            write.result()
        return {
            name: FileRecord(sha256=digest.result(), size=contents[name].size)
            for name, digest in digests.items()
        }


def delete_checkpoint(folder: Folder, step: int) -> None:
    """Delete the checkpoint of `step`: its manifest first, so that no reader sees a part of it."""
    place = folder.child(checkpoint_name(step))
    names = [entry.path for entry in place.list("")]
    for name in sorted(names, key=lambda name: name != MANIFEST_FILE):
        place.delete(name)


def list_checkpoints(folder: Folder) -> tuple[list[Checkpoint], list[Candidate]]:
    """Return the checkpoints with valid manifests, newest first, and the others.

    Reads no tensors. A manifest that vanishes in the meantime is skipped.

    Raises:
        CheckpointMissingError: the format of a manifest is newer.
    """
    checkpoints: list[Checkpoint] = []
    damaged: list[Candidate] = []
    for step in reversed(committed_steps(folder)):
        try:
            checkpoint = open_checkpoint(folder.child(checkpoint_name(step)))
            _require_step(checkpoint, step)
            checkpoints.append(checkpoint)
        except NotFoundError:
            continue
        except DamagedCheckpointError as error:
            damaged.append(Candidate(step=step, problem=str(error)))
    return checkpoints, damaged


def find_checkpoint(folder: Folder) -> Checkpoint:
    """Return the checkpoint at `folder`: the directory of a step, or a run's folder (its newest).

    Raises:
        NotFoundError: `folder` is neither.
        CheckpointMissingError: its format is newer, or it is damaged.
    """
    if folder.exists(MANIFEST_FILE):
        return open_checkpoint(folder)
    steps = committed_steps(folder)
    if not steps:
        msg = (
            f"{folder.uri}: expected a checkpoint (a directory with {MANIFEST_FILE}) or a run's "
            "folder with step-* directories; found neither: list the folder with "
            "`detection-trainer checkpoints ls`"
        )
        raise NotFoundError(msg)
    return open_checkpoint(folder.child(checkpoint_name(steps[-1])))


def reported_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics that a report includes: finite ones, those of all classes first."""
    finite = {k: v for k, v in metrics.items() if np.isfinite(v) and len(k) <= 128}  # noqa: PLR2004 - the contract's bound
    overall_first = sorted(finite, key=lambda name: "/" in name)
    return {name: finite[name] for name in overall_first[:MAX_REPORTED_METRICS]}


def _variable_records(
    snapshot: Snapshot, contents: Mapping[str, Arrays]
) -> dict[str, VariableRecord]:
    return {
        path: VariableRecord(
            group=snapshot.groups[path] if file == MODEL_FILE else "optimizer",
            file=file,
            shape=tuple(array.shape),
            dtype=array.dtype.name,
        )
        for file, arrays in contents.items()
        for path, array in arrays.items()
    }


def _read_verified(folder: Folder, name: str, record: FileRecord | None) -> bytes:
    place = f"{folder.uri.rstrip('/')}/{name}"
    if record is None:
        raise DamagedCheckpointError(f"{place}: the file is missing in the manifest")
    try:
        if record.size > PIECE_BYTES:
            require_small(place, folder.head(name).size, record.size)
            data = folder.read_large(name)
        else:
            data = folder.read_small(name, record.size)
    except NotFoundError as error:
        raise DamagedCheckpointError(
            f"{place}: the file is in the manifest, but not in the folder"
        ) from error
    except TooLargeError as error:
        raise DamagedCheckpointError(f"the bytes differ from the manifest: {error}") from error
    digest = bytes_digest([data])
    if digest != record.sha256:
        msg = (
            f"{place}: the bytes differ from the manifest: expected {record.size} bytes of "
            f"{record.sha256[:19]}…, received {len(data)} of {digest[:19]}…"
        )
        raise DamagedCheckpointError(msg)
    return data


def _compare_with_manifest(tensors: Arrays, manifest: Manifest, file: str, uri: str) -> None:
    expected = {
        path: (v.shape, v.dtype) for path, v in manifest.variables.items() if v.file == file
    }
    received = {path: (tuple(a.shape), a.dtype.name) for path, a in tensors.items()}
    if expected != received:
        differing = sorted({p for p, _ in expected.items() ^ received.items()})
        msg = f"{uri}/{file}: variables differ from the manifest: {', '.join(differing[:5])}"
        raise DamagedCheckpointError(msg)


def _require_step(checkpoint: Checkpoint, step: int) -> None:
    if checkpoint.step != step:
        msg = f"{checkpoint.folder.uri}: the manifest states step {checkpoint.step}"
        raise DamagedCheckpointError(msg)


def _json_bytes(document: Any) -> bytes:
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()
