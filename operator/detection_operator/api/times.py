"""The present time, and times as the Kubernetes API writes them.

The CRD's `date-time` accepts the year 0000, a leap second, and time zones that lead beyond the
first or last year, which `datetime` cannot represent. Such a time becomes the nearest one between
`EARLIEST` and `LATEST`.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator

EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(2999, 12, 31, tzinfo=UTC)
"""Far enough from the ends of the calendar that delays can be added."""

_TIME = re.compile(
    r"""(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<hours>\d\d):(?P<minutes>\d\d):(?P<seconds>\d\d)
    (?:[.,](?P<fraction>\d+))?(?P<zone>[Zz]|(?P<sign>[+-])(?P<ahead>\d\d):?(?P<minutes_ahead>\d\d))?""",
    re.VERBOSE | re.ASCII,
)


def utc_now() -> datetime:
    """Return the present time, in UTC."""
    return datetime.now(UTC)


def read_time(text: str) -> datetime:
    """Return the time in `text`, in UTC and between `EARLIEST` and `LATEST`.

    Raises:
        ValueError: `text` is not an RFC 3339 time.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return _read_odd(text)
    if time.tzinfo is None:
        return _read_odd(text)
    return time if EARLIEST <= time <= LATEST else min(max(time, EARLIEST), LATEST)


def _read_odd(text: str) -> datetime:
    match = _TIME.fullmatch(text)
    if match is None:
        msg = f"expected an RFC 3339 time such as 2026-11-24T10:00:00Z; received {text[:64]!r}"
        raise ValueError(msg)
    if match["date"].startswith("0000"):
        return EARLIEST
    day = datetime.strptime(match["date"] + "Z", "%Y-%m-%d%z")
    offset = timedelta(
        hours=int(match["hours"]) - int(f"{match['sign'] or ''}{match['ahead'] or 0}"),
        minutes=int(match["minutes"]) - int(f"{match['sign'] or ''}{match['minutes_ahead'] or 0}"),
        # `datetime` has no leap second: it is read as the second before it.
        seconds=min(int(match["seconds"]), 59),
        microseconds=int((match["fraction"] or "")[:6].ljust(6, "0")),
    )
    try:
        return min(max(day + offset, EARLIEST), LATEST)
    except OverflowError:
        return EARLIEST if day < LATEST else LATEST


def _read(value: Any) -> Any:
    return read_time(value) if isinstance(value, str) else value


Time = Annotated[datetime, BeforeValidator(_read)]
"""A metav1.Time or MicroTime of an object in the API server."""
