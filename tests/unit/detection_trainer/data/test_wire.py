"""tf.train.Example in the wire format, against TensorFlow's own reading and writing."""

import io
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from detection_trainer.data.records import index_records, read_record, write_records
from detection_trainer.data.wire import Values, WireError, decode_example, encode_example

FEATURES: dict[str, Values] = {
    "bytes": [b"one", b"", b"\xff" * 300],
    "floats": [0.0, -1.5, 3.25],
    "ints": [0, 1, -1, 2**40, -(2**63), 2**63 - 1],
}


def test_tensorflow_reads_what_is_written() -> None:
    example = tf.train.Example.FromString(encode_example(FEATURES))
    features = example.features.feature
    assert list(features["bytes"].bytes_list.value) == FEATURES["bytes"]
    assert list(features["floats"].float_list.value) == FEATURES["floats"]
    assert list(features["ints"].int64_list.value) == FEATURES["ints"]


def test_what_tensorflow_writes_is_read() -> None:
    example = tf.train.Example.FromString(encode_example(FEATURES))
    data = example.SerializeToString()
    features = decode_example(data)
    spans = features["bytes"].bytes_spans
    assert [data[start:end] for start, end in spans] == FEATURES["bytes"]
    assert features["floats"].floats == FEATURES["floats"]
    assert features["ints"].ints == FEATURES["ints"]


def test_unpacked_lists_are_read() -> None:
    value = b"\x0a\x01a" + b"\x12" + bytes([2 + 4]) + b"\x1a\x04" + b"\x08\x05\x08\x07"
    assert decode_example(b"\x0a\x0d" + b"\x0a\x0b" + value)["a"].ints == [5, 7]


def test_empty_features_are_left_out() -> None:
    assert decode_example(encode_example({"a": [], "b": [1]})).keys() == {"b"}


def test_record_files_equal_those_of_tensorflow(tmp_path: Path) -> None:
    records = [b"first", b"second" * 1000]
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for record in records:
            writer.write(record)
    ours = io.BytesIO()
    write_records(ours, records)
    assert ours.getvalue() == (tmp_path / "theirs").read_bytes()
    view = memoryview(ours.getvalue())
    frames, _ = index_records(view, "ours")
    assert [bytes(read_record(view, frame, "ours")) for frame in frames] == records


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x0a", id="a length that is missing"),
        pytest.param(b"\x0a\x05ab", id="a field longer than the message"),
        pytest.param(b"\x0b", id="a group"),
        pytest.param(b"\x08" + b"\xff" * 11, id="a number without end"),
        pytest.param(b"\x02\x00", id="field number 0"),
        pytest.param(
            encode_example({"a": [1.0]}).replace(b"\x0a\x04\x00", b"\x0a\x03\x00")[:-1],
            id="half a float",
        ),
        pytest.param(b"\x0a\x05\x0a\x03\x0a\x01\xff", id="a name that is no text"),
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        decode_example(data)


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_be_refused(data: bytes) -> None:
    with suppress(WireError):
        assert isinstance(decode_example(memoryview(data)), dict)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(width=32, allow_nan=False), max_size=20))
def test_floats_survive(values: list[float]) -> None:
    found = decode_example(encode_example({"x": values, "y": [1]})).get("x")
    assert np.array_equal([] if found is None else found.floats, values)
