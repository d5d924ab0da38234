"""Writes photographs as sharded TFRecords with the OD API's features, and their label map.

    train-00000-of-00002.tfrecord …  validation-00000-of-00001.tfrecord …  label_map.pbtxt

All records are written to a local folder first, and the trainer's own reader checks each. Then they
replace the content of the folder. The label map is deleted first and written last: if it exists,
all records are complete.
"""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np

from detection_trainer.contract.base import Contract
from detection_trainer.data.convert.images import ImageFormat, encode_tiles
from detection_trainer.data.convert.photographs import (
    Photograph,
    require_classes,
    require_distinct,
)
from detection_trainer.data.convert.tiles import (
    Tile,
    Tiling,
    cut_tiles,
    shard_bounds,
    split_window,
    whole,
)
from detection_trainer.data.examples import InvalidExampleError, read_example
from detection_trainer.data.label_map import format_label_map
from detection_trainer.data.records import write_records
from detection_trainer.data.wire import Values, encode_example
from detection_trainer.errors import DataInvalidError, InvalidConfigError
from detection_trainer.storage import Folder
from detection_trainer.storage.local import explain_os_error

LABEL_MAP_FILE = "label_map.pbtxt"
TRAIN, VALIDATION = "train", "validation"
_SIDES = ("ymin", "xmin", "ymax", "xmax")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Plan:
    """How to convert photographs."""

    tiling: Tiling = field(default_factory=Tiling)
    holdout: float = 0.0
    """Rightmost fraction of each photograph to hold out for validation."""
    holdout_names: frozenset[str] = frozenset()
    """Photographs, by file name without suffix, to hold out completely."""
    shards: int = 1
    """Number of files of the training set; the validation set has one file."""
    image_format: ImageFormat = "jpeg"
    """Format of tiles, and of images in other formats."""
    overwrite: bool = False
    """Replace an existing dataset."""

    def __post_init__(self) -> None:
        """Refuse numbers that make no valid dataset.

        Raises:
            InvalidConfigError: a number is out of its range.
        """
        if not 0.0 <= self.holdout < 1.0:
            msg = f"holdout takes a fraction from 0 to below 1; received {self.holdout}"
            raise InvalidConfigError(msg)
        if self.shards < 1:
            raise InvalidConfigError(f"shards takes at least 1; received {self.shards}")


class SetSummary(Contract):
    """One of the two sets after it was written."""

    uri: str
    """The value for `dataset.train.uri` or `dataset.validation.uri`."""
    images: int
    images_without_boxes: int
    boxes: int
    boxes_per_class: dict[str, int]
    crowd_boxes: int = 0
    """Number of crowds among `boxes`; they are not trained as objects."""


class ConversionSummary(Contract):
    """The result of a conversion."""

    label_map: str
    classes: list[str]
    train: SetSummary
    validation: SetSummary | None = None


def convert(
    photographs: Sequence[Photograph], classes: Sequence[str], plan: Plan, folder: Folder
) -> ConversionSummary:
    """Cut `photographs` by `plan`, write them to `folder` and return the counts.

    Args:
        photographs: from one or several sources.
        classes: names for the label map, from id 1.
        plan: tiles, hold-out and shards.
        folder: receives the files.

    Raises:
        DataInvalidError: a box has another class, or no image is left for training.
        InvalidConfigError: a class or a held-out name does not exist, or the folder already
            contains a dataset.
    """
    _require_distinct(classes)
    require_distinct(photographs)
    require_classes(photographs, classes, folder.uri)
    _require_names(photographs, plan.holdout_names)
    sets = {name: tiles for name, tiles in plan_sets(photographs, plan).items() if tiles}
    if TRAIN not in sets:
        msg = f"{folder.uri}: no image is left to train on: keep fewer apart"
        raise DataInvalidError(msg)
    present = _present_files(folder, overwrite=plan.overwrite)
    with tempfile.TemporaryDirectory() as scratch:
        files = _write_sets(sets, classes, plan, Path(scratch))
        _replace(folder, present, files, classes)
    summaries = {name: _summarise(name, tiles, classes, folder) for name, tiles in sets.items()}
    return ConversionSummary(
        label_map=folder.uri_of(LABEL_MAP_FILE),
        classes=list(classes),
        train=summaries[TRAIN],
        validation=summaries.get(VALIDATION),
    )


def plan_sets(photographs: Sequence[Photograph], plan: Plan) -> dict[str, list[Tile]]:
    """Return the tiles of the training and the validation set; pure."""
    sets: dict[str, list[Tile]] = {TRAIN: [], VALIDATION: []}
    for photograph in photographs:
        window = whole(photograph)
        if photograph.path.stem in plan.holdout_names:
            regions = [(VALIDATION, window)]
        elif plan.holdout:
            shown, kept_apart = split_window(window, plan.holdout, plan.tiling.side)
            regions = [(TRAIN, shown), (VALIDATION, kept_apart)]
        else:
            regions = [(TRAIN, window)]
        for name, region in regions:
            sets[name].extend(cut_tiles(photograph, region, plan.tiling))
    return sets


def _require_distinct(classes: Sequence[str]) -> None:
    if not classes or len(set(classes)) != len(classes):
        msg = f"expected class names that differ, at least one; received {list(classes)}"
        raise InvalidConfigError(msg)


def _require_names(photographs: Sequence[Photograph], names: frozenset[str]) -> None:
    missing = sorted(names - {photograph.path.stem for photograph in photographs})
    if missing:
        msg = f"to be kept apart for validation: {missing[0]!r}, but no image has that name"
        raise InvalidConfigError(msg)


def _present_files(folder: Folder, *, overwrite: bool) -> list[str]:
    """Return the dataset's files in `folder`; without `overwrite` there must be none."""
    present = [
        entry.path
        for prefix in (LABEL_MAP_FILE, f"{TRAIN}-", f"{VALIDATION}-")
        for entry in folder.list(prefix, recursive=False)
        if entry.path.endswith((".pbtxt", ".tfrecord"))
    ]
    if present and not overwrite:
        msg = (
            f"{folder.uri} already has a dataset ({', '.join(present[:3])}): choose another "
            "folder, or replace it with --overwrite"
        )
        raise InvalidConfigError(msg)
    return present


def _write_sets(
    sets: Mapping[str, Sequence[Tile]], classes: Sequence[str], plan: Plan, scratch: Path
) -> list[Path]:
    """Write the files of all sets into the local folder `scratch`.

    Raises:
        DataInvalidError: images are invalid; the message names them all.
    """
    encoder = _Encoder(classes, plan.image_format)
    files = []
    for name, tiles in sets.items():
        shards = min(plan.shards, len(tiles)) if name == TRAIN else 1
        for number, (first, end) in enumerate(shard_bounds(len(tiles), shards)):
            file = scratch / f"{name}-{number:05d}-of-{shards:05d}.tfrecord"
            _write_shard(file, encoder.records(tiles[first:end]))
            files.append(file)
    encoder.refuse()
    return files


def _replace(
    folder: Folder, present: Sequence[str], files: Sequence[Path], classes: Sequence[str]
) -> None:
    if LABEL_MAP_FILE in present:
        folder.delete(LABEL_MAP_FILE)
    for file in files:
        folder.write(file.name, file)
    for path in sorted(set(present) - {LABEL_MAP_FILE, *(file.name for file in files)}):
        folder.delete(path)
    folder.write(LABEL_MAP_FILE, format_label_map(classes).encode())


def _summarise(
    name: str, tiles: Sequence[Tile], classes: Sequence[str], folder: Folder
) -> SetSummary:
    counts: Counter[str] = Counter(n for tile in tiles for n in tile.photograph.names)
    return SetSummary(
        uri=folder.uri_of(f"{name}-*.tfrecord"),
        images=len(tiles),
        images_without_boxes=sum(not tile.photograph.names for tile in tiles),
        boxes=counts.total(),
        boxes_per_class={label: counts[label] for label in classes},
        crowd_boxes=sum(sum(tile.photograph.crowd) for tile in tiles),
    )


def _write_shard(path: Path, records: Iterable[bytes]) -> None:
    try:
        with path.open("wb") as file:
            write_records(file, records)
    except OSError as error:
        raise explain_os_error(error, path, "writing records to") from error


@dataclass(slots=True)
class _Encoder:
    """Builds records, and collects the images that are invalid."""

    classes: Sequence[str]
    image_format: ImageFormat
    problems: dict[str, None] = field(default_factory=dict)
    """Error messages in order, each once: both sets may show parts of one image."""

    def records(self, tiles: Sequence[Tile]) -> Iterator[bytes]:
        """Yield the record of each valid tile."""
        for _, group in groupby(tiles, key=lambda tile: tile.photograph.path):
            same = list(group)
            try:
                for tile, image in zip(same, encode_tiles(same, self.image_format), strict=True):
                    yield self._record(tile, image)
            except DataInvalidError as error:
                self.problems[str(error)] = None

    def refuse(self) -> None:
        """Refuse the conversion if an image is invalid.

        Raises:
            DataInvalidError: images are invalid; the message names them all.
        """
        if len(self.problems) == 1:
            raise DataInvalidError(next(iter(self.problems)))
        if self.problems:
            listed = "\n".join(self.problems)
            msg = f"{len(self.problems)} images cannot be used, and nothing was written:\n{listed}"
            raise DataInvalidError(msg)

    def _record(self, tile: Tile, image: bytes) -> bytes:
        """Return the record, after the trainer's own reader has accepted it."""
        record = encode_example(make_features(tile, image, self.classes))
        try:
            read_example(memoryview(record), self.classes, decode=True)
        except InvalidExampleError as error:
            raise DataInvalidError(f"{tile.photograph.path}: {error}") from error
        return record


def make_features(tile: Tile, image: bytes, classes: Sequence[str]) -> dict[str, Values]:
    """Return the OD API's features of one tile (tf_example_decoder.py)."""
    photograph, window = tile.photograph, tile.window
    sides = np.array([window.height, window.width] * 2, np.float64)
    features: dict[str, Values] = {
        "image/encoded": [image],
        "image/format": [b"png" if image.startswith(_PNG_SIGNATURE) else b"jpeg"],
        "image/height": [window.height],
        "image/width": [window.width],
        "image/filename": [photograph.path.name.encode()],
        "image/source_id": [_source_id(tile).encode()],
        "image/object/class/label": [classes.index(name) + 1 for name in photograph.names],
        "image/object/class/text": [name.encode() for name in photograph.names],
        "image/object/difficult": [int(flag) for flag in photograph.difficult],
        "image/object/is_crowd": [int(flag) for flag in photograph.crowd],
    }
    for side, values in zip(_SIDES, (photograph.boxes / sides).T, strict=True):
        features[f"image/object/bbox/{side}"] = [float(value) for value in values]
    return features


def _source_id(tile: Tile) -> str:
    """Return a name of the tile: the photograph's name and the tile's position."""
    stem = tile.photograph.path.stem
    return stem if tile.is_whole else f"{stem}@{tile.window.left},{tile.window.top}"
