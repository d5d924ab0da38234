"""Numbers on the command line: each is refused, with what was expected, before any work is done."""

import argparse
import math


def score(text: str) -> float:
    """Return the number from 0 to 1 that `text` is.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    number = _number(text)
    if not 0.0 <= number <= 1.0:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1; received {text!r}")
    return number


def seconds(text: str) -> float:
    """Return the finite number of seconds, 0 or more, that `text` is.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    number = _number(text)
    if not 0.0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"expected seconds, 0 or more; received {text!r}")
    return number


def step(text: str) -> int:
    """Return the step, 0 or more, that `text` is.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(
            f"expected the step of a checkpoint, a whole number from 0; received {text!r}"
        )
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
