"""What a training takes in memory stays within the formula of docs/operations.md."""

import random
import re
import string
import tracemalloc
from pathlib import Path

import pytest
from pydantic_core import to_json

from detection_operator.cluster.api.resources import TRAININGS, Object
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.parse import parse_spec
from tests.support.operator.cluster_objects import attempt_status, stored_training

ROOT = Path(__file__).parents[5]
FORMULA = r"limits.memory = 256 MiB \+ trainings \* \((\d) KiB \+ (0\.\d) \* mean size"
COUNT = 60
LETTERS = string.ascii_letters + string.digits + "+/"


def large(number: int, variables: int) -> Object:
    """Return a training with texts that cannot be compressed well."""
    chance = random.Random(number)  # noqa: S311 - no secret
    env = [
        {"name": f"V{n}", "value": "".join(chance.choices(LETTERS, k=1500))}
        for n in range(variables)
    ]
    return stored_training(
        f"t-{number}", f"uid-{number}", attempt_status(), podTemplate={"env": env}
    )


@pytest.mark.parametrize("variables", [0, 2, 16, 64], ids=lambda n: f"{n * 1.5:g} KB")
def test_a_training_needs_no_more_memory_than_documented(variables: int) -> None:
    found = re.search(FORMULA, (ROOT / "docs/operations.md").read_text())
    assert found is not None
    bodies = [large(number, variables) for number in range(COUNT)]
    assert parse_spec(bodies[0]["spec"])[1] == "", "the CRD would take it"
    size = len(to_json(bodies[0]))
    cache = Cache()
    tracemalloc.start()
    for body in bodies:
        cache.apply(TRAININGS, body)
    taken = tracemalloc.get_traced_memory()[0] / COUNT
    tracemalloc.stop()
    assert taken < int(found[1]) * 1024 + float(found[2]) * size
