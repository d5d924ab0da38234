"""Lists of many items in a message: the first few, and the number of the others."""

from collections.abc import Sequence


def first_few(items: Sequence[str], shown: int) -> str:
    """Return at most `shown` of `items`, and the number of the others.

    >>> first_few(["a differs", "b differs", "c differs"], 2)
    'a differs; b differs; and 1 more'
    """
    hidden = len(items) - shown
    return "; ".join(items[:shown]) + (f"; and {hidden} more" if hidden > 0 else "")
