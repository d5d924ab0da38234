"""The gauges of every training, in Prometheus' text format.

Ten thousand trainings have seventy thousand lines. The client library takes a second to write them,
and the operator would do nothing else meanwhile; so they are written here, in pieces. They are read
from the cache at each scrape, so that they vanish with their training.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice

from detection_operator.cluster.observe.records import Measures, TrainingRecord

PREFIX = "detection_training_"
PIECE = 500
"""Lines in one piece: a millisecond's work."""

Value = Callable[[Measures, float], float | None]
"""A function of a training's measures and the time; None: no value."""


def _checkpoint_age_s(measures: Measures, now: float) -> float | None:
    saved = measures.checkpoint_at
    return None if saved is None else now - saved.timestamp()


GAUGES: dict[str, tuple[str, Value]] = {
    "step": ("Steps trained, from the status", lambda m, _: m.step),
    "target_steps": ("Requested steps", lambda m, _: m.target_steps),
    "loss": ("Loss as last reported", lambda m, _: m.loss),
    "checkpoint_age_seconds": (
        "Time since the newest checkpoint was saved",
        _checkpoint_age_s,
    ),
    "attempts": ("Trainer starts", lambda m, _: m.attempts),
    "lost_steps": (
        "Steps that were trained and had to be trained again",
        lambda m, _: m.steps_lost,
    ),
    "phase_info": ("The phase of a training", lambda _, __: 1),
}
PHASE = "phase_info"
"""The gauge with the phase as an additional label."""


def training_gauges(
    records: Iterable[TrainingRecord], families: Collection[str], now: float
) -> Iterator[str]:
    """Yield the text in pieces.

    `families`: the requested ones, as in `name[]` of a scrape; none: all. `now`: seconds since the
    epoch. Names of Kubernetes objects contain nothing that must be escaped.
    """
    wanted = {
        name: gauge for name, gauge in GAUGES.items() if not families or PREFIX + name in families
    }
    placed = [(f'name="{r.key.name}",namespace="{r.key.namespace}"', r.measures) for r in records]
    for name, (text, value) in wanted.items():
        yield f"# HELP {PREFIX}{name} {text}\n# TYPE {PREFIX}{name} gauge\n"
        lines = _lines(name, value, placed, now)
        while piece := "".join(islice(lines, PIECE)):
            yield piece


def _lines(
    name: str, value: Value, placed: list[tuple[str, Measures]], now: float
) -> Iterator[str]:
    for place, measures in placed:
        found = value(measures, now)
        if found is not None:
            labels = f'{place},phase="{measures.phase}"' if name == PHASE else place
            yield f"{PREFIX}{name}{{{labels}}} {float(found)}\n"
