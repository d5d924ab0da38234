"""The framing of TFRecord files, without TensorFlow.

    uint64 length · uint32 masked CRC32C of length · data · uint32 masked CRC32C of data

all little-endian (tensorflow/core/lib/io/record_writer.h). Every error names the file, the record's
number from 0, and the byte offset of its frame.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

from detection_trainer.data.checksum import masked_crc32c
from detection_trainer.errors import DataInvalidError

_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")
HEADER_BYTES = _LENGTH.size + _CHECKSUM.size
MAX_RECORDS = 1 << 22
"""Limit for one file: empty records have 16 bytes each, and each needs memory for its position."""
_GZIP = b"\x1f\x8b"


class BadRecordError(DataInvalidError):
    """One record cannot be used; `skippable` is whether the records after it can be found."""

    def __init__(self, place: str, number: int, offset: int, problem: str) -> None:
        """Create the error of the record with this file, number and byte offset."""
        super().__init__(f"{place}: record {number} at byte {offset}: {problem}")
        self.skippable = True


@dataclass(frozen=True, slots=True)
class Frame:
    """The position of one record in its file."""

    number: int
    offset: int
    """Offset of the frame, in bytes."""
    length: int
    """Length of the data, in bytes."""

    @property
    def data_offset(self) -> int:
        """Offset of the data, in bytes."""
        return self.offset + HEADER_BYTES

    @property
    def end(self) -> int:
        """Offset of the byte after the frame."""
        return self.data_offset + self.length + _CHECKSUM.size


def index_records(data: memoryview, place: str) -> tuple[list[Frame], BadRecordError | None]:
    """Find the records in the content of a file; reads only their headers.

    Returns:
        The complete records, and what ended the search before the end of the file: a truncated
        record (nothing follows it), or a broken header (not skippable: the records after it cannot
        be found).
    """
    frames: list[Frame] = []
    offset = 0
    while offset < len(data):
        try:
            frame = _read_header(data, place, len(frames), offset)
        except BadRecordError as error:
            return frames, error
        if len(frames) == MAX_RECORDS:
            problem = f"the file has more than {MAX_RECORDS} records: write several files"
            too_many = BadRecordError(place, len(frames), offset, problem)
            too_many.skippable = False
            return frames, too_many
        frames.append(frame)
        offset = frame.end
    return frames, None


def read_record(data: memoryview, frame: Frame, place: str, *, verify: bool = True) -> memoryview:
    """Return the data of one record, after verifying its checksum.

    Raises:
        BadRecordError: the checksum differs.
    """
    content = data[frame.data_offset : frame.data_offset + frame.length]
    stored = read_checksum(data, frame)
    if verify and masked_crc32c(content) != stored:
        problem = (
            f"the {frame.length} bytes of data do not match their checksum: the file is damaged, "
            "copy or convert it again"
        )
        raise BadRecordError(place, frame.number, frame.offset, problem)
    return content


def read_checksum(data: memoryview, frame: Frame) -> int:
    """Return the checksum that the file stores for the record's data."""
    checksum: int = _CHECKSUM.unpack_from(data, frame.end - _CHECKSUM.size)[0]
    return checksum


def write_record(file: BinaryIO, data: bytes) -> None:
    """Append one record to `file`."""
    length = _LENGTH.pack(len(data))
    file.write(length + _CHECKSUM.pack(masked_crc32c(length)))
    file.write(data)
    file.write(_CHECKSUM.pack(masked_crc32c(data)))


def write_records(file: BinaryIO, records: Iterable[bytes]) -> int:
    """Append `records` to `file` and return their number."""
    count = 0
    for record in records:
        write_record(file, record)
        count += 1
    return count


def _read_header(data: memoryview, place: str, number: int, offset: int) -> Frame:
    left = len(data) - offset
    if left < HEADER_BYTES:
        problem = f"the file ends after {left} of the {HEADER_BYTES} bytes of its header"
        raise BadRecordError(place, number, offset, problem + _TRUNCATED)
    header = data[offset : offset + _LENGTH.size]
    (stored,) = _CHECKSUM.unpack_from(data, offset + _LENGTH.size)
    if masked_crc32c(header) != stored:
        error = BadRecordError(place, number, offset, _broken_header(data, offset))
        error.skippable = False
        raise error
    frame = Frame(number, offset, _LENGTH.unpack(header)[0])
    if frame.end > len(data):
        problem = (
            f"the file ends after {left - HEADER_BYTES} of the "
            f"{frame.length + _CHECKSUM.size} bytes of this record"
        )
        raise BadRecordError(place, number, offset, problem + _TRUNCATED)
    return frame


_TRUNCATED = ": it is truncated, copy or convert it again"


def _broken_header(data: memoryview, offset: int) -> str:
    if offset == 0 and bytes(data[:2]) == _GZIP:
        return "the file is compressed by gzip: decompress it, TFRecords are read uncompressed"
    if offset == 0:
        return "expected the header of a TFRecord: the file is of another kind, or damaged"
    return (
        "the length does not match its checksum, so this and the records behind it cannot be "
        "read: the file is damaged, copy or convert it again"
    )
