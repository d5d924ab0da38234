"""TensorBoard's event files of a run: losses, speed, metrics, and images with detections.

    events/events.out.tfevents.0000000300.0000   the points from step 300 to the next file

A file is written as a whole, beside a checkpoint, and is not appended to. An attempt that resumes
deletes the points after its step, so that no point occurs twice.
"""

import io
import itertools
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import tensorflow as tf
from PIL import Image

from detection_trainer.contract.report import Report
from detection_trainer.data.records import BadRecordError, index_records, read_record, write_record
from detection_trainer.errors import NotFoundError, StorageFullError, StorageUnavailableError
from detection_trainer.storage import Folder

EVENTS = "events"
PICTURE_SIDE = 512
FLUSH_PERIOD_S, FLUSH_FRACTION = 10.0, 0.01
"""Minimum seconds between files, and maximum share of the time so far: files stay few."""
_NAME = re.compile(r"^events\.out\.tfevents\.(\d{10})\.\d{4,}$")
_VERSION = tf.compat.v1.Event(file_version="brain.Event:2")

Pictures = Callable[[], Iterable[Image.Image]]


@dataclass(slots=True)
class _Segment:
    """The serialised points since the last file."""

    step: int
    """Step of its first point."""
    records: list[bytes]


class EventLog:
    """Collects the points of an attempt; `flush` writes them. Any thread may call it."""

    def __init__(  # noqa: PLR0913 - all but two have defaults or are callables of the attempt
        self,
        run: Folder,
        step: int,
        *,
        clock: Callable[[], datetime],
        pictures: Pictures = tuple,
        before_write: Callable[[], None] = lambda: None,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """Continue after `step`; deletes later points of an earlier attempt.

        Args:
            run: the run's folder.
            step: the step at which the attempt begins.
            clock: the time, for TensorBoard's relative axis.
            pictures: returns the images for an evaluation.
            before_write: raises if this process may no longer write.
            ticks: monotonic seconds.
        """
        self._folder, self._clock, self._pictures = run.child(EVENTS), clock, pictures
        self._before_write, self._ticks = before_write, ticks
        self._lock = threading.Lock()
        self._segment: _Segment | None = None
        self._began = self._flushed = ticks()
        self._taken = set(delete_after(self._folder, step))

    def progress(self, report: Report) -> None:
        """Collect the loop's figures at the report's step."""
        figures = report.progress.model_dump(exclude_none=True, by_alias=False)
        self._add(report.step, [_scalar(f"training/{k}", v) for k, v in figures.items()])

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        """Collect the metrics of `step` and its images."""
        values = [_scalar(f"evaluation/{name}", value) for name, value in metrics.items()]
        values += [_picture(n, picture) for n, picture in enumerate(self._pictures())]
        self._add(step, values)

    def flush(self, *, now: bool = False) -> None:
        """Write the collected points, unless the last file is recent and `now` is false.

        If the storage refuses them, they are kept for the next file.
        """
        with self._lock:
            segment, since = self._segment, self._ticks() - self._flushed
            longest = max(FLUSH_PERIOD_S, FLUSH_FRACTION * (self._ticks() - self._began))
            if segment is None or (since < longest and not now):
                return
            self._before_write()
            name = self._free_name(segment.step)
            try:
                self._folder.write(name, _file([_VERSION_RECORD, *segment.records]))
            except (StorageUnavailableError, StorageFullError):
                return  # Events are optional; the save of the checkpoint reports the problem.
            self._taken.add(name)
            self._segment, self._flushed = None, self._ticks()

    def _free_name(self, step: int) -> str:
        names = (f"events.out.tfevents.{step:010d}.{number:04d}" for number in itertools.count())
        return next(name for name in names if name not in self._taken)

    def _add(self, step: int, values: list[Any]) -> None:
        event = tf.compat.v1.Event(
            wall_time=self._clock().timestamp(),
            step=step,
            summary=tf.compat.v1.Summary(value=values),
        )
        with self._lock:
            self._segment = self._segment or _Segment(step, [])
            self._segment.records.append(event.SerializeToString())


def delete_after(folder: Folder, step: int) -> list[str]:
    """Delete the points after `step` from the event files in `folder`; return the files left."""
    starts = {e.path: int(match[1]) for e in folder.list() if (match := _NAME.match(e.path))}
    for name in (name for name, start in starts.items() if start > step):
        folder.delete(name)
    kept = sorted(name for name, start in starts.items() if start <= step)
    # Files are sorted by their first step, so only the last of them can go beyond `step`.
    if kept:
        _cut(folder, kept[-1], step)
    return kept


def _cut(folder: Folder, name: str, step: int) -> None:
    """Keep only the points up to `step` in one file, and of a damaged one the readable part."""
    try:
        data = folder.read(name)
    except NotFoundError:
        return
    records = _read(data, name)
    kept = [record for record in records if tf.compat.v1.Event.FromString(record).step <= step]
    if (cut := _file(kept)) != data:
        folder.write(name, cut)


def _read(data: bytes, name: str) -> list[bytes]:
    view = memoryview(data)
    records = []
    for frame in index_records(view, name)[0]:
        try:
            records.append(bytes(read_record(view, frame, name)))
        except BadRecordError:
            break
    return records


def _file(records: Iterable[bytes]) -> bytes:
    file = io.BytesIO()
    for record in records:
        write_record(file, record)
    return file.getvalue()


def _scalar(tag: str, value: float) -> Any:
    return tf.compat.v1.Summary.Value(tag=tag, simple_value=value)


def _picture(number: int, picture: Image.Image) -> Any:
    picture = picture.convert("RGB")
    picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=85)
    image = tf.compat.v1.Summary.Image(
        height=picture.height,
        width=picture.width,
        colorspace=3,
        encoded_image_string=encoded.getvalue(),
    )
    return tf.compat.v1.Summary.Value(tag=f"evaluation/image_{number}", image=image)


_VERSION_RECORD: bytes = _VERSION.SerializeToString()
