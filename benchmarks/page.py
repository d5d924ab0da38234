"""The parts of docs/benchmarks.md that benchmarks write, each between its own markers."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


class MarkerError(ValueError):
    """The page has no markers for a part."""


def write_part(page: Path, name: str, text: str) -> None:
    """Put `text` between the markers of part `name` on `page`.

    Raises:
        MarkerError: the page does not have each of both markers once, in this order.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    place = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    written, count = place.subn(lambda _: f"{begin}\n\n{text.strip()}\n\n{end}", page.read_text())
    if count != 1:
        msg = f"{page}: expected one place between {begin} and {end}; received {count}: add it"
        raise MarkerError(msg)
    page.write_text(written)
