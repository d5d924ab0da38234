"""The threat model names tests that exist, for the attempts that it describes."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "security.md"
EXAMPLES = ROOT / "examples" / "admission"
ROW = re.compile(r"^\| ([A-Z]\d+) \| (.+) \|$", re.MULTILINE)
REFERENCE = re.compile(r"`(tests/[\w/.]+\.py)::(\w+)`")
NOT_SHOWN_YET: set[str] = set()
"""Attempts without a test: the list may only become shorter."""


def _parts() -> tuple[str, str]:
    described, _, proof = PAGE.read_text().partition("\n## Proof\n")
    assert proof
    return described, proof


def _described() -> dict[str, str]:
    return dict(ROW.findall(_parts()[0]))


def _shown() -> dict[str, list[tuple[str, str]]]:
    return {name: REFERENCE.findall(cell) for name, cell in ROW.findall(_parts()[1])}


@cache
def _functions(file: str) -> set[str]:
    path = ROOT / file
    assert path.is_file(), f"docs/security.md names {file}, which does not exist"
    return set(_names(ast.parse(path.read_text())))


def _names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


REFERENCES = sorted({reference for found in _shown().values() for reference in found})


@pytest.mark.parametrize(("file", "function"), REFERENCES, ids=map("::".join, REFERENCES))
def test_a_test_that_the_page_names_exists(file: str, function: str) -> None:
    assert function in _functions(file), f"{file} has no function {function}"


def test_every_row_of_the_proof_names_a_test_and_an_attempt_that_is_described() -> None:
    shown = _shown()
    assert set(shown) <= set(_described())
    assert all(shown.values()), [name for name, found in shown.items() if not found]


def test_every_attempt_is_shown_by_a_test() -> None:
    assert set(_described()) - set(_shown()) == NOT_SHOWN_YET


def test_every_reference_on_the_page_is_one_that_is_checked() -> None:
    named = re.findall(r"tests/[\w/.]+\.py\S*", PAGE.read_text())
    assert len(named) == sum(len(found) for found in _shown().values())


def test_every_example_of_a_policy_is_on_the_page() -> None:
    linked = set(re.findall(r"\(\.\./examples/admission/([\w.]+)\)", PAGE.read_text()))
    assert linked == {path.name for path in EXAMPLES.glob("*.yaml")}
