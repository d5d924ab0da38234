from collections.abc import Iterator

import pytest
import tensorflow as tf
from tensorflow.python.framework import config

from detection_trainer.run.tensorflow_setup import prepare_tensorflow
from tests.support.trainer.runs import parsed


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    config.disable_op_determinism()


def test_without_deterministic_tensorflow_may_choose_the_fastest_operations() -> None:
    environment = prepare_tensorflow(parsed().spec)
    assert not environment.deterministic
    assert not config.is_op_determinism_enabled()


def test_deterministic_binds_every_operation_and_is_recorded() -> None:
    environment = prepare_tensorflow(parsed(deterministic=True).spec)
    assert environment.deterministic
    assert config.is_op_determinism_enabled()
    # TensorFlow itself refuses what it cannot compute the same way twice.
    tf.random.set_seed(None)
    with pytest.raises(RuntimeError, match="determinism is enabled"):
        tf.random.uniform([1])


def test_the_seed_is_that_of_all_sources_of_randomness() -> None:
    def draw() -> float:
        prepare_tensorflow(parsed(seed=5).spec)
        return float(tf.random.uniform([]))

    assert draw() == draw()
