"""Small documents that ask for much: nesting, aliases, numbers, sizes.

Each is refused with what was received and the limit, after little work and in little memory.
"""

from pathlib import Path

import pytest

from detection_trainer.commands.pipeline_file import read_config_text
from detection_trainer.contract.documents import parse_json, parse_yaml
from detection_trainer.contract.packing import pack, unpack
from detection_trainer.contract.pipeline_config.mapping import read_pipeline_config
from detection_trainer.contract.training import InvalidTrainingError, parse_training, read_training
from detection_trainer.data.label_map import load_classes, parse_label_map
from detection_trainer.errors import (
    DataInvalidError,
    InvalidConfigError,
)
from detection_trainer.options import parse_credentials
from sandbox.samples.trainings import training
from tests.support.trainer.fuzzing import effort

MEGABYTE = 1 << 20


def expanding(levels: int, wrap: str = "[{}]") -> str:
    """Return YAML whose every level names the one before it nine times."""
    lines = ["l0: &l0 {x: 1}"]
    for level in range(1, levels):
        aliases = ",".join([f"*l{level - 1}"] * 9)
        lines.append(f"l{level}: &l{level} {wrap.format(aliases)}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(expanding(9), "at most 20000 values", id="aliases of aliases"),
        pytest.param(expanding(9, "{{<<: [{}]}}"), "at most 20000 values", id="merged maps"),
        pytest.param("&a [*a]", "refers to the value that contains it", id="an endless list"),
        pytest.param("[" * 9000, "at most 64 levels deep", id="brackets"),
        pytest.param("{a: " * 9000, "at most 64 levels deep", id="braces"),
        pytest.param("- " * 9000, "at most 64 levels deep", id="dashes"),
        pytest.param("? " * 9000, "at most 64 levels deep", id="keys that are maps"),
        pytest.param("- 1\n" * 200_000, "at most 20000 values", id="a long list"),
        pytest.param("1" + ":1" * 90_000, "at most 128 characters", id="a number to base 60"),
        pytest.param("9" * 90_000, "at most 128 characters", id="a long number"),
        pytest.param("x" * (MEGABYTE + 1), "at most 1048576 bytes; received 1048577", id="size"),
        pytest.param("!!int ''", "does not fit its tag", id="a tag of another value"),
        pytest.param("!!timestamp x", "does not fit its tag", id="a tag that is no date"),
        pytest.param("a: [\n", "expected YAML or JSON", id="not closed"),
    ],
)
def test_yaml(text: str, expected: str) -> None:
    with effort(10_000_000), pytest.raises(ValueError, match=expected):
        parse_yaml(text)


@pytest.mark.parametrize("text", ["9" * 90_000 + "x", "1_" * 90_000 + "x", " " * MEGABYTE])
def test_text_that_looks_like_a_number_is_read_at_once(text: str) -> None:
    with effort(10_000_000):
        assert parse_yaml(text) == (text.strip() or None)


def test_aliases_that_people_write_are_read() -> None:
    text = "a: &a {b: 1}\nc: *a\nd: {<<: *a, e: 2}\nf: 1e-4"
    assert parse_yaml(text) == {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}, "f": 1e-4}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("[" * 100_000, "at most 64 levels", id="not closed"),
        pytest.param("[" * 300 + "]" * 300, "at most 64 levels", id="deep"),
        pytest.param('{"a":' * 300 + "1" + "}" * 300, "at most 64 levels", id="deep objects"),
        pytest.param("[NaN]", "expected finite numbers; received NaN", id="not a number"),
        pytest.param("9" * 9000, "expected JSON", id="a long number"),
    ],
)
def test_json(text: str, expected: str) -> None:
    with effort(10_000), pytest.raises(ValueError, match=expected):
        parse_json(text)


@pytest.mark.parametrize(
    "field", [{"metadata": "trees"}, {"metadata": [1]}, {"spec": [1]}, {"spec": {1: 2}}]
)
def test_a_training_whose_parts_are_no_maps_is_refused(field: dict[str, object]) -> None:
    with pytest.raises(InvalidTrainingError, match="expected a map with names as keys; received"):
        parse_training({**training(), **field})


def test_a_training_with_many_wrong_fields_is_refused_by_the_first() -> None:
    document = training(**{f"wrong{i}": "x" * 1000 for i in range(1000)})
    with effort(4_000_000), pytest.raises(InvalidTrainingError, match="; and 980 more") as caught:
        parse_training(document)
    assert len(str(caught.value)) < 20_000


def test_a_training_that_is_no_document_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with effort(1_000, 8 * MEGABYTE), pytest.raises(InvalidTrainingError, match="at most 1048576"):
        read_training(path)


def test_credentials_nested_deeply_are_refused() -> None:
    with effort(10_000), pytest.raises(InvalidConfigError, match="expected a JSON object"):
        parse_credentials("[" * 100_000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a{" * 9000, "line 1: expected messages at most 64 levels", id="braces"),
        pytest.param("a<" * 9000, "line 1: expected messages at most 64 levels", id="angles"),
        pytest.param("a:[{" * 9000, "at most 64 levels", id="lists of messages"),
        pytest.param('a: "' + "x" * 60_000, "expected protobuf text", id="an open string"),
        pytest.param("a" * 60_000, "expected `:` or `{`", id="a long word"),
    ],
)
def test_protobuf_text(text: str, expected: str) -> None:
    with effort(100_000), pytest.raises(ValueError, match=expected) as caught:
        read_pipeline_config(text)
    assert len(str(caught.value)) < 400
    with effort(100_000), pytest.raises(DataInvalidError, match=expected):
        parse_label_map(text.encode(), "labels.pbtxt")


@pytest.mark.parametrize("text", ["a:1 ", ";", "# \n", '"" ', "item{id:1 name:'a'} "])
def test_the_work_for_a_label_map_is_proportional_to_its_size(text: str) -> None:
    """Nine megabytes took 24 s: all tokens were kept, each in an object that is slow to make."""
    small, large = (text * (size // len(text)) for size in (1 << 16, 1 << 18))
    for content in (small, large):
        with effort(20 * len(content)), pytest.raises(DataInvalidError):
            parse_label_map(f"a: '' {content}".encode(), "labels.pbtxt")


def test_a_large_label_map_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "labels.pbtxt").open("wb") as file:
        file.truncate(1 << 40)
    uri = f"{tmp_path.as_uri()}/labels.pbtxt"
    dataset = parse_training(training()).spec.dataset.model_copy(
        update={"classes": None, "label_map": parse_training(training()).spec.dataset.train}
    )
    place = dataset.train.model_copy(update={"uri": uri})
    with (
        effort(10_000, MEGABYTE),
        pytest.raises(DataInvalidError, match="at most 1048576 bytes; received 1099511627776"),
    ):
        load_classes(dataset.model_copy(update={"label_map": place}))


def test_a_large_pipeline_config_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "pipeline.config").open("wb") as file:
        file.truncate(1 << 40)
    path = tmp_path / "pipeline.config"
    for place in (str(path), path.as_uri()):
        with (
            effort(10_000, MEGABYTE),
            pytest.raises(InvalidConfigError, match="at most 65536 bytes; received 1099511627776"),
        ):
            read_config_text(place, {})


def test_a_packed_text_that_swells_is_not_unpacked() -> None:
    packed = pack("0" * 10_000_000)
    with effort(100_000, MEGABYTE), pytest.raises(ValueError, match="at most 65536 bytes"):
        unpack(packed, 65536)
