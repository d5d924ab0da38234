"""The digest that owns a checkpoint folder: of the run's mathematics, however written down."""

import json
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from detection_trainer.contract.spec import FREE_FIELDS, START_FIELDS, config_digest
from tests.support.trainer.runs import parsed

PLACE = {"uri": "file:///data/other.tfrecord"}
DATASET = {"train": {"uri": "file:///data/a.tfrecord"}, "validation": PLACE, "classes": ["tree"]}
MATHEMATICS: dict[str, st.SearchStrategy[Any]] = {
    "seed": st.integers(1, 2**31 - 1),
    "batchSize": st.sampled_from([8, 16, 32]),
    "deterministic": st.sampled_from([True]),
    "freeze": st.just(["backbone"]),
    "optimizer": st.sampled_from([
        {"name": "adam"}, {"learningRate": 0.5}, {"weightDecay": 0.1},
        {"movingAverageDecay": 0.9}, {"schedule": {"warmupSteps": 3}},
    ]),
    "augmentation": st.sampled_from([[{"randomHorizontalFlip": {}}], [{"randomScaleCrop": {}}]]),
    "dataset": st.just({**DATASET, "train": PLACE}),
}  # fmt: skip
FREE: dict[str, st.SearchStrategy[Any]] = {
    "steps": st.integers(101, 2**31 - 1),
    "checkpoints": st.integers(1, 9).map(
        lambda keep: {"storage": {"uri": "s3://runs/moved"}, "keepLast": keep}
    ),
    "credentials": st.just([{"uriPrefix": "s3://", "secretRef": {"name": "keys"}}]),
    "earlyStopping": st.just({"patience": 3}),
    "evaluation": st.integers(1, 50).map(lambda every: {"everySteps": every}),
    "exports": st.just(["SavedModel"]),
    "workers": st.sampled_from([2, 4]),
    "restore": st.just({"mode": "full", "from": {"uri": "s3://runs/other"}}),
}


def digest(**changes: Any) -> str:
    """Return the digest of the document with `changes`, its fields in some order."""
    base = {"dataset": DATASET, "evaluation": {"everySteps": 5}}
    fields = list({**base, **changes}.items())
    random.shuffle(fields)
    return config_digest(parsed(**json.loads(json.dumps(dict(fields)))).spec)


def test_every_field_that_may_change_is_tested() -> None:
    assert FREE.keys() == FREE_FIELDS | START_FIELDS - {"continueFrom"}


@given(changes=st.fixed_dictionaries({}, optional=FREE))
def test_what_may_change_does_not_change_it(changes: dict[str, Any]) -> None:
    assert digest(**changes) == digest()


@given(
    first=st.fixed_dictionaries({}, optional=MATHEMATICS),
    second=st.fixed_dictionaries({}, optional=MATHEMATICS),
)
def test_it_is_equal_only_for_equal_numbers(first: dict[str, Any], second: dict[str, Any]) -> None:
    same = {"batchSize": 4, **first} == {"batchSize": 4, **second}
    assert (digest(**first) == digest(**second)) == same
