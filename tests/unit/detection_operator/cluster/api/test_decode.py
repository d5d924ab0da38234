"""JSON of any depth is decoded, and what is nested too deep is cut out."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection_operator.cluster.api.decode import CUT, MAX_DEPTH, cut, decode, is_shallow
from tests.support.operator.hostile import api_bytes, nested

DEPTHS = [MAX_DEPTH + 1, 190, 250, 1200, 9000]
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
TRICKY = {
    "brackets in a text": {"a": "}]{[" * 200, "b": "@nested 300"},
    "quotes and backslashes in a text": {"a": '\\"{\\\\', 'b"[': "@nested 300", "c": "\\"},
    "several deep ones": {"a": ["@nested 300", 1, {"b": "@nested 400"}], "c": "@nested 201"},
}


def depth_of(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(depth_of, inner), default=0)


@pytest.mark.parametrize("levels", DEPTHS)
def test_a_deep_object_does_not_hide_the_others_of_its_list(levels: int) -> None:
    page = {"items": [{"metadata": {"name": "deep"}, "spec": {"a": nested(levels)}}, {"b": 1}]}
    deep, other = decode(cut(api_bytes(page)))["items"]
    assert other == {"b": 1}
    assert deep["metadata"] == {"name": "deep"}
    assert CUT in json.dumps(deep["spec"])
    assert depth_of(deep) <= MAX_DEPTH


@pytest.mark.parametrize("document", TRICKY.values(), ids=TRICKY.keys())
def test_only_what_is_too_deep_is_cut_out(document: Any) -> None:
    found = decode(api_bytes(document))
    assert depth_of(found) <= MAX_DEPTH
    assert found.keys() == document.keys()
    assert {k: v for k, v in found.items() if isinstance(v, str)} == {
        k: v for k, v in document.items() if isinstance(v, str) and "@" not in v
    }


@given(DOCUMENTS)
def test_what_is_shallow_is_not_changed(document: Any) -> None:
    text = json.dumps(document).encode()
    assert cut(text) == text
    assert decode(text) == document


@given(DOCUMENTS, st.integers(1, 300))
def test_a_document_reported_as_shallow_is_shallow(document: Any, levels: int) -> None:
    text = b'{"a":' * levels + json.dumps(document).encode() + b"}" * levels
    if is_shallow(text):
        assert depth_of(document) + levels <= MAX_DEPTH


@pytest.mark.parametrize("text", [b"{", b"<html>", b"[" * 500, b'{"a"' * 500, b"]" * 500])
def test_what_is_no_json_is_an_error(text: bytes) -> None:
    with pytest.raises(ValueError, match="line 1"):
        decode(text)
