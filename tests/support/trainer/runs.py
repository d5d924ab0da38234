"""Runs without TensorFlow: snapshots of made-up numbers, their manifests, and storages that die."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from detection_trainer.checkpoints.format import Arrays, Checkpoint, Snapshot, write_checkpoint
from detection_trainer.checkpoints.manifest import Environment, FileRecord, Manifest, VariableRecord
from detection_trainer.checkpoints.manifest_builder import RunDescription
from detection_trainer.contract.schedule import first_cycles
from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.contract.training import Training, parse_training
from detection_trainer.storage import Entry, Folder, Source, Store
from sandbox.samples.trainings import training

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ENVIRONMENT = Environment(
    intra_op_threads=1, inter_op_threads=1, one_dnn="default", deterministic=False
)


class KilledError(BaseException):
    """Stands in for the death of the process; nothing catches it."""


@dataclass
class DyingStore:
    """A storage whose process is killed before the `die_before`-th change (0-based)."""

    store: Store
    die_before: int | None = None
    changes: list[str] = field(default_factory=list)

    def _change(self, what: str) -> None:
        if self.die_before is not None and len(self.changes) >= self.die_before:
            raise KilledError
        self.changes.append(what)

    def write(self, key: str, data: Source, *, create: bool) -> None:
        self._change(f"write {key}")
        self.store.write(key, data, create=create)

    def delete(self, key: str) -> None:
        self._change(f"delete {key}")
        self.store.delete(key)

    def read(self, key: str) -> bytes:
        return self.store.read(key)

    def read_small(self, key: str, limit: int) -> bytes:
        return self.store.read_small(key, limit)

    def read_large(self, key: str) -> bytes:
        return self.store.read_large(key)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        return self.store.read_range(key, start, length)

    def list(self, directory: str, name: str, *, recursive: bool) -> Iterator[Entry]:
        return self.store.list(directory, name, recursive=recursive)

    def head(self, key: str) -> Entry | None:
        return self.store.head(key)

    def download(self, key: str, target: Path) -> None:
        self.store.download(key, target)

    def local_path(self, key: str) -> Path | None:
        return self.store.local_path(key)


def parsed(**spec: Any) -> Training:
    """Return the training of the smallest valid document, changed by `spec`."""
    return parse_training(training(**spec))


def snapshot(step: int, value: float | None = None) -> Snapshot:
    """Return a made-up state of `step`."""
    number = float(step) if value is None else value
    weights: Arrays = {
        "backbone/conv/kernel": np.full((3, 2), number, np.float32),
        "class_head/predictor/bias": np.full((2,), -number, np.float32),
        "backbone/dropout/seed": np.array([7, step], np.uint32),
    }
    slots: Arrays = {
        "optimizer/iteration": np.array(step, np.int64),
        "optimizer/momentum/backbone/conv/kernel": np.full((3, 2), number / 2, np.float32),
    }
    groups = {path: path.split("/")[0] for path in weights}
    return Snapshot(step=step, weights=weights, optimizer=slots, groups=groups)


def description(spec: TrainingSpec | None = None, **fields: Any) -> RunDescription:
    """Return what the manifests of a made-up run share."""
    whole = parsed()
    spec = spec or whole.spec
    known: dict[str, Any] = {
        "identity": whole.identity,
        "spec": spec,
        "attempt": 1,
        "classes": ["tree"],
        "cycles": first_cycles(spec.optimizer.schedule, spec.steps),
        "environment": ENVIRONMENT,
        "dataset_digest": None,
        "restored": None,
        "clock": lambda: NOW,
    }
    return RunDescription(**(known | fields))


def commit(folder: Folder, step: int, value: float | None = None, **fields: Any) -> Checkpoint:
    """Write and commit a made-up checkpoint."""
    shared, state = description(**fields), snapshot(step, value)

    def manifest(files: dict[str, FileRecord], variables: dict[str, VariableRecord]) -> Manifest:
        return shared.manifest(state, files, variables)

    return write_checkpoint(folder, state, manifest, lambda: None)


def flip_byte(path: Path, position: int = -1) -> None:
    """Damage the file at `path` by one bit-flipped byte."""
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    path.write_bytes(bytes(data))
