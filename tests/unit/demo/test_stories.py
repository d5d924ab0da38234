"""The demo interrupts a training in the middle, at any speed of its trainer."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from demo import stories
from detection_operator.api.v1alpha1 import Spec
from detection_operator.core.reports import decimal
from detection_trainer.contract.schedule import first_cycles, learning_rate
from sandbox.samples.trainings import training

Object = dict[str, Any]
EVERY, STEPS = 50, 300


@dataclass
class PlayedTrainer:
    """A cluster with one training whose trainer makes `pace` steps between two reads."""

    pace: int
    reaction: int
    """Steps made between the look that decides and the deletion."""
    steps: int = STEPS
    step: int = 0
    interrupted_at: int | None = None

    def state(self) -> Object:
        status: Object = {"phase": "Running", "targetSteps": self.steps, "step": self.step}
        status["latestCheckpoint"] = {"step": self.step // EVERY * EVERY}
        if self.step >= self.steps:
            status["phase"] = "Complete"
        if self.interrupted_at is not None:
            status["interruptions"] = [{"lastReportedStep": self.interrupted_at}]
        return {"spec": {"steps": self.steps}, "status": status}

    def train(self, steps: int) -> None:
        self.step = min(self.step + steps, self.steps)

    def states(self) -> Iterator[Object]:
        while True:
            yield self.state()
            self.train(self.pace)


@dataclass
class PlayedStage:
    """The parts of demo.stories.Stage that the interruption uses."""

    trainer: PlayedTrainer
    printed: list[str] = field(default_factory=list)

    @property
    def kube(self) -> "PlayedStage":
        return self

    @property
    def screen(self) -> "PlayedStage":
        return self

    def get(self, _path: str) -> Object:
        return self.trainer.state()

    def print(self, text: str) -> None:
        self.printed.append(text)

    def follow(
        self, _kube: object, _path: str, until: Callable[[Object], bool], *, timeout_s: float
    ) -> Object:
        assert timeout_s > 0
        looks = zip(range(10_000), self.trainer.states(), strict=False)
        return next(state for _, state in looks if until(state))

    def pods(self, _training: str) -> list[Object]:
        self.trainer.train(self.trainer.reaction)
        phase = "Running" if self.trainer.step < self.trainer.steps else "Succeeded"
        return [{"metadata": {"name": "trees-1"}, "status": {"phase": phase}}]

    def kubectl(self, verb: str, *words: str) -> str:
        if verb == "delete":
            self.trainer.interrupted_at = self.trainer.step
        else:
            # The load of the machine changes: at this pace it could never be interrupted.
            self.trainer.pace, self.trainer.reaction = 60, 10
            self.trainer.steps = json.loads(words[-1])["spec"]["steps"]
        return ""


@pytest.mark.parametrize(
    ("pace", "reaction"),
    [(1, 0), (7, 3), (49, 0), (120, 40), (299, 0), (300, 0), (40, 300), (1000, 1000)],
    ids=[
        "a slow trainer", "a usual one", "a step before a checkpoint", "a fast one",
        "one step is left", "complete at the second look", "complete before the deletion",
        "complete before the first read",
    ],
)  # fmt: skip
def test_the_interruption_is_between_the_first_and_the_last_step(pace: int, reaction: int) -> None:
    trainer = PlayedTrainer(pace, reaction)
    stage = PlayedStage(trainer)
    stories.kill_in_the_middle(stage, "path/trees")  # type: ignore[arg-type]
    assert trainer.interrupted_at is not None
    assert 0 < trainer.interrupted_at < trainer.steps
    assert bool(stage.printed) == (trainer.steps > STEPS)


def test_a_training_that_fails_is_not_waited_for() -> None:
    class Failing(PlayedTrainer):
        def state(self) -> Object:
            state = super().state()
            state["status"]["phase"] = "Failed"
            return state

    stage = PlayedStage(Failing(1, 0))
    stories.kill_in_the_middle(stage, "path/trees")  # type: ignore[arg-type]
    assert stage.trainer.interrupted_at is None


def test_the_expected_rate_is_that_of_the_last_update() -> None:
    schedule = {"type": "cosine", "warmupSteps": 30, "finalFraction": 0.1}
    optimizer = {"name": "adam", "learningRate": 0.005, "schedule": schedule}
    spec = training(optimizer=optimizer)["spec"]
    cycles = first_cycles(Spec.model_validate(spec).optimizer.schedule, STEPS)
    status = {
        "step": 210,
        "schedule": {
            "decaySteps": STEPS,
            "cycles": [{"start": c.start, "decaySteps": c.decay_steps} for c in cycles],
        },
    }
    expected = learning_rate(Spec.model_validate(spec).optimizer, cycles, 209)
    found = stories.scheduled_rate({"spec": spec, "status": status})
    assert found == decimal(expected)
    assert found != decimal(learning_rate(Spec.model_validate(spec).optimizer, cycles, 210))
