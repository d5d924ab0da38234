"""How long a checkpoint takes to an S3 server on this machine and back, beside bare obstore."""

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import obstore
import safetensors.numpy

from benchmarks.rounds import Figure, table
from benchmarks.trainer.bench import Bench
from detection_trainer.checkpoints.format import Arrays, Checkpoint, Snapshot, write_checkpoint
from detection_trainer.checkpoints.manifest import MODEL_FILE, OPTIMIZER_FILE, Environment
from detection_trainer.checkpoints.manifest_builder import RunDescription
from detection_trainer.contract.schedule import first_cycles
from detection_trainer.contract.training import parse_training
from detection_trainer.storage import Folder, open_folder
from detection_trainer.storage.objects import ObjectStorage
from sandbox.processes.s3_server import s3_server
from sandbox.samples.trainings import training
from sandbox.site.object_store import write_keys

ARRAYS, ARRAY_BYTES = 25, 8_000_000
"""Bytes of each of both files: 400 MB together, as for 50 million weights with momentum."""

Way = Callable[[], object]


def measure(bench: Bench) -> str:
    """Measure sending and fetching in turns, in one process."""
    with s3_server(bench.folder / "s3") as port:
        keys = write_keys(bench.folder / "s3-keys", f"http://127.0.0.1:{port}")
        folder = open_folder("s3://runs", {"s3://": keys})
        state = _state()
        whole = _save(folder.child("trainer"), state)
        sides: dict[str, tuple[Way, Way]] = {
            "the trainer": (lambda: _save(folder.child("trainer"), state), whole.load),
            "one file after the other, copied whole": (
                lambda: _save_in_turn(folder.child("plain"), state),
                lambda: _load_in_turn(whole),
            ),
            "obstore's put and get, no digest": _bare(folder.child("bare"), state),
        }
        found = _alternate(sides, bench.rounds)
    head = ["400 MB in two files, versitygw on loopback", "up", "down"]
    rows = [[name, *(Figure.of(f).text(".2f", " s") for f in found[name])] for name in sides]
    ours, _, bare = (found[name] for name in sides)
    ratios = [Figure.of(a).over(Figure.of(b)).text() for a, b in zip(ours, bare, strict=True)]
    return table(head, [*rows, ["the trainer's time / obstore's time", *ratios]])


def _alternate(
    sides: dict[str, tuple[Way, Way]], rounds: int
) -> dict[str, tuple[list[float], list[float]]]:
    """Return the seconds of each side, up and down; the sides take turns, in alternating order."""
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in sides}
    for up, down in sides.values():  # Once before it counts.
        up()
        down()
    for number in range(rounds):
        order = list(sides) if number % 2 == 0 else list(reversed(sides))
        for name in order:
            for act, seconds in zip(sides[name], found[name], strict=True):
                began = time.monotonic()
                act()
                seconds.append(time.monotonic() - began)
    return found


def _state() -> Snapshot:
    random = np.random.default_rng(0)

    def arrays(group: str) -> Arrays:
        count = ARRAY_BYTES // 4
        return {f"{group}/{i}": random.random(count, np.float32) for i in range(ARRAYS)}

    weights = arrays("backbone")
    return Snapshot(1, weights, arrays("optimizer"), dict.fromkeys(weights, "backbone"))


def _description() -> RunDescription:
    """Return what the manifests have in common; their content costs no time."""
    run = parse_training(training())
    environment = Environment(
        intra_op_threads=1, inter_op_threads=1, one_dnn="default", deterministic=False
    )
    return RunDescription(
        identity=run.identity,
        spec=run.spec,
        attempt=1,
        classes=["tree"],
        cycles=first_cycles(run.spec.optimizer.schedule, run.spec.steps),
        environment=environment,
        dataset_digest=None,
        restored=None,
        clock=lambda: datetime.now(UTC),
    )


def _save(folder: Folder, state: Snapshot) -> Checkpoint:
    shared = _description()
    return write_checkpoint(
        folder, state, lambda files, found: shared.manifest(state, files, found), lambda: None
    )


def _save_in_turn(folder: Folder, state: Snapshot) -> None:
    """Save in the simplest way: create each file, compute its digest, then send it."""
    for name, arrays in ((MODEL_FILE, state.weights), (OPTIMIZER_FILE, state.optimizer)):
        data = safetensors.numpy.save(arrays)
        folder.write(name, data)
        hashlib.sha256(data).hexdigest()


def _load_in_turn(checkpoint: Checkpoint) -> None:
    for name in (MODEL_FILE, OPTIMIZER_FILE):
        data = checkpoint.folder.read(name)
        hashlib.sha256(data).hexdigest()
        safetensors.numpy.load(data)


def _bare(folder: Folder, state: Snapshot) -> tuple[Way, Way]:
    if not isinstance(folder.store, ObjectStorage):
        raise TypeError(f"expected object storage; received {folder.store!r}")
    store = folder.store.store
    contents = {
        f"{folder.key}/{name}": safetensors.numpy.save(arrays)
        for name, arrays in ((MODEL_FILE, state.weights), (OPTIMIZER_FILE, state.optimizer))
    }

    def put() -> None:
        for key, data in contents.items():
            obstore.put(store, key, data)

    def get() -> None:
        for key in contents:
            obstore.get(store, key).bytes()

    return put, get
