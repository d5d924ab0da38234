"""The framing of TFRecords: what is found, and how damage is named."""

import gzip
import io
import struct

import pytest

from detection_trainer.data.records import (
    BadRecordError,
    Frame,
    index_records,
    read_record,
    write_records,
)

RECORDS = (b"first", b"", b"third" * 100)
PLACE = "s3://b/train.tfrecord"


def written(*records: bytes) -> bytes:
    file = io.BytesIO()
    assert write_records(file, records) == len(records)
    return file.getvalue()


def indexed(data: bytes) -> tuple[list[Frame], BadRecordError | None]:
    return index_records(memoryview(data), PLACE)


def test_what_is_written_is_found_and_read() -> None:
    data = memoryview(written(*RECORDS))
    frames, stopped = index_records(data, PLACE)
    assert stopped is None
    assert [bytes(read_record(data, frame, PLACE)) for frame in frames] == list(RECORDS)
    assert [frame.number for frame in frames] == [0, 1, 2]
    assert frames[-1].end == len(data)


def test_an_empty_file_has_no_records() -> None:
    assert indexed(b"") == ([], None)


@pytest.mark.parametrize("lost", [1, 4, 400, 510, 515])
def test_a_truncated_file_names_its_last_record(lost: int) -> None:
    frames, stopped = indexed(written(*RECORDS)[:-lost])
    assert len(frames) == 2
    assert stopped is not None
    assert stopped.skippable
    assert str(stopped).startswith(f"{PLACE}: record 2 at byte 37: the file ends after ")
    assert "truncated" in str(stopped)


def test_a_broken_length_ends_the_search() -> None:
    data = bytearray(written(*RECORDS))
    data[21] ^= 1
    frames, stopped = indexed(bytes(data))
    assert len(frames) == 1
    assert stopped is not None
    assert not stopped.skippable
    assert str(stopped).startswith(f"{PLACE}: record 1 at byte 21: the length does not match")


def test_a_flipped_bit_of_the_data_is_found_when_it_is_read() -> None:
    data = bytearray(written(*RECORDS))
    data[37 + 12 + 250] ^= 4
    view = memoryview(bytes(data))
    frames, stopped = index_records(view, PLACE)
    assert stopped is None
    with pytest.raises(BadRecordError, match=r"record 2 at byte 37: the 500 bytes of data do not"):
        read_record(view, frames[2], PLACE)
    assert len(read_record(view, frames[2], PLACE, verify=False)) == 500


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(gzip.compress(written(*RECORDS)), "compressed by gzip", id="gzip"),
        pytest.param(b"<annotation>" * 5, "the file is of another kind", id="XML"),
        pytest.param(struct.pack("<QI", 1 << 60, 0), "of another kind", id="a forged length"),
        pytest.param(b"x", "the file ends after 1 of the 12 bytes of its header", id="one byte"),
    ],
)
def test_other_files_have_another_digest(data: bytes, expected: str) -> None:
    frames, stopped = indexed(data)
    assert not frames
    assert expected in str(stopped)
