"""Invariants of the repository's files."""

import operator
import re
from pathlib import Path

import pytest
import yaml

from detection_operator.api.crd import build_crd, render
from detection_operator.api.v1alpha1 import Spec
from detection_trainer.contract.spec import KUBERNETES_FIELDS, TrainingSpec

ROOT = Path(__file__).parents[2]
CRD = ROOT / "crds" / "detectiontrainings.yaml"
CHART_CRD = ROOT / "charts" / "detection-operator" / "files" / "detectiontrainings.yaml"
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
ADDRESS = re.compile(r"\w+://|^\s*(--(extra-)?index-url|--find-links|-i|-f)\b", re.MULTILINE)


@pytest.mark.parametrize("folder", ["operator", "trainer"])
def test_the_top_folders_are_no_packages(folder: str) -> None:
    # The first would hide Python's own `operator` module from everything that is imported here.
    assert not (ROOT / folder / "__init__.py").exists()


def test_python_imports_its_own_operator_module() -> None:
    assert hasattr(operator, "itemgetter")
    assert not Path(str(operator.__file__)).is_relative_to(ROOT / "operator")


def test_tests_are_no_packages() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


@pytest.mark.parametrize("program", ["operator", "trainer"])
@pytest.mark.parametrize("folder", ["benchmarks", "chaos"])
def test_what_measures_or_disturbs_a_program_is_a_package_that_make_runs(
    folder: str, program: str
) -> None:
    target = f"{'bench' if folder == 'benchmarks' else folder}-{program}"
    assert (ROOT / folder / program / "__init__.py").exists()
    recipe = (ROOT / "Makefile").read_text().partition(f"\n{target}:")[2].partition("\n\n")[0]
    assert f"python -m {folder}.{program} " in f"{recipe} ".replace("\n", " ")


def test_there_is_a_lock_for_each_image_and_for_development() -> None:
    assert {"operator.lock", "trainer-cpu.lock", "trainer-cuda.lock", "dev.lock"} <= {
        lock.name for lock in LOCKS
    }


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_holds_versions_and_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    assert ADDRESS.search(text) is None
    pins = re.findall(r"^[A-Za-z0-9][^\s;]*==\S+(?:\s*;.*?)? \\$", text, re.MULTILINE)
    packages = re.findall(r"^[A-Za-z0-9].*$", text, re.MULTILINE)
    assert packages
    assert len(pins) == len(packages), "each package has a version, and hashes behind it"


def _aliases(model: type[TrainingSpec]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def test_the_trainer_sets_aside_what_only_the_operator_reads() -> None:
    assert _aliases(Spec) - _aliases(TrainingSpec) == KUBERNETES_FIELDS


def test_the_trainer_reads_no_field_that_the_resource_lacks() -> None:
    assert _aliases(TrainingSpec) <= _aliases(Spec)


@pytest.mark.parametrize("path", [CRD, CHART_CRD], ids=["crds/", "the chart's copy"])
def test_the_crd_is_what_the_models_say(path: Path) -> None:
    assert path.read_text() == render(), "run `make generate` and commit what it writes"
    assert yaml.safe_load(path.read_text()) == build_crd()


def test_chart_and_program_carry_one_version() -> None:
    chart = yaml.safe_load((ROOT / "charts" / "detection-operator" / "Chart.yaml").read_text())
    project = (ROOT / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.+)"$', project, re.MULTILINE)
    assert version is not None
    assert chart["version"] == chart["appVersion"] == version[1]
