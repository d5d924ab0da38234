"""Reads zip archives of weights from untrusted sources, with limits for what they inflate to.

`zipfile` alone reads a directory of any size, inflates up to 2 GB beyond an entry's stated size,
and supports compressions that expand without limit.
"""

import io
import zipfile
from typing import Any, BinaryIO, cast

MAX_DIRECTORY_BYTES = 1 << 20
"""Limit of the list of entries: enough for 10,000."""
MAX_RATIO = 20
"""Limit of inflated to compressed bytes; weights reach 2."""
ALWAYS_INFLATED = 1 << 26
"""Up to this size any ratio is accepted, because all weights may be equal."""
_PIECE = MAX_DIRECTORY_BYTES


class ArchiveError(ValueError):
    """The archive exceeds a limit; the message names both values."""


def open_archive(stream: BinaryIO) -> zipfile.ZipFile:
    """Return `stream` as an archive.

    Raises:
        ArchiveError: its list of entries is too long.
        zipfile.BadZipFile: it is not an archive.
    """
    return zipfile.ZipFile(cast("Any", _Bounded(stream)))


def read_entry(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """Return the content of the entry `name`, after verifying its checksum.

    Raises:
        ArchiveError: it has more than `limit` bytes, or inflates too much.
        KeyError: it does not exist.
    """
    entry = archive.getinfo(name)
    if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise ArchiveError(
            f"{name}: expected an entry that is stored or deflated; received compression "
            f"{entry.compress_type}: make the archive again without it"
        )
    if entry.file_size > limit:
        raise ArchiveError(
            f"{name}: expected at most {limit} bytes; received {entry.file_size}: check that this "
            "is the right file"
        )
    if entry.file_size > max(ALWAYS_INFLATED, MAX_RATIO * entry.compress_size):
        raise ArchiveError(
            f"{name}: {entry.compress_size} bytes inflate to {entry.file_size}, more than "
            f"{MAX_RATIO} times as many, which no weights do: save the file again"
        )
    content = io.BytesIO()
    with archive.open(entry) as file:
        while piece := file.read(_PIECE):
            content.write(piece)
    return content.getvalue()


class _Bounded:
    """A stream that refuses to read more than a limited size at once."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size if 0 <= size <= _PIECE else _PIECE + 1)
        if len(data) > _PIECE:
            raise ArchiveError(
                f"expected a list of entries of at most {MAX_DIRECTORY_BYTES} bytes; received "
                "more: check that this is the right file"
            )
        return data
