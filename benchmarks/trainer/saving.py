"""How long a save blocks the loop, beside Keras' `save_weights` of the same state."""

from contextlib import closing

from benchmarks.rounds import Figure, table
from benchmarks.trainer.bench import Bench
from benchmarks.trainer.documents import MOMENTUM

MODEL = {"backbone": "resnet50", "imageSize": 64}
"""Small images: the state is the same for all sizes, and a short step shows what a save adds."""


def measure(bench: Bench) -> str:
    """Measure both ways to save in turns, in one process."""
    training = bench.training("saving", model=MODEL, optimizer=MOMENTUM, batchSize=1)
    with closing(bench.side("saving", training, str(bench.rounds))) as side:
        rounds = [
            side.await_answer(lambda answer: "usual_s" in answer) for _ in range(bench.rounds)
        ]
    usual, blocked, after, commit, keras = (
        Figure.of([found[f"{name}_s"] for found in rounds])
        for name in ("usual", "blocked", "next", "commit", "save_weights")
    )
    rows = [
        ["the loop stands still for a save", blocked.text(".3f", " s")],
        ["Keras `save_weights` of the same state stands still", keras.text(".3f", " s")],
        ["ratio", blocked.over(keras).text(".3f")],
        ["a step, usually", usual.text(".3f", " s")],
        ["the step after a save, while it is written", after.text(".3f", " s")],
        ["the checkpoint is committed after", commit.text(".2f", " s")],
    ]
    return table(["ResNet50 RetinaNet with momentum, local disk", ""], rows)
