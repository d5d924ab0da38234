"""Decodes JSON of any depth: values that are nested too deep are replaced, the rest is kept.

The decoders stop at about 200 and 1,000 levels and then return nothing of a whole page or line. So
one object could hide all others of a list, or end a watch.
"""

import re
from typing import Any

from pydantic_core import from_json

MAX_DEPTH = 100
"""The number of levels that are kept. A pod has about 12."""
CUT = f"detectiontraining.dev/nested-deeper-than-{MAX_DEPTH}-levels"
"""Replaces what was cut out."""

_QUOTED_CUT = f'"{CUT}"'.encode()
_OPENING, _BRACKETS = b"{[", b"{}[]"
_OTHERS = bytes(set(range(256)) - set(_BRACKETS))
_NEXT_BRACKET = re.compile(
    rb"""(?s)[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+)*+([{}\[\]])"""
)
"""Skips strings; possessive, so that it never backtracks into a skipped string."""


def decode(text: bytes) -> Any:
    """Return the value of `text`, with `CUT` in place of what is nested too deep.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        # Twice as fast as the standard library's decoder, which dominates the time of a long list.
        return from_json(text)
    except ValueError:
        if is_shallow(text):
            raise
        return from_json(cut(text))


def is_shallow(text: bytes) -> bool:
    """Return whether nothing in `text` is nested too deep; False also if that is not certain.

    It removes pairs of brackets, the innermost first, once for each level.
    """
    left = text.translate(None, _OTHERS)
    for level in range(MAX_DEPTH):
        # Brackets in strings need not be in pairs: each one that is left counts as a level.
        if len(left) + level <= MAX_DEPTH:
            return True
        left = left.replace(b"{}", b"").replace(b"[]", b"")
    return False


def cut(text: bytes) -> bytes:
    """Return `text` with `CUT` in place of each value below the deepest level that is kept."""
    kept, depth, end = [], 0, 0
    for match in _NEXT_BRACKET.finditer(text):
        place = match.start(1)
        if text[place] in _OPENING:
            depth += 1
            if depth == MAX_DEPTH + 1:
                kept += [text[end:place], _QUOTED_CUT]
        else:
            if depth == MAX_DEPTH + 1:
                end = place + 1
            depth -= 1
    return b"".join([*kept, text[end:]])
