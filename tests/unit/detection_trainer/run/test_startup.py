from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from detection_trainer.distributed.distribution import Distribution
from detection_trainer.distributed.tf_config import Cluster
from detection_trainer.run.datasets import Datasets
from detection_trainer.run.startup import require_same_datasets, require_same_state
from tests.support.trainer.runs import snapshot


@dataclass
class Compared:
    """Stands for a distribution: keeps the digests that the workers would compare."""

    cluster: Cluster
    digests: dict[str, str] = field(default_factory=dict)

    def require_same(self, what: str, digest: str) -> None:
        self.digests[what] = digest


def compared(workers: int, *classes: str, records: str = "sha256:0") -> dict[str, str]:
    seen = Compared(Cluster(tuple(f"host-{i}:1" for i in range(workers))))
    train: Any = SimpleNamespace(digest=records)
    distribution = cast("Distribution", seen)
    require_same_datasets(distribution, Datasets(list(classes), train, None))
    require_same_state(distribution, snapshot(3))
    return seen.digests


def test_one_worker_compares_nothing() -> None:
    assert compared(1, "tree", "shrub") == {}


@pytest.mark.parametrize(
    ("classes", "records", "differing"),
    [
        (("tree", "shrub"), "sha256:0", set()),
        (("shrub", "tree"), "sha256:0", {"classes"}),
        (("tree", "shrub", "car"), "sha256:0", {"classes"}),
        (("tree", "shrub"), "sha256:1", {"records"}),
    ],
    ids=["the same", "ids of a label map are swapped", "a class more", "other records"],
)
def test_several_workers_compare_records_classes_and_state(
    classes: tuple[str, ...], records: str, differing: set[str]
) -> None:
    mine, theirs = compared(2, "tree", "shrub"), compared(2, *classes, records=records)
    assert mine.keys() == theirs.keys() == {"records", "classes", "state"}
    assert {what for what in mine if mine[what] != theirs[what]} == differing
