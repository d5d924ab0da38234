"""Small records and images that ask for much: values without number, sizes that are only stated.

Each is refused with what was received and the limit, after little work and in little memory.
"""

import io
import os
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from detection_trainer.data import records, wire
from detection_trainer.data.examples import check_image, read_example
from detection_trainer.data.wire import encode_example
from detection_trainer.storage import open_folder
from sandbox.samples.datasets import CLASSES, Drawn
from tests.support.trainer.fuzzing import effort
from tests.support.trainer.wire_bytes import field

MEGABYTE = 1 << 20


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(field(1, b"\x0a\x00" * 600_000), id="empty features"),
        pytest.param(b"\x08\x00" * 1_200_000, id="unknown fields"),
        pytest.param(
            encode_example({"image/object/class/label": [1] * 1_100_000}), id="a million labels"
        ),
        pytest.param(
            encode_example({"image/object/bbox/xmin": [0.5] * 1_100_000}), id="a million edges"
        ),
    ],
)
def test_a_record_of_many_values_is_refused(record: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_FIELDS", 10_000)
    with effort(1_000_000), pytest.raises(ValueError, match="more than 10000 fields and numbers"):
        read_example(memoryview(record), CLASSES, decode=False)


def test_the_numbers_of_masks_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_FIELDS", 1_000)
    masks: dict[str, list[float]] = {"image__object__mask": [0.0] * 100_000}
    record = Drawn().record(**masks)
    with effort(20_000):
        assert read_example(memoryview(record), CLASSES, decode=False).name


def sized_png(width: int, height: int) -> bytes:
    """Return a small PNG whose header states another size."""
    buffer = io.BytesIO()
    Image.new("1", (8, 8)).save(buffer, "PNG")
    whole = bytearray(buffer.getvalue())
    whole[16:24] = struct.pack(">II", width, height)
    whole[29:33] = struct.pack(">I", zlib.crc32(bytes(whole[12:29])))
    return bytes(whole)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((16385, 1), "16385x1: expected at most 16384 a side; tile it"),
        ((2**31 - 1, 2**31 - 1), "does not decode|expected at most"),
        ((16000, 16000), "does not decode|expected at most 178956970 pixels; tile it"),
    ],
)
@pytest.mark.parametrize("decode", [True, False])
def test_a_large_image_is_refused_before_it_is_decoded(
    size: tuple[int, int],
    expected: str,
    decode: bool,  # noqa: FBT001
) -> None:
    with effort(100_000, MEGABYTE), pytest.raises(ValueError, match=expected):
        check_image(sized_png(*size), decode=decode)


def test_an_image_that_pillow_warns_of_is_read() -> None:
    buffer = io.BytesIO()
    Image.new("1", (10_000, 9_500)).save(buffer, "PNG")
    assert check_image(buffer.getvalue(), decode=False) == (9_500, 10_000, 1)


def test_a_jpeg_of_many_scans_is_refused() -> None:
    buffer = io.BytesIO()
    Image.new("L", (4000, 4000)).save(buffer, "JPEG", progressive=True)
    scans = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" * 500
    encoded = buffer.getvalue()
    with effort(100_000), pytest.raises(ValueError, match=r"4000x4000 has 50\d scans"):
        check_image(encoded[:-2] + scans + encoded[-2:], decode=True)


def test_a_file_of_endless_empty_records_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_RECORDS", 100)
    buffer = io.BytesIO()
    records.write_records(buffer, [b""] * 101)
    frames, stopped = records.index_records(memoryview(buffer.getvalue()), "a.tfrecord")
    assert len(frames) == 100
    assert stopped is not None
    assert not stopped.skippable
    assert "more than 100 records: write several files" in str(stopped)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tfrecord")
    folder = open_folder(tmp_path.as_uri())
    assert folder.list() == []
    assert not folder.exists("a.tfrecord")
    assert folder.read_small("a.tfrecord", 10) == b""
