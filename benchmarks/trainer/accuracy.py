"""Seconds of training until mAP50 is 0.5 on the shapes, one seed per round."""

from contextlib import ExitStack, closing
from dataclasses import dataclass

from benchmarks.rounds import Figure, table
from benchmarks.trainer.bench import Bench
from benchmarks.trainer.side import Side

GOAL = 0.5
STRETCH, MOST_STEPS = 25, 400


@dataclass(slots=True)
class _Course:
    """The progress of one side."""

    side: Side
    steps: int = 0
    seconds: float = 0.0
    score: float = 0.0

    @property
    def is_running(self) -> bool:
        return self.score < GOAL and self.steps < MOST_STEPS

    def go_on(self) -> None:
        self.seconds += self.side.go(STRETCH).seconds
        self.steps += STRETCH
        self.score = self.side.evaluate()


def measure(bench: Bench) -> str:
    """Train all sides in turns until each reaches the target; KerasHub, the slowest, once."""
    rounds = [
        _round(bench, seed, ("trainer", "fit", "keras_hub") if seed == 0 else ("trainer", "fit"))
        for seed in range(min(bench.rounds, 3))
    ]
    rows = [
        [label, *_cells([courses[module] for courses in rounds if module in courses])]
        for label, module in (
            ("the trainer", "trainer"),
            ("Keras `fit`", "fit"),
            ("KerasHub's RetinaNet", "keras_hub"),
        )
    ]
    head = [f"mAP50 {GOAL}", "seconds of training", "steps", "mAP50 then"]
    return table(head, rows)


def _round(bench: Bench, seed: int, modules: tuple[str, ...]) -> dict[str, _Course]:
    with ExitStack() as stack:
        courses = {}
        for module in modules:
            training = bench.training(f"accuracy-{module}-{seed}", seed=seed)
            courses[module] = _Course(stack.enter_context(closing(bench.side(module, training))))
        while running := [course for course in courses.values() if course.is_running]:
            for course in running:
                course.go_on()
    return courses


def _cells(courses: list[_Course]) -> list[str]:
    seconds = Figure.of([course.seconds for course in courses]).text(".1f")
    there = all(course.score >= GOAL for course in courses)
    return [
        seconds if there else f"not after {seconds}",
        Figure.of([course.steps for course in courses]).text(".0f"),
        Figure.of([course.score for course in courses]).text(),
    ]
