"""A checked dataset: the place and the annotations of each image.

`open_dataset` reads all records before the first step, so that training never meets a bad one. The
run and the preflight call it; tools that inspect data call `read_dataset`, which accepts any
content. Imports no TensorFlow.
"""

import hashlib
import mmap
import os
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from detection_trainer.contract.base import Contract, written_digest
from detection_trainer.contract.dataset import Place
from detection_trainer.data.examples import (
    AnnotatedImage,
    InvalidExampleError,
    read_example,
)
from detection_trainer.data.records import (
    BadRecordError,
    Frame,
    index_records,
    read_checksum,
    read_record,
)
from detection_trainer.data.source import LocalFile, fetch_files, find_files
from detection_trainer.errors import DataInvalidError, DatasetChangedError
from detection_trainer.storage.local import explain_os_error

VERIFIED_BYTES = 1 << 30
"""For datasets up to this size the checksum of every record is verified."""
DECODED_BYTES = 1 << 26
"""For datasets up to this size every image is decoded; otherwise only its header and end."""
_SAMPLE = 32
"""Beyond these sizes one record in this many is verified and decoded."""
_BOX_STEP = 8
_SHOWN_PROBLEMS = 20
_KEPT_PROBLEMS = 200
_SMALL_AREA, _LARGE_AREA = 32**2, 96**2
"""COCO's limits, in pixels of the stored image."""


class DatasetSummary(Contract):
    """The contents of a dataset."""

    files: int
    size_bytes: int
    images: int
    images_without_boxes: int
    boxes: int
    boxes_per_class: dict[str, int]
    boxes_per_size: dict[Literal["small", "medium", "large"], int] = {}
    """COCO's classes of size: area below 32² pixels, below 96², and above."""
    crowd_boxes: int = 0
    difficult_boxes: int = 0
    turned_images: int = 0
    """Images with an EXIF orientation; viewers rotate them, training does not."""
    image_height: Annotated[list[int], Field(max_length=2)] = []
    """Smallest and largest, in pixels."""
    image_width: Annotated[list[int], Field(max_length=2)] = []
    bad_records: list[str] = []
    """The first skipped records, each with file, number and byte offset."""
    bad_record_count: int = 0
    every_checksum_verified: bool = True
    every_image_decoded: bool = True
    digest: str
    """Digest of all records; it changes with their content, not with the names of files."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One image and the position of its encoded bytes."""

    annotations: AnnotatedImage
    file: int
    """Index in `Dataset.files`."""
    offset: int
    """Position in that file, in bytes."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """All usable images, in the order of their files."""

    files: Sequence[LocalFile]
    images: Sequence[StoredImage]
    classes: Sequence[str]
    summary: DatasetSummary

    @property
    def digest(self) -> str:
        """The digest of all records, usable or not."""
        return self.summary.digest

    def __len__(self) -> int:
        """Return the number of usable images."""
        return len(self.images)

    def read_image(self, image: StoredImage) -> bytes:
        """Return the encoded bytes of one of `images`.

        Raises:
            DatasetChangedError: its file has changed since it was checked.
            NotFoundError: its file no longer exists.
            StorageUnavailableError: the volume does not return it.
        """
        length, file = image.annotations.image_length, self.files[image.file]
        with _opened(file) as descriptor:
            data = os.pread(descriptor, length, image.offset)
        if len(data) != length:
            raise DatasetChangedError(_changed(file))
        return data

    def require_unchanged(self) -> None:
        """Compare every file with its state when it was checked; raises as `read_image` does."""
        for file in self.files:
            with _opened(file):
                pass

    @property
    def padded_boxes(self) -> int:
        """The largest number of boxes on an image, rounded up to a multiple of 8."""
        most = max((len(image.annotations.boxes) for image in self.images), default=0)
        return max(_BOX_STEP, -(-most // _BOX_STEP) * _BOX_STEP)


def open_dataset(  # noqa: PLR0913 - all but three are named
    place: Place,
    classes: Sequence[str],
    cache_dir: Path,
    *,
    credentials: Mapping[str, Path] | None = None,
    max_bad_records: int = 0,
    purpose: str = "train",
) -> Dataset:
    """Read and check the dataset at `place`.

    Args:
        place: its files; the last segment may contain `*`.
        classes: names of the label map, from id 1.
        cache_dir: local folder for files from object storage.
        credentials: URI prefix -> directory of keys.
        max_bad_records: how many bad records to skip; each is reported by name.
        purpose: `train` or `validation`, for messages.

    Raises:
        NotFoundError: no file matches.
        DataInvalidError: more records are bad than allowed, a file cannot be indexed, there is
            no image, or (`train`) no box of a single object.
    """
    dataset = read_dataset(
        place, classes, cache_dir, credentials=credentials, max_bad_records=max_bad_records
    )
    _require_content(dataset.summary, place.uri, purpose)
    return dataset


def read_dataset(  # noqa: PLR0913 - all but three are named
    place: Place,
    classes: Sequence[str],
    cache_dir: Path,
    *,
    credentials: Mapping[str, Path] | None = None,
    max_bad_records: int = 0,
    thorough: bool = False,
) -> Dataset:
    """Read the dataset at `place` with any content.

    Args:
        place: its files; the last segment may contain `*`.
        classes: names of the label map, from id 1.
        cache_dir: local folder for files from object storage.
        credentials: URI prefix -> directory of keys.
        max_bad_records: how many bad records to skip; each is reported by name.
        thorough: verify every checksum and decode every image, for any size of the dataset.

    Raises:
        NotFoundError: no file matches.
        DataInvalidError: more records are bad than allowed, or a file cannot be indexed.
    """
    files = fetch_files(find_files(place, credentials), cache_dir)
    unsure = 0 if thorough else sum(file.size for file in files)
    reading = _Reading(classes, max_bad_records, unsure)
    images: list[StoredImage] = []
    for index, file in enumerate(files):
        images.extend(reading.read_file(file, index))
    summary = _summarise(files, images, classes, reading)
    return Dataset(files=files, images=images, classes=list(classes), summary=summary)


@dataclass(slots=True)
class _Reading:
    """One pass over the files: collects bad records up to the allowed number."""

    classes: Sequence[str]
    max_bad_records: int
    size: int
    """Bytes of the whole dataset; 0 to verify all of it."""
    problems: list[str] = field(default_factory=list)
    """The first bad records."""
    latest: deque[str] = field(default_factory=lambda: deque(maxlen=_SHOWN_PROBLEMS))
    problem_count: int = 0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def read_file(self, file: LocalFile, index: int) -> Iterator[StoredImage]:
        """Yield the usable images of one file."""
        with map_file(file) as data:
            frames, stopped = index_records(data, file.uri)
            if stopped is not None and not stopped.skippable:
                raise stopped
            for frame in frames:
                # The stored checksums identify the content, so it need not be read for the digest.
                self.digest.update(b"%d %d\n" % (frame.length, read_checksum(data, frame)))
                try:
                    annotations = self._read(data, frame, file.uri)
                except BadRecordError as error:
                    self._skip(error)
                    continue
                offset = frame.data_offset + annotations.image_start
                yield StoredImage(annotations, index, offset)
            if stopped is not None:
                self._skip(stopped)

    def _read(self, data: memoryview, frame: Frame, place: str) -> AnnotatedImage:
        verify, decode = (
            self.size <= limit or frame.number % _SAMPLE == 0
            for limit in (VERIFIED_BYTES, DECODED_BYTES)
        )
        content = read_record(data, frame, place, verify=verify)
        try:
            return read_example(content, self.classes, decode=decode)
        except InvalidExampleError as error:
            raise BadRecordError(place, frame.number, frame.offset, str(error)) from error

    def _skip(self, error: BadRecordError) -> None:
        self.problem_count += 1
        self.latest.append(str(error))
        if len(self.problems) < _KEPT_PROBLEMS:
            self.problems.append(str(error))
        if self.problem_count <= self.max_bad_records:
            return
        if not self.max_bad_records:
            raise error
        shown = "\n".join(self.latest)
        msg = (
            f"more than the {self.max_bad_records} bad records that dataset.maxBadRecords "
            f"allows:\n{shown}"
        )
        raise DataInvalidError(msg) from error


@contextmanager
def _opened(file: LocalFile) -> Iterator[int]:
    """Yield a descriptor of a file that has not changed since it was checked."""
    try:
        # Opened for each read: a dataset may have more files than a process may keep open.
        with file.path.open("rb", buffering=0) as opened:
            if os.fstat(opened.fileno()).st_mtime_ns != file.changed_ns:
                raise DatasetChangedError(_changed(file))
            yield opened.fileno()
    except OSError as error:
        raise explain_os_error(error, file.path, "reading") from error


def _changed(file: LocalFile) -> str:
    return (
        f"{file.uri} was written to while it was used, so its records are no more those that were "
        "checked: let nothing change it, then start again"
    )


@contextmanager
def map_file(file: LocalFile) -> Iterator[memoryview]:
    """Yield the content of a local file as a read-only memoryview, without reading it."""
    try:
        with file.path.open("rb") as opened:
            # mmap refuses an empty file.
            mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) if file.size else b""
    except (OSError, ValueError) as error:
        cause = error if isinstance(error, OSError) else OSError(str(error))
        raise explain_os_error(cause, file.path, "reading") from error
    # Do not close the map: a traceback may keep views of it. It closes with the last view.
    yield memoryview(mapped)


def _summarise(
    files: Sequence[LocalFile],
    images: Sequence[StoredImage],
    classes: Sequence[str],
    reading: _Reading,
) -> DatasetSummary:
    found = [image.annotations for image in images]
    counts = Counter(int(label) for image in found for label in image.labels)
    heights, widths = [i.height for i in found], [i.width for i in found]
    return DatasetSummary(
        files=len(files),
        size_bytes=sum(file.size for file in files),
        images=len(found),
        images_without_boxes=sum(not len(image.boxes) for image in found),
        boxes=sum(counts.values()),
        boxes_per_class={name: counts[index] for index, name in enumerate(classes, start=1)},
        boxes_per_size=_count_sizes(found),
        crowd_boxes=sum(int(image.crowd.sum()) for image in found),
        difficult_boxes=sum(int(image.difficult.sum()) for image in found),
        turned_images=sum(image.turned for image in found),
        image_height=[min(heights), max(heights)] if heights else [],
        image_width=[min(widths), max(widths)] if widths else [],
        bad_records=reading.problems,
        bad_record_count=reading.problem_count,
        every_image_decoded=reading.size <= DECODED_BYTES,
        every_checksum_verified=reading.size <= VERIFIED_BYTES,
        digest=written_digest(reading.digest),
    )


def _count_sizes(
    images: Sequence[AnnotatedImage],
) -> dict[Literal["small", "medium", "large"], int]:
    parts = [
        (image.boxes[:, 2:] - image.boxes[:, :2]).prod(axis=1) * (image.height * image.width)
        for image in images
    ]
    # Round, because fractions in float32 do not give back whole pixels.
    areas = np.concatenate([np.zeros(0), *parts]).round(1)
    small, not_large = int((areas < _SMALL_AREA).sum()), int((areas < _LARGE_AREA).sum())
    return {"small": small, "medium": not_large - small, "large": len(areas) - not_large}


def _require_content(summary: DatasetSummary, place: str, purpose: str) -> None:
    if not summary.images:
        msg = (
            f"dataset.{purpose} {place}: expected at least one image; the {summary.files} files "
            f"hold none ({summary.bad_record_count} bad records): give files with images"
        )
        if purpose == "validation":
            msg += ", or leave out dataset.validation to train without evaluation"
        raise DataInvalidError(msg)
    if purpose == "train":
        _require_boxes(summary, place)


def _require_boxes(summary: DatasetSummary, place: str) -> None:
    if not summary.boxes:
        msg = (
            f"dataset.train {place}: {summary.images} images, but not one box: a detector needs "
            "boxes to learn from"
        )
        raise DataInvalidError(msg)
    if summary.boxes == summary.crowd_boxes:
        msg = (
            f"dataset.train {place}: all {summary.boxes} boxes are crowds (is_crowd or group_of), "
            "which are not learned as objects: a detector needs boxes of single objects"
        )
        raise DataInvalidError(msg)
