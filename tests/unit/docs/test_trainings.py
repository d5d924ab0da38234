"""Every training in the pages and the examples passes the checks of a first start."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from detection_operator.api.v1alpha1 import KIND, Spec
from detection_trainer.contract.training import start_problem

ROOT = Path(__file__).parents[3]
_BLOCK = re.compile(r"^( *)```yaml\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def trainings() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield where a training is and its document."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    texts = [(page, match[2]) for page in pages for match in _BLOCK.finditer(page.read_text())]
    texts += [(file, file.read_text()) for file in sorted((ROOT / "examples").glob("*.yaml"))]
    for file, text in texts:
        if f"kind: {KIND}" in text:
            for document in yaml.safe_load_all(text):
                if document["kind"] == KIND:
                    yield f"{file.relative_to(ROOT)}: {document['metadata']['name']}", document


FOUND = list(trainings())


def test_there_are_trainings_in_pages_and_in_examples() -> None:
    assert {place.split("/")[0].split(":")[0] for place, _ in FOUND} >= {"README.md", "examples"}


@pytest.mark.parametrize("document", [d for _, d in FOUND], ids=[place for place, _ in FOUND])
def test_would_be_started(document: dict[str, Any]) -> None:
    spec = document["spec"]
    if "pipelineConfig" not in spec:
        assert start_problem(Spec.model_validate(spec)) is None
