"""Reads a record: an encoded image and its boxes, with the OD API's feature names.

    image/encoded, image/format, image/height, image/width, image/source_id, image/filename
    image/object/bbox/{ymin,xmin,ymax,xmax}       fractions of the image's sides
    image/object/class/{label,text}, image/object/{is_crowd,group_of,difficult,weight}

(object_detection/data_decoders/tf_example_decoder.py.) Reads and checks without TensorFlow.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from detection_trainer.data.depth import depth_problem
from detection_trainer.data.label_map import class_gaps, class_ids, class_texts
from detection_trainer.data.orientation import orientation_of
from detection_trainer.data.wire import Feature, WireError, decode_example

_IMAGE = "image/encoded"
_EDGES = ("ymin", "xmin", "ymax", "xmax")
_BOX = "image/object/bbox/"
_LABEL = "image/object/class/label"
_TEXT = "image/object/class/text"
_FLAGS = ("is_crowd", "group_of", "difficult")
_WEIGHT = "image/object/weight"
_KINDS = {
    _IMAGE: "bytes",
    "image/height": "int64",
    "image/width": "int64",
    **{_BOX + edge: "float" for edge in _EDGES},
    _LABEL: "int64",
    _TEXT: "bytes",
    **{f"image/object/{flag}": "int64" for flag in _FLAGS},
    _WEIGHT: "float",
}
"""Features that training uses, and the kind of their values; the OD API refuses other kinds."""
_READ = {*_KINDS, "image/source_id", "image/filename"}
_FORMATS = ("JPEG", "PNG")
_JPEG_START = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_FRAME_BYTES = 12
"""Length, type and checksum of a PNG chunk."""
_ROUNDING = 1e-4
"""How far a box may exceed the image because of rounding; it is clipped."""
_MAX_SIDE = 16384
_MAX_PIXELS = 178_956_970
"""Pillow's limit; 16 GB of memory decode about twenty such images at once."""
_MAX_SCANNED = 1 << 32
"""Limit of pixels times scans of a progressive JPEG: a small file may have thousands of scans."""
_JPEG_SCAN = b"\xff\xda"
_SCAN_BYTES = 10
"""Size of the smallest scan header."""
UNDECODABLE = (
    OSError,
    ValueError,
    SyntaxError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises for files that are no image, or a damaged one."""
_FEW = 8
_LABEL_MAP_ADVICE = "name the label map that the dataset was made with"
_SHOWN = 80
"""How many characters of a name a message shows."""
_ABSENT = Feature()


class InvalidExampleError(ValueError):
    """The record cannot be used for training; the text explains why."""


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """A valid record: its image and annotations."""

    name: str
    """Source id, else file name, else empty."""
    height: int
    width: int
    """Pixels of the stored image."""
    boxes: npt.NDArray[np.float32]
    """[N, 4]: ymin, xmin, ymax, xmax as fractions of the image's sides."""
    labels: npt.NDArray[np.int32]
    """[N]: class ids from 1."""
    crowd: npt.NDArray[np.bool_]
    """[N]: one box around many objects: COCO's `iscrowd`, and `IsGroupOf` of Open Images."""
    difficult: npt.NDArray[np.bool_]
    """[N]: hard to recognise even for a person (Pascal VOC)."""
    image_start: int
    """Offset of the encoded image in the record's data."""
    image_length: int
    """Bytes."""
    turned: bool = False
    """Whether it has an EXIF orientation; viewers rotate it, training does not."""


def read_example(data: memoryview, classes: Sequence[str], *, decode: bool) -> AnnotatedImage:
    """Return the content of one record, after checking it.

    Args:
        data: the record.
        classes: the label map's names, in the order of their ids.
        decode: also decode the image's pixels, which takes about ten times as long.

    Raises:
        InvalidExampleError: a value in it is invalid.
    """
    try:
        features = decode_example(data, _READ)
    except WireError as error:
        msg = f"expected a serialised tf.train.Example: {error}: convert the dataset again"
        raise InvalidExampleError(msg) from error
    _require_kinds(features)
    start, end = _image_span(features)
    height, width, orientation = check_image(bytes(data[start:end]), decode=decode)
    _require_size(features, height, width)
    boxes = _read_boxes(features)
    _require_equal_weights(features, len(boxes))
    return AnnotatedImage(
        name=_text(data, features, "image/source_id") or _text(data, features, "image/filename"),
        height=height,
        width=width,
        boxes=np.clip(boxes, 0.0, 1.0).astype(np.float32),
        labels=_read_labels(data, features, classes, len(boxes)),
        crowd=_read_flags(features, "image/object/is_crowd", len(boxes))
        | _read_flags(features, "image/object/group_of", len(boxes)),
        difficult=_read_flags(features, "image/object/difficult", len(boxes)),
        image_start=start,
        image_length=end - start,
        turned=orientation != 1,
    )


def check_image(encoded: bytes, *, decode: bool) -> tuple[int, int, int]:
    """Return height, width and EXIF orientation of an encoded image; checks that it is complete.

    Raises:
        InvalidExampleError: it is neither JPEG nor PNG, truncated, damaged, too large, or has
            more than 8 bits per channel.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns about large images and about metadata that is not used here.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(encoded), formats=_FORMATS) as image:
                kind, (width, height) = image.format, image.size
                _require_within_limits(encoded, height, width)
                problem, orientation = depth_problem(image), orientation_of(image)
                if decode:
                    image.load()
    except UnidentifiedImageError as error:
        begin = encoded[:8].hex(" ")
        msg = f"the image is neither JPEG nor PNG: its {len(encoded)} bytes begin with {begin}"
        raise InvalidExampleError(msg) from error
    except InvalidExampleError:
        raise
    except UNDECODABLE as error:
        raise InvalidExampleError(
            f"the image of {len(encoded)} bytes does not decode: {error}"
        ) from error
    if problem is not None:
        raise InvalidExampleError(f"the image {problem}")
    whole = _is_whole_png(encoded) if kind == "PNG" else _is_whole_jpeg(encoded)
    if not whole:
        msg = f"the {kind} image of {len(encoded)} bytes is cut off or damaged: make it again"
        raise InvalidExampleError(msg)
    return height, width, orientation


def _require_within_limits(encoded: bytes, height: int, width: int) -> None:
    """Refuse an image that takes too much memory or time, before it is decoded."""
    if max(height, width) > _MAX_SIDE:
        msg = f"the image is {width}x{height}: expected at most {_MAX_SIDE} a side; tile it"
        raise InvalidExampleError(msg)
    if height * width > _MAX_PIXELS:
        msg = f"the image is {width}x{height}: expected at most {_MAX_PIXELS} pixels; tile it"
        raise InvalidExampleError(msg)
    scans = _count_scans(encoded, height * width)
    if scans * height * width > _MAX_SCANNED:
        msg = (
            f"the JPEG of {width}x{height} has {scans} scans, which take long to decode: save it "
            "again as a baseline JPEG"
        )
        raise InvalidExampleError(msg)


def _count_scans(encoded: bytes, pixels: int) -> int:
    """Return the number of scans of a JPEG; 0 if it is too small to have many, as most are."""
    if not encoded.startswith(_JPEG_START) or len(encoded) // _SCAN_BYTES * pixels <= _MAX_SCANNED:
        return 0
    values = np.frombuffer(encoded, "u1")
    marked = (values[:-1] == _JPEG_SCAN[0]) & (values[1:] == _JPEG_SCAN[1])
    return int(np.count_nonzero(marked))


def _require_kinds(features: Mapping[str, Feature]) -> None:
    for name, expected in _KINDS.items():
        received = features.get(name, _ABSENT).kind
        if received not in {"", expected}:
            raise InvalidExampleError(
                f"{name}: expected {expected} values, as the OD API reads them; received "
                f"{received} values: convert the dataset again"
            )


def _require_equal_weights(features: Mapping[str, Feature], count: int) -> None:
    weights = features.get(_WEIGHT, _ABSENT).floats
    if not weights:
        return
    if len(weights) != count:
        raise InvalidExampleError(
            f"expected {_WEIGHT} for each of {count} boxes; received {len(weights)}"
        )
    other = next((number for number, weight in enumerate(weights) if weight != 1.0), None)
    if other is not None:
        raise InvalidExampleError(
            f"{_WEIGHT}: box {other} has the weight {weights[other]:.6g}; expected 1, since boxes "
            "are not weighted here as the OD API does: write the records without this feature; a "
            "box that is to be ignored is one with is_crowd 1"
        )


def _image_span(features: Mapping[str, Feature]) -> tuple[int, int]:
    spans = features.get(_IMAGE, _ABSENT).bytes_spans
    if len(spans) != 1 or spans[0][0] == spans[0][1]:
        present = ", ".join(name[:_SHOWN] for name in sorted(features)[:_FEW]) or "none"
        received = "an empty one" if len(spans) == 1 else len(spans)
        msg = f"expected one image in {_IMAGE}; received {received} (features: {present})"
        raise InvalidExampleError(msg)
    return spans[0]


def _require_size(features: Mapping[str, Feature], height: int, width: int) -> None:
    for side, actual in (("height", height), ("width", width)):
        stated = features.get(f"image/{side}", _ABSENT).ints
        if stated and stated != [actual]:
            msg = (
                f"image/{side} is {stated[0]}, but the image is {width} wide and {height} high: "
                "its boxes may be those of another image; convert it again"
            )
            raise InvalidExampleError(msg)


def _read_boxes(features: Mapping[str, Feature]) -> npt.NDArray[np.float64]:
    columns = [features.get(_BOX + edge, _ABSENT).floats for edge in _EDGES]
    counts = {edge: len(column) for edge, column in zip(_EDGES, columns, strict=True)}
    if len(set(counts.values())) != 1:
        raise InvalidExampleError(f"expected four edges for each box; received {counts}")
    boxes = np.asarray(columns, np.float64).T.reshape(-1, len(_EDGES))
    _require_boxes(boxes)
    return boxes


def _require_boxes(boxes: npt.NDArray[np.float64]) -> None:
    """Refuse the first box that is not finite, exceeds the image, or has no area."""
    clipped = np.clip(boxes, 0.0, 1.0)
    inside = (np.abs(boxes - clipped) <= _ROUNDING).all(axis=1)  # NaN is not inside either.
    solid = (clipped[:, 2:] > clipped[:, :2]).all(axis=1)
    for holds, problem in (
        (inside, "lies outside the image: expected fractions of its sides, 0 to 1"),
        (solid, "has no area: expected ymin < ymax and xmin < xmax"),
    ):
        if not holds.all():
            number = int(np.argmin(holds))
            edges = zip(_EDGES, boxes[number], strict=True)
            received = ", ".join(f"{edge} {value:.6g}" for edge, value in edges)
            raise InvalidExampleError(
                f"box {number} of {len(boxes)} {problem}; received {received}"
            )


def _read_labels(
    data: memoryview, features: Mapping[str, Feature], classes: Sequence[str], count: int
) -> npt.NDArray[np.int32]:
    """Return the class of each box: from its number, or from its name without a number."""
    labels = features.get(_LABEL, _ABSENT).ints
    spans = features.get(_TEXT, _ABSENT).bytes_spans
    texts = [bytes(data[start:end]).decode(errors="replace") for start, end in spans]
    if not labels:
        ids = class_ids(classes)
        labels = [_label_of(text, classes, ids) for text in texts]
    if len(labels) != count:
        raise InvalidExampleError(
            f"expected a class for each of {count} boxes; received {len(labels)}"
        )
    for number, label in enumerate(labels):
        text = texts[number] if len(texts) == count else None
        _require_class(number, label, text, classes)
    return np.asarray(labels, np.int32)


def _require_class(number: int, label: int, text: str | None, classes: Sequence[str]) -> None:
    """Compare a box's label, and its text if it has one, with the label map."""
    if not 1 <= label <= len(classes):
        problem = f"outside the label map, whose ids are 1 to {len(classes)}: {_LABEL_MAP_ADVICE}"
        raise _wrong_label(number, label, problem)
    if label in class_gaps(classes):
        problem = f"for which the label map has no item: {_LABEL_MAP_ADVICE}, or add the item"
        raise _wrong_label(number, label, problem)
    if text is not None and text not in class_texts(classes, label):
        known = classes[label - 1]
        problem = f"which is {text[:_SHOWN]!r} here and {known!r} in the label map: "
        raise _wrong_label(number, label, problem + _LABEL_MAP_ADVICE)


def _wrong_label(number: int, label: int, problem: str) -> InvalidExampleError:
    return InvalidExampleError(f"box {number} has the label {label}, {problem}")


def _label_of(text: str, classes: Sequence[str], ids: Mapping[str, int]) -> int:
    if text not in ids:
        known = ", ".join(classes[:_FEW])
        raise InvalidExampleError(
            f"the class {text[:_SHOWN]!r} is not in the label map, which has {known}"
        )
    return ids[text]


def _read_flags(features: Mapping[str, Feature], name: str, count: int) -> npt.NDArray[np.bool_]:
    values: list[Any] = features.get(name, _ABSENT).ints or [0] * count
    if len(values) != count:
        raise InvalidExampleError(
            f"expected {name} for each of {count} boxes; received {len(values)}"
        )
    return np.asarray(values, np.bool_)


def _text(data: memoryview, features: Mapping[str, Feature], name: str) -> str:
    for start, end in features.get(name, _ABSENT).bytes_spans:
        return bytes(data[start:end]).decode(errors="replace")
    return ""


def _is_whole_jpeg(encoded: bytes) -> bool:
    """Return whether the end marker is near the end; some cameras append their own bytes."""
    return _JPEG_END in encoded[-max(1024, len(encoded) // 8) :]


def _is_whole_png(encoded: bytes) -> bool:
    """Return whether all chunks up to IEND are there, with valid checksums."""
    offset = len(_PNG_SIGNATURE)
    while offset + _PNG_FRAME_BYTES <= len(encoded):
        end = offset + _PNG_FRAME_BYTES + int.from_bytes(encoded[offset : offset + 4], "big")
        content, stored = encoded[offset + 4 : end - 4], encoded[end - 4 : end]
        if end > len(encoded) or zlib.crc32(content) != int.from_bytes(stored, "big"):
            return False
        if content.startswith(b"IEND"):
            return True
        offset = end
    return False
