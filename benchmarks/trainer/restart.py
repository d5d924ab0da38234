"""Seconds from SIGKILL of the trainer to the first new step of the next one, by stage."""

import time
from pathlib import Path

from benchmarks.rounds import Figure, table
from benchmarks.trainer.bench import Bench
from benchmarks.trainer.documents import MOMENTUM, RESNET50, TINY, Document

STAGES = {
    "process": "interpreter",
    "import": "import (TensorFlow)",
    "data": "data: validate, first batch",
    "build": "build the model",
    "restore": "load the checkpoint",
    "compile": "trace and run the first step",
    "other": "everything else",
    "total": "together",
}


def measure(bench: Bench) -> str:
    """Kill the small model and the large one, several times each."""
    small = _kill_often(bench, bench.training("restart-tiny", 20, model=TINY), bench.rounds)
    spec: Document = {"model": RESNET50, "batchSize": 2, "optimizer": MOMENTUM}
    large = _kill_often(bench, bench.training("restart-resnet50", 2, **spec), min(bench.rounds, 3))
    rows = [[text, small[name].text(), large[name].text()] for name, text in STAGES.items()]
    return table(["seconds after SIGKILL", "small model", "ResNet50 RetinaNet"], rows)


def _kill_often(bench: Bench, training: Path, rounds: int) -> dict[str, Figure]:
    killed_at, found = time.time(), []
    for _ in range(rounds + 1):
        side = bench.side("restart", training, str(killed_at))
        found.append(side.await_answer(lambda answer: "stages" in answer)["stages"])
        if len(found) == 1:
            side.await_answer(lambda answer: answer.get("event") == "saved")
        killed_at = time.time()
        side.kill()
    # The first process found no checkpoint, and no process was killed before it.
    return {name: Figure.of([stages[name] for stages in found[1:]]) for name in STAGES}
