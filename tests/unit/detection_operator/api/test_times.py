"""Times that the CRD takes and Python does not have."""

from datetime import UTC, datetime, timedelta

import pytest

from detection_operator.api.times import EARLIEST, LATEST, read_time
from detection_operator.api.v1alpha1 import Status
from tests.support.operator.hostile import ODD_TIMES

DAY = datetime(2026, 11, 24, 10, tzinfo=UTC)
TIMES = {
    "as the API writes it": ("2026-11-24T10:00:00Z", DAY),
    "MicroTime": ("2026-11-24T10:00:00.000001Z", DAY + timedelta(microseconds=1)),
    "nanoseconds": ("2026-11-24T10:00:00.000001999Z", DAY + timedelta(microseconds=1)),
    "small letters": ("2026-11-24t10:00:00z", DAY),
    "an offset": ("2026-11-24T12:30:00+02:30", DAY),
    "no offset": ("2026-11-24T10:00:00", DAY),
    "a leap second": ("2026-11-24T09:59:60Z", DAY - timedelta(seconds=1)),
    "hour 24": ("2026-11-23T24:00:00Z", DAY - timedelta(hours=10)),
    "year 0": ("0000-01-01T00:00:00Z", EARLIEST),
    "before the first year": ("0001-01-01T00:00:00+14:00", EARLIEST),
    "after the last year": ("9999-12-31T23:59:59-23:59", LATEST),
}


@pytest.mark.parametrize(("text", "expected"), TIMES.values(), ids=TIMES.keys())
def test_a_time_is_read(text: str, expected: datetime) -> None:
    assert read_time(text) == expected


@pytest.mark.parametrize("text", ODD_TIMES)
def test_every_time_can_be_calculated_with(text: str) -> None:
    found = read_time(text)
    year = timedelta(days=365)
    assert found - timedelta(days=1) < found.astimezone(UTC) < found + year
    assert found.timestamp() < LATEST.timestamp() + 1
    assert Status.model_validate({"startTime": text}).start_time == found


@pytest.mark.parametrize("text", ["", "x", "2026-13-01T00:00:00Z", "2026-11-24", "1" * 5000])
def test_what_is_no_time_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_time(text)
