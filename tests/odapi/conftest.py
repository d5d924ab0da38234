"""Runs that several files look at, made once."""

import os
import shutil
from collections.abc import Iterator

import pytest

# Structures are compared, not kernels: oneDNN's differ between the two versions of TensorFlow, by
# 2e-4 in outputs of random weights. Set before anything imports TensorFlow, for both.
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

from tests.odapi.lineage import Lineage
from tests.odapi.twins import LITE, TWINS


def made(lineage: Lineage) -> Iterator[Lineage]:
    """Run all, and leave nothing: it is a gigabyte."""
    lineage.run()
    yield lineage
    shutil.rmtree(lineage.folder)


@pytest.fixture(scope="session")
def mobilenet_v2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lineage]:
    folder = tmp_path_factory.mktemp("mobilenet_v2")
    yield from made(Lineage(folder, LITE, batch=4, begun=150, rate=0.001))


@pytest.fixture(scope="session")
def resnet50(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lineage]:
    folder = tmp_path_factory.mktemp("resnet50")
    yield from made(Lineage(folder, TWINS["resnet50"], batch=2, begun=80, rate=0.0005))
