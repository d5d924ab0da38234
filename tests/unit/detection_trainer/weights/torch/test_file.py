"""State dicts of torch as a source: what is read of them, and what is refused."""

import os
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from obstore.store import MemoryStore

from detection_trainer.contract.backbone_shapes import backbone_shapes
from detection_trainer.contract.model import Backbone
from detection_trainer.contract.sources import RestoreMode
from detection_trainer.errors import DamagedCheckpointError, RestoreRefusedError, TrainerError
from detection_trainer.models import Detector
from detection_trainer.storage import Folder, open_folder
from detection_trainer.storage.objects import ObjectStorage
from detection_trainer.weights.restore import restore, weights_digest
from detection_trainer.weights.sources import find_run, open_weights
from detection_trainer.weights.torch.file import TorchFile
from detection_trainer.weights.torch.tensors import is_torch_file
from detection_trainer.weights.torch.unpickler import Storage, Tensor
from tests.support.trainer.detectors import small_detector, small_model
from tests.support.trainer.torch_files import (
    LAYOUTS,
    Row,
    Stored,
    as_torch,
    new_file,
    old_file,
    pickled,
    state_dict,
)

CLASSIFICATION, DETECTION, FULL = RestoreMode
LITE0 = small_model(backbone="efficientnet_lite0", fpn={"additionalLayerDepth": 8})
HEAD = {
    "_conv_head.weight": np.ones((4, 320, 1, 1), np.float32),
    "_bn1.weight": np.ones(4, np.float32),
    "_bn0.num_batches_tracked": np.array(7, np.int64),
    "_fc.weight": np.ones((5, 4), np.float32),
}
Values = dict[str, Any]


@pytest.fixture(scope="module")
def values() -> Values:
    """Return a value for each variable of the backbone, by path below the group."""
    random = np.random.default_rng(5)
    shapes = backbone_shapes(Backbone.EFFICIENTNET_LITE0, 5)
    return {path: random.uniform(0.1, 1.0, s).astype(np.float32) for path, s in shapes.items()}


@pytest.fixture(scope="module")
def detector() -> Detector:
    return small_detector(**LITE0.model_dump(by_alias=True, exclude_unset=True))


def digest(detector: Detector) -> str:
    return weights_digest({path: v.numpy() for path, v in detector.variables.items()})


def written(path: Path, arrays: Values, layout: str = "before 1.6") -> Path:
    path.write_bytes(LAYOUTS[layout](*state_dict(arrays)))
    return path


def opened(path: Path) -> TorchFile:
    found = open_weights(path.as_uri(), {}, LITE0)
    assert isinstance(found, TorchFile)
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["lite0.pth", "lite0"])
def test_all_variables_are_read_in_both_layouts(
    tmp_path: Path, values: Values, layout: str, name: str
) -> None:
    source = opened(written(tmp_path / name, as_torch(values) | HEAD, layout))
    expected = {f"backbone/{path}": value for path, value in values.items()}
    assert source.shapes == {path: value.shape for path, value in expected.items()}
    assert weights_digest(source.read(expected)) == weights_digest(expected)


def test_a_backbone_is_restored_and_nothing_else(
    tmp_path: Path, values: Values, detector: Detector
) -> None:
    before = {path: v.numpy() for path, v in detector.variables.items()}
    path = written(tmp_path / "lite0.pth", as_torch(values) | HEAD)
    restored = restore(detector, CLASSIFICATION, opened(path), ["a", "b"])
    assert (restored.groups["backbone"].restored, restored.groups["backbone"].fresh) == (
        len(values),
        0,
    )
    for name, variable in detector.variables.items():
        expected = values.get(name.removeprefix("backbone/"), before[name])
        assert np.array_equal(variable.numpy(), expected), name


def test_of_an_object_pieces_are_read(values: Values) -> None:
    for write in LAYOUTS.values():
        folder = Folder(ObjectStorage(MemoryStore(), "memory://b"), "memory://b")
        folder.write("a", write(*state_dict(as_torch(values))))
        assert is_torch_file(folder, "a")
        found = TorchFile(folder, "a").read(["backbone/block4b_dwconv/kernel"])
        expected = values["block4b_dwconv/kernel"]
        assert np.array_equal(found["backbone/block4b_dwconv/kernel"], expected)


class Calls:
    """Pickles as the call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("name", ["evil.pth", "evil"])
@pytest.mark.parametrize(
    "write",
    [
        pytest.param(pickle.dumps, id="a pickle alone"),
        pytest.param(lambda evil: pickled(evil) + b"more", id="at the head"),
        pytest.param(lambda evil: old_file(OrderedDict(a=evil), {}), id="among the tensors"),
        pytest.param(lambda evil: new_file(OrderedDict(a=evil), {}), id="in an archive"),
    ],
)
def test_a_pickle_that_would_run_something_is_refused_and_nothing_was_run(
    tmp_path: Path, detector: Detector, write: Callable[[Calls], bytes], name: str
) -> None:
    before = digest(detector)
    trace = tmp_path / "was-run"
    path = tmp_path / name
    path.write_bytes(write(Calls(os.system, f"touch {trace}")))
    with pytest.raises(RestoreRefusedError, match=r"asks for (posix|nt)\.system.*Nothing of it"):
        restore(detector, CLASSIFICATION, opened(path))
    assert not trace.exists()
    assert digest(detector) == before


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(eval, id="a builtin"),
        pytest.param(getattr, id="the way to any other function"),
        pytest.param(np.load, id="a library's"),
        pytest.param(OrderedDict.fromkeys, id="a method of what is allowed"),
    ],
)
def test_other_names_are_refused_as_well(tmp_path: Path, function: Callable[..., Any]) -> None:
    path = tmp_path / "evil.pth"
    path.write_bytes(old_file(OrderedDict(a=Calls(function, "1")), {}))
    with pytest.raises(RestoreRefusedError, match="unpickling could run any code"):
        opened(path)


def test_a_stand_in_accepts_no_attribute(tmp_path: Path) -> None:
    """BUILD sets attributes; on something that outlives the file it would reach the next one."""
    name = b"ctorch._utils\n_rebuild_tensor_v2\n"
    poison = b"\x80\x02" + name + b"N}X\x08\x00\x00\x00__call__K\x01s\x86b."
    path = tmp_path / "evil.pth"
    path.write_bytes(poison)
    with pytest.raises(DamagedCheckpointError, match="reading it failed"):
        opened(path)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("share", [0.0, 0.0001, 0.5, 0.9999])
def test_a_truncated_file_is_reported(
    tmp_path: Path, values: Values, layout: str, share: float
) -> None:
    path = written(tmp_path / "lite0.pth", as_torch(values), layout)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DamagedCheckpointError, match=r"lite0\.pth: expected a state dict"):
        opened(path)


def row(length: int = 4, offset: int = 0, strides: tuple[Any, ...] = (1,)) -> bytes:
    numbers = np.zeros(length, np.float32)
    return old_file(OrderedDict(a=Stored("0", numbers, offset, (4,), strides)), {"0": numbers})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(row(3), "ends at 3 of a storage of 3", id="a storage too short"),
        pytest.param(row(offset=1), "ends at 4 of a storage of 4", id="an offset too far"),
        pytest.param(row(strides=(9,)), "ends at 27 of", id="a stride too wide"),
        pytest.param(row(strides=(-1,)), "has the place", id="a stride backwards"),
        pytest.param(row(strides=(1, 1)), "has the place", id="a stride too many"),
        pytest.param(row(strides=("1",)), "has the place", id="a stride that is no number"),
        pytest.param(old_file({}, {}), "expected a state dict.*dict", id="no tensor"),
        pytest.param(old_file([1], {}), "received list", id="a list"),
        pytest.param(
            old_file({"state_dict": {}, "epoch": 3}, {}), r"save model\.state_dict\(\)", id="more"
        ),
        pytest.param(
            old_file({"a": Row("0", np.zeros(1, np.float32))}, {}), "with Storage", id="no place"
        ),
        pytest.param(old_file({}, {}, little_endian=False), "big-endian", id="old, other bytes"),
        pytest.param(new_file({}, {}, order=b"big"), "big-endian", id="new, other bytes"),
        pytest.param(pickle.dumps([1]) * 3, "not one that torch.save wrote", id="a plain pickle"),
        pytest.param(b"PK\x03\x04 no zip", "failed", id="no zip"),
        pytest.param(b"hello", "failed", id="a text"),
    ],
)
def test_a_file_without_a_state_dict_is_reported(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    path = tmp_path / "lite0.pth"
    path.write_bytes(content)
    with pytest.raises(DamagedCheckpointError, match=sentence):
        opened(path)


def test_a_storage_of_another_length_than_in_the_header_is_reported(tmp_path: Path) -> None:
    numbers = np.zeros(32, np.float32)
    path = tmp_path / "lite0.pth"
    path.write_bytes(old_file(*state_dict({"_bn0.weight": numbers}, gap=0)))
    whole = path.read_bytes()
    length = struct.pack("<q", 32)
    path.write_bytes(whole.replace(length, struct.pack("<q", 31)))
    assert whole.count(length) == 1
    with pytest.raises(DamagedCheckpointError, match="has 31 numbers, and the header states 32"):
        opened(path).read(["backbone/stem_bn/gamma"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param(
            lambda _: {"layer1.0.conv1.weight": np.ones((4, 4, 1, 1), np.float32)},
            "received 'layer1.0.conv1.weight' and 0 more",
            id="a ResNet",
        ),
        pytest.param(
            lambda a: a | {"_blocks.0._se_reduce.weight": np.ones((8, 32, 1, 1), np.float32)},
            "received '_blocks.0._se_reduce.weight'",
            id="EfficientNet-B0, which has all of ours",
        ),
        pytest.param(
            lambda a: a | {"_blocks.16._bn1.weight": np.ones(1152, np.float32)},
            "received '_blocks.16._bn1.weight'",
            id="a deeper one of its family",
        ),
        pytest.param(
            lambda a: {k: v for k, v in a.items() if k != "_bn0.bias"},
            "backbone/stem_bn/beta: missing in the source",
            id="one too few",
        ),
        pytest.param(
            lambda a: a | {"_conv_stem.weight": np.ones((40, 3, 3, 3), np.float32)},
            r"stem_conv/kernel: the source has shape \(3, 3, 3, 40\), the model expects \(3, 3, 3",
            id="a wider one",
        ),
        pytest.param(
            lambda a: a | {"_bn0.bias": np.ones(32, np.float16)},
            "stem_bn/beta: the source has float16",
            id="half precision",
        ),
        pytest.param(
            lambda a: a | {"_bn0.bias": np.full(32, np.nan, np.float32)},
            "stem_bn/beta: the source holds values that are not finite",
            id="not finite",
        ),
    ],
)
def test_weights_of_another_network_are_refused_and_nothing_is_touched(
    tmp_path: Path,
    values: Values,
    detector: Detector,
    change: Callable[[Values], Values],
    sentence: str,
) -> None:
    before = digest(detector)
    path = written(tmp_path / "lite0.pth", change(as_torch(values)))
    with pytest.raises(RestoreRefusedError, match=sentence):
        restore(detector, CLASSIFICATION, opened(path))
    assert digest(detector) == before


def test_it_serves_its_own_backbone_alone(tmp_path: Path, values: Values) -> None:
    source = opened(written(tmp_path / "lite0.pth", as_torch(values)))
    with pytest.raises(RestoreRefusedError, match=r"the source has \[efficientnet_lite0\]"):
        restore(small_detector(), CLASSIFICATION, source)


@pytest.mark.parametrize("mode", [DETECTION, FULL])
def test_it_serves_no_other_mode(
    tmp_path: Path, values: Values, detector: Detector, mode: RestoreMode
) -> None:
    source = opened(written(tmp_path / "lite0.pth", as_torch(values)))
    before = digest(detector)
    with pytest.raises(RestoreRefusedError, match=r"restore\.mode to classification, which"):
        restore(detector, mode, source)
    assert digest(detector) == before


def test_a_run_cannot_continue_from_it(tmp_path: Path, values: Values) -> None:
    path = written(tmp_path / "lite0.pth", as_torch(values))
    with pytest.raises(RestoreRefusedError, match="without step and optimizer: use it in restore"):
        find_run(path.as_uri(), {}, LITE0)


def test_other_files_are_left_to_other_readers(tmp_path: Path) -> None:
    folder = open_folder(tmp_path.as_uri())
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 no zip")
    (tmp_path / "text").write_text("hello")
    for name in ("broken.zip", "text", "none.pth"):
        assert not is_torch_file(folder, name)
    with pytest.raises(TrainerError, match="expected a checkpoint"):
        open_weights((tmp_path / "none.pth").as_uri(), {}, LITE0)


def test_a_tensor_without_numbers_fits_any_storage_and_one_with_numbers_does_not() -> None:
    empty = Storage("0", "<f4", 0)
    Tensor(empty, 0, (0, 3), (3, 1)).require_inside()
    with pytest.raises(ValueError, match="ends at 2 of a storage of 0"):
        Tensor(empty, 0, (1, 3), (3, 1)).require_inside()
