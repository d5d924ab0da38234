from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from detection_trainer.checkpoints.format import Arrays
from detection_trainer.contract.schedule import Cycle, learning_rate
from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.errors import CheckpointMissingError
from detection_trainer.models import targets
from detection_trainer.run.loop import Batch
from detection_trainer.training.step import TrainingStep, build_training_step
from sandbox.samples.trainings import TINY_MODEL
from tests.support.trainer.runs import parsed

CYCLES = [Cycle(start=0, decay_steps=6)]


OPTIMIZER_FIELDS = {"name", "weightDecay", "movingAverageDecay", "decay", "epsilon"}


def spec(name: str = "momentum", **fields: Any) -> TrainingSpec:
    optimizer = {key: fields.pop(key) for key in OPTIMIZER_FIELDS & fields.keys()}
    optimizer |= {"name": name, "learningRate": 0.01}
    return parsed(steps=6, batchSize=2, seed=7, optimizer=optimizer, **fields).spec


def batch(step: int) -> Batch:
    """Return a made-up batch that is a function of the step alone."""
    random = np.random.default_rng(step)
    images = random.uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    boxes = np.zeros((2, 8, 4), np.float32)
    boxes[:, 0] = [0.1, 0.2, 0.6, 0.8]
    classes = np.zeros((2, 8), np.int32)
    classes[:, 0] = 1
    return tf.constant(images), tf.constant(boxes), tf.constant(classes)


def train(update: TrainingStep, steps: range) -> list[float]:
    rates = parsed(optimizer={"learningRate": 0.01}).spec.optimizer
    return [
        float(update(batch(step), learning_rate(rates, CYCLES, step), step)["loss"])
        for step in steps
    ]


def assert_same_state(left: TrainingStep, right: TrainingStep) -> None:
    mine, theirs = left.snapshot(6), right.snapshot(6)
    for ours, wanted in ((mine.weights, theirs.weights), (mine.optimizer, theirs.optimizer)):
        assert ours.keys() == wanted.keys()
        for path, array in ours.items():
            assert array.tobytes() == wanted[path].tobytes(), path


HALF = {"model": {**TINY_MODEL, "precision": "mixed_float16"}}


@pytest.mark.parametrize(
    ("optimizer", "fields"),
    [
        pytest.param({"name": "momentum"}, {}, id="momentum"),
        pytest.param({"name": "adam"}, {}, id="Adam"),
        pytest.param({"name": "adamw", "weightDecay": 0.01}, {}, id="AdamW"),
        pytest.param({"name": "rms_prop", "decay": 0.8, "epsilon": 0.1}, {}, id="RMSProp"),
        pytest.param({"name": "adam", "movingAverageDecay": 0.99}, {}, id="with an average"),
        pytest.param({"name": "momentum"}, HALF, id="with a loss scale"),
        pytest.param({"name": "momentum"}, {"freeze": ["backbone"]}, id="with a frozen group"),
    ],
)
def test_resumed_from_a_snapshot_it_is_bit_identical_to_uninterrupted(
    optimizer: dict[str, Any], fields: dict[str, Any]
) -> None:
    control = build_training_step(spec(**optimizer, **fields), 1)
    losses = train(control, range(3))
    state = control.snapshot(3)
    losses += train(control, range(3, 6))
    # Another seed: what is not restored would show.
    other = spec(**optimizer, **fields).model_copy(update={"seed": 8})
    second = build_training_step(other, 1)
    second.load(state.weights, state.optimizer)
    assert train(second, range(3, 6)) == losses[3:]
    assert_same_state(second, control)


def test_without_crowds_every_bit_is_as_without_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    update = build_training_step(spec(), 1)
    train(update, range(2))
    state = update.snapshot(2)
    images, boxes, classes = (part.numpy() for part in batch(2))
    boxes[:, 1], classes[:, 1] = [0.5, 0.0, 1.0, 0.5], targets.CROWD
    losses = update((tf.constant(images), tf.constant(boxes), tf.constant(classes)), 0.01, 2)
    monkeypatch.setattr(targets._Matcher, "_ignoring_crowds", lambda _, match, *__: match)
    without = build_training_step(spec(), 1)
    train(without, range(2))
    control = without.snapshot(2)
    for ours, wanted in ((state.weights, control.weights), (state.optimizer, control.optimizer)):
        assert {p: a.tobytes() for p, a in ours.items()} == {
            p: a.tobytes() for p, a in wanted.items()
        }
    plain = without(batch(2), 0.01, 2)
    assert losses["localization"] == plain["localization"]
    assert losses["classification"] < plain["classification"], "its background is not judged"


def test_fresh_weights_are_a_function_of_the_seed() -> None:
    assert_same_state(build_training_step(spec(), 1), build_training_step(spec(), 1))
    other = build_training_step(spec().model_copy(update={"seed": 8}), 1).snapshot(0)
    same = build_training_step(spec(), 1).snapshot(0)
    assert any((other.weights[p] != same.weights[p]).any() for p in same.weights)


def copied(arrays: Arrays) -> Arrays:
    return {path: array.copy() for path, array in arrays.items()}


def assert_differs(arrays: Arrays, before: Arrays) -> None:
    assert any(not np.array_equal(arrays[path], before[path]) for path in before)


@pytest.fixture(scope="module")
def update() -> TrainingStep:
    return build_training_step(spec(), 1)


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "adamw"])
def test_a_snapshot_does_not_change_when_training_continues(optimizer: str) -> None:
    update = build_training_step(spec(optimizer), 1)
    train(update, range(1))
    state = update.snapshot(1)
    before, slots = copied(state.weights), copied(state.optimizer)
    train(update, range(1, 3))
    assert all(np.array_equal(before[path], state.weights[path]) for path in before)
    assert all(np.array_equal(slots[path], state.optimizer[path]) for path in slots)
    assert_differs(update.snapshot(3).weights, before)


def test_a_snapshot_does_not_change_when_another_state_is_loaded(update: TrainingStep) -> None:
    state = update.snapshot(0)
    before, slots = copied(state.weights), copied(state.optimizer)
    other = build_training_step(spec().model_copy(update={"seed": 9}), 1).snapshot(0)
    update.load(other.weights, other.optimizer)
    assert all(np.array_equal(before[path], state.weights[path]) for path in before)
    assert all(np.array_equal(slots[path], state.optimizer[path]) for path in slots)
    assert_differs(update.snapshot(0).weights, before)
    update.load(before, slots)


def test_the_graph_is_traced_once_for_all_rates(update: TrainingStep) -> None:
    train(update, range(3))
    assert update._graph.experimental_get_tracing_count() == 1


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(update: TrainingStep) -> None:
    state = update.snapshot(0)
    broken = dict(state.weights)
    path = next(p for p in broken if p.startswith("class_head"))
    broken[path] = np.zeros((9, 9), np.float32)
    changed = {p: a + 1 if a.dtype == np.float32 else a for p, a in broken.items()}
    with pytest.raises(CheckpointMissingError, match=path):
        update.load(changed, state.optimizer)
    assert all(np.array_equal(a, state.weights[p]) for p, a in update.snapshot(0).weights.items())


def damaged(change: Callable[[np.ndarray[Any, Any]], None]) -> Batch:
    images, boxes, classes = batch(0)
    array = images.numpy()
    change(array)
    return tf.constant(array), boxes, classes


def test_the_first_step_that_is_not_finite_is_remembered() -> None:
    update = build_training_step(spec(), 1)
    assert update.first_bad_step() is None

    def poison(array: np.ndarray[Any, Any]) -> None:
        array[0, 0, 0, 0] = np.nan

    update(damaged(poison), 0.01, 4)
    update(batch(0), 0.01, 5)
    assert update.first_bad_step() == 5


def test_frozen_groups_do_not_move() -> None:
    update = build_training_step(spec(freeze=["backbone"], model=TINY_MODEL), 1)
    before = update.snapshot(0).weights
    train(update, range(2))
    after = update.snapshot(2).weights
    moved = {p for p in before if not np.array_equal(before[p], after[p])}
    assert moved
    assert not any(path.startswith("backbone/") for path in moved)


def test_a_run_without_averages_evaluates_its_own_weights(update: TrainingStep) -> None:
    before = update.snapshot(0).weights
    with update.averaged():
        during = update.snapshot(0).weights
    assert all(np.array_equal(value, during[path]) for path, value in before.items())


def test_averaged_weights_are_in_the_detector_only_meanwhile() -> None:
    update = build_training_step(spec(movingAverageDecay=0.5), 1)
    update.optimizer.start_averages()
    train(update, range(3))
    trained = update.snapshot(3)
    with update.averaged():
        for path, average in update.optimizer.averages.items():
            assert np.array_equal(update.detector.variables[path].numpy(), average.numpy())
    after = update.snapshot(3)
    assert all(after.weights[p].tobytes() == v.tobytes() for p, v in trained.weights.items())
    assert_differs(
        {p: v.numpy() for p, v in update.optimizer.averages.items() if p.endswith("kernel")},
        {p: v for p, v in trained.weights.items() if p.endswith("kernel")},
    )
