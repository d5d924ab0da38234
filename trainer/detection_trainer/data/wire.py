"""`tf.train.Example` in the protobuf wire format, read and written without TensorFlow.

    Example.features = 1 · Features.feature = 1 (map: key = 1, value = 2)
    Feature: bytes_list = 1, float_list = 2, int64_list = 3, each with a repeated `value` = 1

(tensorflow/core/example/{example,feature}.proto). Bytes are returned as spans, so that an image can
later be read directly from the file.
"""

import struct
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_BYTES, _FLOATS, _INTS = 1, 2, 3
_MAX_SHIFT = 63

MAX_FIELDS = 1_000_000
"""Limit of fields and numbers of one record: an image with 10,000 boxes has 60,000."""
_NAMES = {_BYTES: "bytes", _FLOATS: "float", _INTS: "int64"}

Values = Sequence[bytes] | Sequence[float] | Sequence[int]
Buffer = bytes | memoryview


class WireError(ValueError):
    """The bytes are not a valid message."""


@dataclass(slots=True)
class Feature:
    """The values of one feature; at most one of the three is filled."""

    kind: str = ""
    """`bytes`, `float` or `int64`; empty if the feature has no list."""
    bytes_spans: list[tuple[int, int]] = field(default_factory=list)
    """Start and end of each value in the record's data."""
    floats: list[float] = field(default_factory=list)
    ints: list[int] = field(default_factory=list)


class _Limit:
    """The remaining limit: an Example of many empty fields takes time without using memory."""

    def __init__(self) -> None:
        self._left = MAX_FIELDS

    def take(self, count: int) -> None:
        """Count fields or numbers; raises WireError above the limit."""
        self._left -= count
        if self._left < 0:
            raise WireError(f"it has more than {MAX_FIELDS} fields and numbers")


def decode_example(data: Buffer, names: Container[str] | None = None) -> dict[str, Feature]:
    """Return the features in `data` by name.

    Args:
        data: the serialised Example.
        names: the features to read; None: all. The numbers of others, such as masks, are skipped.

    Raises:
        WireError: it is not a serialised Example, or has too many values.
    """
    features: dict[str, Feature] = {}
    limit = _Limit()
    for number, start, end in _messages(data, 0, len(data), limit):
        if number != 1:
            continue
        for inner, first, last in _messages(data, start, end, limit):
            if inner == 1:
                name, feature = _decode_entry(data, first, last, names, limit)
                features[name] = feature
    return features


def encode_example(features: Mapping[str, Values]) -> bytes:
    """Return the serialised Example; features are sorted by name, empty ones are left out."""
    entries = b"".join(
        _delimited(1, _delimited(1, name.encode()) + _delimited(2, _encode_values(values)))
        for name, values in sorted(features.items())
        if len(values)
    )
    return _delimited(1, entries)


def _decode_entry(
    data: Buffer, start: int, end: int, names: Container[str] | None, limit: _Limit
) -> tuple[str, Feature]:
    name, value = "", (end, end)
    for number, first, last in _messages(data, start, end, limit):
        if number == 1:
            try:
                name = bytes(data[first:last]).decode()
            except UnicodeDecodeError as error:
                raise WireError("a feature's name is not UTF-8") from error
        elif number == 2:  # noqa: PLR2004 - the map's value
            value = (first, last)
    if names is not None and name not in names:
        return name, Feature()
    return name, _decode_feature(data, *value, limit)


def _decode_feature(data: Buffer, start: int, end: int, limit: _Limit) -> Feature:
    feature = Feature()
    for kind, first, last in _messages(data, start, end, limit):
        for number, wire, begin, stop in fields(data, first, last):
            limit.take(1)
            if number != 1:
                continue
            if feature.kind not in {"", _NAMES.get(kind)}:
                raise WireError("a feature holds lists of two kinds")
            feature.kind = _NAMES.get(kind, "")
            if kind == _BYTES and wire == _LENGTH_DELIMITED:
                feature.bytes_spans.append((begin, stop))
            elif kind == _FLOATS and wire in {_LENGTH_DELIMITED, _FIXED32}:
                limit.take((stop - begin) // 4)
                feature.floats.extend(_floats(data, begin, stop))
            elif kind == _INTS and wire in {_LENGTH_DELIMITED, _VARINT}:
                limit.take(stop - begin)
                feature.ints.extend(_ints(data, begin, stop))
            else:
                raise WireError(f"a list of kind {kind} holds values of wire type {wire}")
    return feature


def _floats(data: Buffer, start: int, end: int) -> list[float]:
    if (end - start) % 4:
        raise WireError("a list of floats ends in the middle of one")
    values: list[float] = np.frombuffer(data, "<f4", (end - start) // 4, start).tolist()
    return values


def _ints(data: Buffer, start: int, end: int) -> Iterator[int]:
    while start < end:
        value, start = varint(data, start, end)
        yield value - (1 << 64) if value >> 63 else value


def _messages(data: Buffer, start: int, end: int, limit: _Limit) -> Iterator[tuple[int, int, int]]:
    """Yield number and span of the length-delimited fields."""
    for number, wire, first, last in fields(data, start, end):
        limit.take(1)
        if wire == _LENGTH_DELIMITED:
            yield number, first, last


def fields(data: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, wire type and span of each field of the message between `start` and `end`.

    Raises:
        WireError: the bytes are not a message.
    """
    while start < end:
        tag, start = varint(data, start, end)
        number, wire = tag >> 3, tag & 7
        first = start
        match wire:
            case 0:
                _, start = varint(data, start, end)
            case 1:
                start += 8
            case 2:
                length, first = varint(data, start, end)
                start = first + length
            case 5:
                start += 4
            case _:
                raise WireError(f"a field has the unknown wire type {wire}")
        if start > end or not number:
            raise WireError("a field is longer than the message that holds it")
        yield number, wire, first, start


def varint(data: Buffer, start: int, end: int) -> tuple[int, int]:
    """Return the number at `start` and the offset after it.

    Raises:
        WireError: it does not end before `end`.
    """
    value = shift = 0
    while start < end and shift <= _MAX_SHIFT:
        byte = data[start]
        start += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, start
        shift += 7
    raise WireError("a number does not end within its message")


def _encode_values(values: Values) -> bytes:
    match values[0]:
        case bytes():
            parts = b"".join(_delimited(1, v) for v in values if isinstance(v, bytes))
            return _delimited(_BYTES, parts)
        case float():
            packed = struct.pack(f"<{len(values)}f", *values)
            return _delimited(_FLOATS, _delimited(1, packed))
        case _:
            packed = b"".join(_encode_varint(int(v)) for v in values)
            return _delimited(_INTS, _delimited(1, packed))


def _delimited(number: int, content: bytes) -> bytes:
    return _encode_varint(number << 3 | _LENGTH_DELIMITED) + _encode_varint(len(content)) + content


def _encode_varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - the continuation bit
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
