"""The hand-written tables of the documentation agree with the code."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from detection_operator.api.conditions import REASON_HELP, Phase, Reason
from detection_operator.core.phases import TABLE
from detection_operator.server import training_gauges
from detection_operator.server.metrics import PREFIX, Metrics
from detection_trainer.contract.restore_check import restored_groups
from detection_trainer.contract.sources import RestoreMode
from detection_trainer.reporting import metrics_port as trainer_metrics

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
GROUPS = ("backbone", "feature_extractor", "box_head", "class_head")
CODE = re.compile(r"`([^`]+)`")
KSTATUS = {"False True False": "InProgress", "True False False": "Current"}


def _section(page: str, heading: str) -> str:
    text = (DOCS / page).read_text()
    _, _, behind = text.partition(f"\n## {heading}\n")
    assert behind, f"docs/{page} has no section {heading!r}"
    return behind.partition("\n## ")[0]


def _rows(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith("|--"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def test_the_table_of_phases_is_the_one_that_is_written_to_the_status() -> None:
    documented: dict[str, list[str]] = {}
    for phases, *cells in _rows(_section("operations.md", "GitOps")):
        documented |= dict.fromkeys(CODE.findall(phases), cells)
    wanted = {}
    for phase, row in TABLE.items():
        truths = [row.ready, row.reconciling, row.stalled]
        wanted[phase.value] = [*truths, KSTATUS.get(" ".join(truths), "Failed")]
    assert documented == wanted
    assert set(documented) == {phase.value for phase in Phase}


def test_every_metric_is_named_and_none_that_is_not_served() -> None:
    rows = _rows(_section("operations.md", "Watching it"))
    documented = {name for cells in rows for name in CODE.findall(cells[0])}
    counters = {f"{name}_total" for name in _families("counter")}
    histograms = set(_families("histogram"))
    gauges = {training_gauges.PREFIX + name for name in training_gauges.GAUGES}
    measured = set(re.findall(r'measure\(\s*"(\w+)"', _source("program.py")))
    assert measured
    assert documented == counters | histograms | gauges | {PREFIX + name for name in measured}


def test_every_metric_of_a_trainer_is_named_and_none_that_is_not_served() -> None:
    rows = _rows(_section("trainer.md", "Watching"))
    documented = {name for cells in rows for name in CODE.findall(cells[0])}
    served = {trainer_metrics.PREFIX + name for name in trainer_metrics.HELP}
    named = {
        name.partition("{")[0] for name in documented if name.startswith(trainer_metrics.PREFIX)
    }
    assert named == served | {trainer_metrics.PREFIX + "metric"}


def _families(kind: str) -> list[str]:
    return [family.name for family in Metrics(list).registry.collect() if family.type == kind]


def _source(module: str) -> str:
    return (ROOT / "operator" / "detection_operator" / module).read_text()


def test_the_modes_restore_the_groups_of_the_table() -> None:
    documented = {
        CODE.findall(cells[0])[0]: cells[1:5]
        for cells in _rows(_section("restore-modes.md", "What each mode restores"))
        if CODE.findall(cells[0])
    }
    for mode in RestoreMode:
        taken = restored_groups(mode)
        wanted = ["from the source" if group in taken else "fresh" for group in GROUPS]
        assert documented[mode.value] == wanted


def test_troubleshooting_names_reasons_that_there_are() -> None:
    known = {reason.value for reason in Reason}
    documented = set()
    for cells in _rows((DOCS / "troubleshooting.md").read_text()):
        documented |= {
            name for name in CODE.findall(cells[0]) if re.fullmatch(r"([A-Z][a-z]+)+", name)
        }
    assert documented
    assert documented <= known


def test_troubleshooting_helps_with_whatever_needs_a_person() -> None:
    text = (DOCS / "troubleshooting.md").read_text()
    needs_a_person = {
        Reason.INVALID_SPEC, Reason.RESTORE_REFUSED, Reason.SOURCE_NOT_FOUND,
        Reason.SOURCE_HAS_NO_CHECKPOINT, Reason.LEARNING_RATE_ZERO, Reason.STORAGE_IN_USE,
        Reason.STORAGE_UNSUPPORTED,
        Reason.SEVERAL_WORKERS_DISABLED,
        Reason.INVALID_CONFIG, Reason.DATA_INVALID, Reason.NON_FINITE_LOSS,
        Reason.CHECKPOINT_MISSING, Reason.NOT_FOUND, Reason.ACCESS_DENIED,
        Reason.RETRIES_EXHAUSTED, Reason.DEADLINE_EXCEEDED, Reason.UNSCHEDULABLE,
        Reason.IMAGE_PULL_FAILED, Reason.POD_REJECTED, Reason.JOB_REJECTED, Reason.NAME_TAKEN,
        Reason.REPORT_MISSING, Reason.START_FAILED, Reason.UNREADABLE,
    }  # fmt: skip
    missing = [reason for reason in needs_a_person if f"`{reason}`" not in text]
    assert not missing


def test_the_chart_has_the_values_of_the_table() -> None:
    values = yaml.safe_load((ROOT / "charts/detection-operator/values.yaml").read_text())
    documented: set[str] = set()
    for cells in _rows(_section("operations.md", "Install")):
        documented |= set(CODE.findall(cells[0]))
    for path in documented:
        found = values
        for segment in path.removesuffix(".*").split("."):
            assert segment in found, f"values.yaml has no {path}"
            found = found[segment]
    assert {path.partition(".")[0] for path in documented} == set(values)


CHART_VALUE = re.compile(
    r"\b((?:trainer|reports|crds|rbac|networkPolicy|service)(?:\.[a-z]\w*)+)\b"
)


def test_help_names_values_that_the_chart_has() -> None:
    values = yaml.safe_load((ROOT / "charts/detection-operator/values.yaml").read_text())
    documented = {path for text in REASON_HELP.values() for path in CHART_VALUE.findall(text)}
    assert "trainer.terminationGracePeriodSeconds" in documented
    for path in documented:
        found = values
        for segment in path.split("."):
            assert segment in found, f"values.yaml has no {path}"
            found = found[segment]
    assert not [text for text in REASON_HELP.values() if "operator's termination" in text]
