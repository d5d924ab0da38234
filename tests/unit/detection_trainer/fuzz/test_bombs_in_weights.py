"""Small files of weights that ask for much: archives, HDF5, pickles and TensorFlow's indexes.

Each is refused with what was received and the limit, after little work and in little memory.
"""

import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from detection_trainer.data.checksum import masked_crc32c
from detection_trainer.errors import (
    DamagedCheckpointError,
)
from detection_trainer.storage import Folder, open_folder
from detection_trainer.weights.keras.layers import read_arrays, read_layers
from detection_trainer.weights.odapi.bundle import open_bundle
from detection_trainer.weights.odapi.checkpoint import find_bundle
from detection_trainer.weights.torch.tensors import read_tensors
from tests.support.trainer.fuzzing import effort
from tests.support.trainer.torch_files import old_file
from tests.support.trainer.wire_bytes import field, varint

MEGABYTE = 1 << 20


def read_all(folder: Folder, name: str) -> object:
    layers = read_layers(folder, name)
    return read_arrays(folder, name, {p: p for layer in layers for p, _ in layer.variables})


def keras_file(folder: Path, make: Callable[[h5py.File], object]) -> Path:
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        make(file)
    return path


def archive_of(folder: Path, content: bytes, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    path = folder / "a.keras"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("model.weights.h5", content)
    return path


def understated(folder: Path) -> Path:
    """Write an archive whose entry states 10 bytes."""
    path = archive_of(folder, bytes(100_000_000))
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", 100_000_000), struct.pack("<I", 10)))
    return path


def of_many_entries(folder: Path) -> Path:
    path = folder / "a.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(20_000):
            archive.writestr(f"{number:020d}", b"")
    return path


def linked_in_circles(file: h5py.File) -> None:
    groups = [file.create_group(f"g{level}") for level in range(30)]
    for upper, lower in zip(groups, [*groups[1:], groups[0]], strict=True):
        for name in ("a", "b", "c"):
            upper[name] = lower


def stated_only(file: h5py.File) -> None:
    group = file.create_group("layers/l1/vars")
    group.attrs["name"] = "l1"
    group.create_dataset("0", (10**6, 10**6), "f4", chunks=(100, 100))


def of_many_groups(file: h5py.File) -> None:
    for number in range(300):
        file.create_group(f"{number}/a/b")


def nested(file: h5py.File) -> None:
    file.create_group("a/" * 60)


def of_many_names(file: h5py.File) -> None:
    file.attrs.create("layer_names", np.zeros(60_000, "S1"))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        pytest.param(
            lambda folder: archive_of(folder, bytes(100_000_000)),
            r"\d+ bytes inflate to 100000000, more than 20 times",
            id="zeros deflated",
        ),
        pytest.param(understated, "reading them failed", id="an entry that understates its size"),
        pytest.param(of_many_entries, "list of entries of at most 1048576 bytes", id="entries"),
        pytest.param(
            lambda folder: archive_of(folder, bytes(1000), zipfile.ZIP_LZMA),
            "received compression 14",
            id="a compression without bound",
        ),
        pytest.param(
            lambda folder: keras_file(folder, linked_in_circles),
            "more than 32 levels deep|more than 50000 groups",
            id="groups in circles",
        ),
        pytest.param(lambda folder: keras_file(folder, nested), "32 levels deep", id="deep"),
        pytest.param(
            lambda folder: keras_file(folder, stated_only),
            "states 4000000000000 bytes, of which 0 are stored",
            id="a variable that is not there",
        ),
        pytest.param(
            lambda folder: keras_file(folder, of_many_names), "more than 50000 names", id="names"
        ),
        pytest.param(
            lambda folder: keras_file(folder, of_many_groups), "no layer", id="groups of nothing"
        ),
    ],
)
def test_weights_of_keras(tmp_path: Path, make: Callable[[Path], Path], expected: str) -> None:
    path = make(tmp_path)
    folder = open_folder(tmp_path.as_uri())
    with effort(3_000_000, 30 * MEGABYTE), pytest.raises(DamagedCheckpointError, match=expected):
        read_all(folder, path.name)


def test_weights_that_are_all_equal_are_read(tmp_path: Path) -> None:
    def zeros(file: h5py.File) -> None:
        group = file.create_group("layers/l1/vars")
        group.create_dataset("0", data=np.zeros((500, 500), "f4"), compression="gzip")

    content = keras_file(tmp_path, zeros).read_bytes()
    path = archive_of(tmp_path, content)
    folder = open_folder(tmp_path.as_uri())
    (layer,) = read_layers(folder, path.name)
    ((place, shape),) = layer.variables
    assert shape == (500, 500)
    assert not read_arrays(folder, path.name, {"a": place})["a"].any()


HEAD = b"\x80\x02"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
ORDERED = b"ccollections\nOrderedDict\n"
DOUBLED = b"".join(b"q%ch%c\x86" % (i, i) for i in range(40))
"""The tuple on the stack, 40 times a pair of itself: 2^40 values to hash or to print."""


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(HEAD + b"Nr\xff\xff\xff\x7f.", "received NoneType", id="a memo of 16 GB"),
        pytest.param(
            HEAD + b"\x8d" + struct.pack("<Q", 1 << 40) + b"x.", "more than 16777216", id="a text"
        ),
        pytest.param(HEAD + b"\x8b" + struct.pack("<i", 2**31 - 1), "16777216", id="a number"),
        pytest.param(HEAD + b"N0N.", "writes no operation POP", id="POP"),
        pytest.param(HEAD + b"(" * 200_000, "more than 100000 operations", id="marks"),
        pytest.param(
            HEAD + b"}" + b")" + DOUBLED + b"Ns.", "names as keys; received tuple", id="a key"
        ),
        pytest.param(HEAD + b")" + b"\x85" * 50_000 + b".", "received tuple", id="deep tuples"),
        pytest.param(HEAD + b"]" * 3 + b"a.", "received list", id="a list in a list"),
        pytest.param(
            HEAD + b")" + DOUBLED + b"Q.",
            "expected a tuple of 5 entries as the reference to a storage",
            id="a storage of doubled tuples",
        ),
        pytest.param(
            HEAD + ORDERED + b")R}X\x06\x00\x00\x00valuesK\x01sb.", "received dict",
            id="a state that hides a method",
        ),
        pytest.param(HEAD + b"0.", "writes no operation POP", id="an empty stack"),
        pytest.param(HEAD + b".", "pop from empty list", id="nothing"),
        pytest.param(HEAD + b"h\x05.", "reading it failed", id="a memo that is not there"),
    ],
)  # fmt: skip
def test_state_dicts_of_torch(tmp_path: Path, content: bytes, expected: str) -> None:
    """Preceded by the header of an old file, so that the state dict is read."""
    whole = old_file({}, {})
    empty = pickle.dumps({}, protocol=2)
    assert whole.count(empty) >= 1
    (tmp_path / "a.pth").write_bytes(whole[: whole.rindex(empty)] + content)
    with effort(3_000_000, 20 * MEGABYTE), pytest.raises(DamagedCheckpointError, match=expected):
        read_tensors(open_folder(tmp_path.as_uri()), "a.pth")


def test_a_state_that_hides_the_methods_of_its_dict_hides_no_check(tmp_path: Path) -> None:
    """It did: `values` set to a class, and a tensor reached out of its storage."""
    identifier = (
        b"(" + text_of("storage") + b"ctorch\nFloatStorage\n" + text_of("0") + text_of("cpu")
    )
    place = b"K\x00J\x00\x00\x00\x7f\x85K\x01\x85"
    tensor = REBUILD + b"(" + identifier + b"K\x04NtQ" + place + b"tR"
    hiding = b"}" + text_of("values") + ORDERED + b"sb."
    content = HEAD + ORDERED + b")R" + text_of("a") + tensor + b"s" + hiding
    whole = old_file({}, {})
    empty = pickle.dumps({}, protocol=2)
    (tmp_path / "a.pth").write_bytes(whole[: whole.rindex(empty)] + content)
    with pytest.raises(DamagedCheckpointError, match="ends at 2130706431 of a storage of 4"):
        read_tensors(open_folder(tmp_path.as_uri()), "a.pth")


def text_of(word: str) -> bytes:
    return b"X" + struct.pack("<I", len(word)) + word.encode()


def block(entries: bytes) -> bytes:
    """Return a block of LevelDB's table with its trailer."""
    content = entries + struct.pack("<II", 0, 1) + b"\0"
    return content + struct.pack("<I", masked_crc32c(content))


def entry(shared: int, key: bytes, value: bytes) -> bytes:
    return varint(shared) + varint(len(key)) + varint(len(value)) + key + value


def table(data: bytes, handles: int = 1) -> bytes:
    """Return an index whose block of blocks names the block `data` `handles` times."""
    handle = varint(0) + varint(len(data) - 5)
    blocks = block(b"".join(entry(0, b"k", handle) for _ in range(handles)))
    place = varint(0) + varint(0) + varint(len(data)) + varint(len(blocks) - 5)
    footer = place.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    return data + blocks + footer


GROWING = block(b"".join(entry(i, b"x", b"") for i in range(100_000)))
HUGE = block(
    entry(0, b"", b"\x08\x01") + entry(0, b"a", field(2, field(2, b"\x08" + varint(2**60))))
)
DEEP = block(entry(0, b"", b"\x08\x01") + entry(0, b"a", field(2, field(2, b"\x08\x01") * 90)))


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        pytest.param(table(GROWING), "a name has more than 4096 bytes", id="names that grow"),
        pytest.param(
            table(block(entry(0, b"", b"")), 9000), "blocks overlap", id="one block often"
        ),
        pytest.param(table(HUGE), "a side of 1152921504606846976", id="a wide tensor"),
        pytest.param(table(DEEP), "90 dimensions", id="many dimensions"),
    ],
)
def test_indexes_of_tensorflow(tmp_path: Path, index: bytes, expected: str) -> None:
    (tmp_path / "ckpt-1.index").write_bytes(index)
    with effort(1_000_000, 50 * MEGABYTE), pytest.raises(DamagedCheckpointError, match=expected):
        open_bundle(open_folder(tmp_path.as_uri()), "ckpt-1")


def test_a_tensor_whose_size_is_not_that_of_its_shape_is_not_read(tmp_path: Path) -> None:
    value = b"\x08\x01" + field(2, field(2, b"\x08\x04")) + b"\x28" + varint(1 << 50)
    index = table(block(entry(0, b"", b"\x08\x01") + entry(0, b"a", value)))
    (tmp_path / "ckpt-1.index").write_bytes(index)
    (tmp_path / "ckpt-1.data-00000-of-00001").write_bytes(bytes(16))
    bundle = open_bundle(open_folder(tmp_path.as_uri()), "ckpt-1")
    with effort(10_000, MEGABYTE), pytest.raises(DamagedCheckpointError, match="1125899906842624"):
        bundle.read("a")


@pytest.mark.parametrize("content", ["\n" * 500_000, "model_checkpoint_path" * 25_000])
def test_a_state_file_of_a_model_dir_is_searched_once(tmp_path: Path, content: str) -> None:
    (tmp_path / "checkpoint").write_text(content)
    with effort(10_000, 4 * MEGABYTE), pytest.raises(DamagedCheckpointError, match="expected a"):
        find_bundle(tmp_path.as_uri(), {})
