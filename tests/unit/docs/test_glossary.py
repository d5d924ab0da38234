"""The glossary is in order, and every module and field that it names exists."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from detection_operator.api.crd import build_crd

ROOT = Path(__file__).parents[3]
ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
PATH = re.compile(r"`((?:operator|trainer|docs|local_cluster)(?:/[\w./-]+)?)`")
FIELD = re.compile(r"`((?:spec|status)(?:\.\w+(?:\[\])?)+)`")


def _rows() -> list[list[str]]:
    rows = [list(row) for row in ROW.findall((ROOT / "docs" / "glossary.md").read_text())]
    assert rows[0] == ["word", "meaning", "where"]
    return rows[1:]


ROWS = [pytest.param(*cells, id=cells[0]) for cells in _rows()]


@cache
def _resource_schema() -> Any:
    return build_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def _has_field(path: str) -> bool:
    """Return whether the schema of the resource has the field at `path`, as in `spec.model`."""
    schema = _resource_schema()
    for segment in path.split("."):
        name = segment.removesuffix("[]")
        if name not in schema.get("properties", {}):
            return False
        schema = schema["properties"][name]
        if segment.endswith("[]"):
            schema = schema["items"]
    return True


def test_the_words_are_in_alphabetical_order_and_there_once() -> None:
    words = [cells[0] for cells in _rows()]
    assert words == sorted(set(words), key=str.lower)


@pytest.mark.parametrize(("word", "meaning", "where"), ROWS)
def test_the_modules_and_fields_of_a_word_exist(word: str, meaning: str, where: str) -> None:
    assert where, word
    paths = PATH.findall(meaning + where)
    assert [path for path in paths if not (ROOT / path).exists()] == []
    fields = FIELD.findall(meaning + where)
    assert [field for field in fields if not _has_field(field)] == []
