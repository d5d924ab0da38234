"""Damaged files for the tests of readers, and a budget for what reading them may cost."""

import copy
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import strategies as st

Damage = Callable[[bytes], bytes]
EDGES = (
    b"\xff" * 8,
    b"\0" * 8,
    b"\x7f" + b"\xff" * 7,
    b"[[[[[[[[",
    b"{{{{{{{{",
    b"99999999",
    b"\\x\\",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**63,
    2**200,
    1e300,
    "",
    "x" * 300,
    "\ud800",
    "../../x",
    "optimizer/average/x",
    [],
    {},
    [[]],
    [2**40, 2**40],
    {"": 0},
)
"""What a document never has where a test puts it."""


class EffortExceededError(BaseException):
    """The reader did more than it may; no `except Exception` hides it."""


@contextmanager
def effort(calls: int, memory: int | None = None) -> Iterator[None]:
    """Fail where more than `calls` functions are called, or more than `memory` bytes are held.

    Work is counted, not time, so that the result does not depend on the machine.
    """
    count = 0

    def counted(*_: Any) -> None:
        nonlocal count
        count += 1
        if count == calls:
            raise EffortExceededError(f"more than {calls} calls")

    if memory is not None:
        tracemalloc.start()
    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        yield
    finally:
        sys.setprofile(before)
        if memory is not None:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            if peak > memory:
                raise EffortExceededError(f"{peak} bytes were held, more than {memory}")


@st.composite
def damages(draw: st.DrawFn) -> Damage:
    """Return a cut, a flipped bit, or some bytes put in, somewhere."""
    place = draw(st.floats(0.0, 1.0, exclude_max=True))
    kind = draw(st.sampled_from(["cut", "flip", "insert", "repeat", "edge"]))
    more = draw(st.sampled_from(EDGES) if kind == "edge" else st.binary(min_size=1, max_size=9))
    bit = draw(st.integers(0, 7))

    def damaged(data: bytes) -> bytes:
        at = int(place * len(data))
        match kind:
            case "cut":
                return data[:at]
            case "flip":
                return flipped(data, at, bit) if data else data
            case "repeat":
                return data[:at] + data[at // 2 :]
            case "edge":
                return data[:at] + more + data[at + len(more) :]
            case _:
                return data[:at] + more + data[at:]

    return damaged


def several(most: int = 4) -> st.SearchStrategy[Damage]:
    """Return damages done one after another."""
    return st.lists(damages(), min_size=1, max_size=most).map(_after_another)


def _after_another(steps: list[Damage]) -> Damage:
    def damaged(data: bytes) -> bytes:
        for step in steps:
            data = step(data)
        return data

    return damaged


def flipped(data: bytes, position: int, bit: int) -> bytes:
    """Return `data` with one bit changed."""
    changed = bytearray(data)
    changed[position] ^= 1 << bit
    return bytes(changed)


@st.composite
def edits(draw: st.DrawFn) -> Callable[[Any], Any]:
    """Return a change of a JSON document: fields that go, get another name or another value."""
    changes = draw(
        st.lists(
            st.tuples(
                st.lists(st.integers(0, 60), min_size=1, max_size=5),
                st.sampled_from(["drop", "rename", "set"]),
                st.sampled_from(VALUES),
            ),
            min_size=1,
            max_size=3,
        )
    )

    def edited(document: Any) -> Any:
        document = copy.deepcopy(document)
        for path, kind, value in changes:
            _edit(document, path, kind, copy.deepcopy(value))
        return document

    return edited


def _edit(node: Any, path: list[int], kind: str, value: Any) -> None:
    for turn in path:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = keys[turn % len(keys)]
        if turn != path[-1] and isinstance(node[key], dict | list) and node[key]:
            node = node[key]
            continue
        if kind == "set" or isinstance(node, list):
            node[key] = value
        else:
            held = node.pop(key)
            if kind == "rename":
                node["\ud800"] = held
        return
