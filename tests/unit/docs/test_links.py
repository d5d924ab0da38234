"""Links of the documentation have a target, and its YAML is valid."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from detection_operator.api.v1alpha1 import Status
from detection_operator.cluster.observe.parse import parse_any_spec
from detection_trainer.contract.documents import parse_yaml
from detection_trainer.contract.training import API_VERSION, KIND, parse_training

ROOT = Path(__file__).parents[3]
ROOT_PAGES = ("README.md", "CONTRIBUTING.md", "RELEASE.md", "SECURITY.md")
PAGES = sorted([*(ROOT / page for page in ROOT_PAGES), *(ROOT / "docs").rglob("*.md")])
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))

# A link's target may have no space; an image is a link that begins with an exclamation mark.
LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")
ELSEWHERE = re.compile(r"^[a-z][a-z0-9+.-]*:")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _relative_links() -> Iterator[Any]:
    for page in PAGES:
        text = FENCE.sub("", page.read_text())
        for target in LINK.findall(text):
            if not ELSEWHERE.match(target):
                yield pytest.param(page, target, id=f"{_name(page)} to {target}")


def _documents(page: Path) -> Iterator[dict[str, Any]]:
    """Yield every object in the YAML of a file; of Markdown, in its fenced blocks."""
    text = page.read_text()
    blocks = [text]
    if page.suffix == ".md":
        blocks = [block for language, block in FENCE.findall(text) if language == "yaml"]
    for block in blocks:
        for part in re.split(r"^---\n", block, flags=re.MULTILINE):
            document = parse_yaml(part)
            if isinstance(document, dict) and document.get("kind") == KIND:
                yield document


def _trainings() -> Iterator[Any]:
    for page in (*PAGES, *EXAMPLES):
        for document in _documents(page):
            name = document["metadata"]["name"]
            yield pytest.param(document, id=f"{name} in {_name(page)}")


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub makes of the headings in a page."""
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(text))
    return {word.replace(" ", "-") for word in words}


@pytest.mark.parametrize(("page", "target"), list(_relative_links()))
def test_a_relative_link_leads_somewhere(page: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    found = (page.parent / path).resolve() if path else page
    assert found.exists(), f"{_name(page)} links to {target}, which does not exist"
    assert found.is_relative_to(ROOT), f"{_name(page)} links to {target}, outside the repository"
    if anchor:
        known = anchors(found.read_text())
        assert anchor in known, f"{_name(found)} has no heading #{anchor}; it has {sorted(known)}"


@pytest.mark.parametrize("document", list(_trainings()))
def test_a_training_in_the_documentation_is_valid(document: dict[str, Any]) -> None:
    assert document["apiVersion"] == API_VERSION
    training = parse_training(document)
    spec, invalid, _ = parse_any_spec(document["spec"], Status(), 1, None)
    assert spec is not None, invalid
    assert spec.steps == training.spec.steps


@pytest.mark.parametrize("page", [pytest.param(page, id=_name(page)) for page in PAGES])
def test_every_yaml_block_is_yaml(page: Path) -> None:
    for language, block in FENCE.findall(page.read_text()):
        if language == "yaml":
            assert list(yaml.safe_load_all(block)), f"{_name(page)}: an empty block"


def test_every_example_is_a_training() -> None:
    found = {path.name: [document["kind"] for document in _documents(path)] for path in EXAMPLES}
    assert found
    assert all(kinds == [KIND] for kinds in found.values()), found


def test_every_page_is_reachable_from_the_readme() -> None:
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or not page.is_file() or page.suffix != ".md":
            continue
        reached.add(page)
        for target in LINK.findall(FENCE.sub("", page.read_text())):
            if not ELSEWHERE.match(target):
                linked = (page.parent / target.partition("#")[0]).resolve()
                waiting += sorted(linked.glob("*.md")) if linked.is_dir() else [linked]
    missing = {_name(page) for page in PAGES} - {_name(page) for page in reached}
    assert not missing, f"no link leads to {sorted(missing)}"
