"""Workflows have few rights, pin foreign code, and release signed and described artifacts."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yaml"))
FORMS = sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yaml"))
ACTION = re.compile(r"actions/[a-z-]+@v[0-9]+|\./\.github/workflows/[a-z]+\.yaml")
NAMES = re.compile(r"\b(?:vars|secrets)\.([A-Z_]+)")


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in read(path)["jobs"].values() for step in job.get("steps", ())]


def commands(path: Path) -> str:
    return "\n".join(step.get("run", "") for step in steps(path))


def test_there_is_one_for_tests_and_one_for_releases() -> None:
    assert [path.name for path in WORKFLOWS] == ["release.yaml", "test.yaml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_read_and_nothing_else(path: Path) -> None:
    assert read(path)["permissions"] == {"contents": "read"}


def test_one_job_alone_may_publish_and_a_person_approves_it() -> None:
    raised = {
        name: job
        for path in WORKFLOWS
        for name, job in read(path)["jobs"].items()
        if "permissions" in job
    }
    assert set(raised) == {"publish"}
    assert raised["publish"]["permissions"] == {"contents": "write", "id-token": "write"}
    assert raised["publish"]["environment"] == "release"
    assert raised["publish"]["needs"] == "test"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_only_actions_of_github_itself_run(path: Path) -> None:
    jobs = read(path)["jobs"].values()
    used = [entry["uses"] for entry in (*jobs, *steps(path)) if "uses" in entry]
    assert used
    assert [name for name in used if not ACTION.fullmatch(name)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_checkout_leaves_no_credentials_behind(path: Path) -> None:
    checkouts = [
        step for step in steps(path) if step.get("uses", "").startswith("actions/checkout")
    ]
    assert checkouts
    assert all(step["with"] == {"persist-credentials": False} for step in checkouts)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_others_write_reaches_a_script_as_a_variable(path: Path) -> None:
    assert "${{" not in commands(path)


def test_ci_runs_all_tests_and_looks_for_vulnerabilities() -> None:
    lines = commands(GITHUB / "workflows" / "test.yaml").splitlines()
    assert {"make test", "make sbom", "make audit"} <= set(lines)


@pytest.mark.parametrize(
    "part",
    [
        "--sbom=true --provenance=mode=max",
        "make sbom",
        'sign --yes "$1"',
        "attest --yes --type cyclonedx",
        'sign --yes "$CHART"',
        "pin-chart",
        'release-notes "$TAG"',
    ],
)
def test_a_release_is_built_signed_and_described(part: str) -> None:
    assert part in commands(GITHUB / "workflows" / "release.yaml")


def test_every_variable_and_secret_is_explained() -> None:
    named = {name for path in WORKFLOWS for name in NAMES.findall(path.read_text())}
    text = (ROOT / "RELEASE.md").read_text()
    assert named
    assert {name for name in named if f"`{name}`" not in text} == set()


@pytest.mark.parametrize(
    "path", [form for form in FORMS if form.name != "config.yaml"], ids=lambda path: path.name
)
def test_an_issue_form_has_what_github_needs(path: Path) -> None:
    form = read(path)
    assert {"name", "description", "body"} <= set(form)
    ids = [part["id"] for part in form["body"] if part["type"] != "markdown"]
    assert len(ids) == len(set(ids)) > 1
    assert all(part["attributes"]["label"] for part in form["body"] if "id" in part)
