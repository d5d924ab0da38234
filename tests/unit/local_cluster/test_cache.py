from pathlib import Path

import pytest

from local_cluster.cache import choose_cache_directory, hash_inputs, locked, replaced_whole


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HOME": "/home/ann"}, "/home/ann/.cache/detection-training"),
        ({"HOME": "/home/ann", "DETECTION_TRAINING_CACHE": "/big/cache"}, "/big/cache"),
        (
            {"HOME": "/home/ann", "DETECTION_TRAINING_CACHE": ""},
            "/home/ann/.cache/detection-training",
        ),
    ],
    ids=[
        "below the home folder by default",
        "in the folder of the variable",
        "an empty variable is none",
    ],
)
def test_the_cache_is(environment: dict[str, str], expected: str) -> None:
    assert choose_cache_directory(environment) == Path(expected)


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "a.py").write_text("a")
    (source / "deep" / "b.py").write_text("b")
    return source


def test_equal_inputs_in_another_checkout_have_the_same_hash(inputs: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    inputs.rename(other)
    moved = hash_inputs(other, [other], "flags")
    other.rename(inputs)
    assert hash_inputs(inputs, [inputs], "flags") == moved


def change_content(source: Path) -> None:
    (source / "a.py").write_text("A")


def change_name(source: Path) -> None:
    (source / "a.py").rename(source / "c.py")


def change_mode(source: Path) -> None:
    (source / "a.py").chmod(0o755)


def move_text_between_files(source: Path) -> None:
    (source / "a.py").write_text("ab")
    (source / "deep" / "b.py").write_text("")


@pytest.mark.parametrize(
    "change", [change_content, change_name, change_mode, move_text_between_files]
)
def test_a_changed_file_changes_the_hash(inputs: Path, change: object) -> None:
    before = hash_inputs(inputs, [inputs])
    assert callable(change)
    change(inputs)
    assert hash_inputs(inputs, [inputs]) != before


def test_changed_flags_change_the_hash(inputs: Path) -> None:
    assert hash_inputs(inputs, [inputs], "a", "b") != hash_inputs(inputs, [inputs], "ab")


def test_byte_code_does_not_change_the_hash(inputs: Path) -> None:
    before = hash_inputs(inputs, [inputs])
    (inputs / "__pycache__").mkdir()
    (inputs / "__pycache__" / "a.pyc").write_text("compiled")
    assert hash_inputs(inputs, [inputs]) == before


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with replaced_whole(tmp_path / "entry") as building:
        (building / "file").write_text("content")
        assert not (tmp_path / "entry").exists()
    assert (tmp_path / "entry" / "file").read_text() == "content"
    assert [path.name for path in tmp_path.iterdir()] == ["entry"]


def test_a_file_of_the_same_name_appears_in_place_of_the_folder(tmp_path: Path) -> None:
    with replaced_whole(tmp_path / "program") as building:
        (building / "program").write_text("binary")
    assert (tmp_path / "program").read_text() == "binary"
    assert [path.name for path in tmp_path.iterdir()] == ["program"]


def build_and_fail(target: Path) -> None:
    with replaced_whole(target) as building:
        (building / "half").write_text("half")
        raise RuntimeError


def test_an_interrupted_build_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        build_and_fail(tmp_path / "entry")
    assert not list(tmp_path.iterdir())


def test_the_slower_of_two_builds_keeps_the_faster_one_s_result(tmp_path: Path) -> None:
    target = tmp_path / "entry"
    with replaced_whole(target) as slower:
        (slower / "file").write_text("slower")
        with replaced_whole(target) as faster:
            (faster / "file").write_text("faster")
    assert (target / "file").read_text() == "faster"


def test_a_lock_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "locks" / "one"):
            assert (tmp_path / "locks" / "one").exists()
