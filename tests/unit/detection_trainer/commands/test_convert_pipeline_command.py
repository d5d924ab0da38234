"""`convert pipeline-config` as people type it."""

import re
from pathlib import Path

import pytest

from detection_trainer.__main__ import main
from detection_trainer.contract.documents import parse_yaml
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.training import parse_training

CONFIGS = Path(__file__).parents[3] / "data/pipeline_configs"
TREES = CONFIGS / "supported/trees_resnet50_adam_exponential.config"
ZOO = CONFIGS / "supported/ssd_resnet50_v1_fpn_640x640.config"


def convert(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["convert", "pipeline-config", *map(str, words)]) == ExitCode.COMPLETED
    return capsys.readouterr().out


def test_what_is_printed_is_a_training(capsys: pytest.CaptureFixture[str]) -> None:
    text = convert(capsys, TREES, "--name", "trees", "--checkpoints", "s3://runs/trees")
    training = parse_training(parse_yaml(text))
    assert training.identity.name == "trees"
    assert training.spec.optimizer.schedule.type == "exponential"
    assert training.spec.checkpoints.storage.uri == "s3://runs/trees"
    assert "Still to set" not in text
    assert "#   line 140: train_config.sync_replicas: true: the OD API's TF2 trainer" in text


def test_missing_settings_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    text = convert(capsys, ZOO)
    assert "# Still to set:\n#   spec.dataset: train_input_reader" in text
    assert (
        "#   spec.restore: train_config.fine_tune_checkpoint: the placeholder is not filled in"
    ) in text
    assert "#   spec.checkpoints.storage: " in text
    assert parse_yaml(text)["spec"].keys().isdisjoint({"restore", "checkpoints"})


def test_relative_paths_begin_where_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = TREES.read_text().replace("gs://forest/label_map.pbtxt", "forest/label_map.pbtxt")
    (tmp_path / "pipeline.config").write_text(text)
    found = parse_yaml(convert(capsys, "pipeline.config", "--checkpoints", "out"))
    assert (
        found["spec"]["dataset"]["labelMap"]["uri"] == f"file://{tmp_path}/forest/label_map.pbtxt"
    )
    assert found["spec"]["checkpoints"]["storage"]["uri"] == f"file://{tmp_path}/out"


@pytest.mark.parametrize(
    ("file", "code", "message"),
    [
        ("unsupported/faster_rcnn_resnet50.config", ExitCode.INVALID_CONFIG, "faster_rcnn is not"),
        ("supported/nothing.config", ExitCode.NOT_FOUND, "expected a pipeline.config"),
    ],
)
def test_what_cannot_be_converted_is_reported(
    file: str, code: ExitCode, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", "pipeline-config", str(CONFIGS / file)]) == code
    assert message in capsys.readouterr().err


def test_what_would_not_be_started_is_not_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pipeline.config"
    file.write_text(TREES.read_text())
    words = ["convert", "pipeline-config", str(file), "--checkpoints", "s3://a/b"]
    assert main(words) == ExitCode.INVALID_CONFIG
    printed = capsys.readouterr()
    assert "a bucket's name has 3 to 255 characters" in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    ("field", "value"), [("batch_size", 0), ("batch_size", -4), ("num_steps", -1)]
)
def test_numbers_that_train_nothing_are_refused_and_not_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], field: str, value: int
) -> None:
    for file in (TREES, ZOO):
        text = re.sub(rf"\b{field}: \d+", f"{field}: {value}", file.read_text(), count=1)
        (tmp_path / "pipeline.config").write_text(text)
        words = ["convert", "pipeline-config", str(tmp_path / "pipeline.config")]
        assert main(words) == ExitCode.INVALID_CONFIG
        printed = capsys.readouterr().err
        assert f"train_config.{field}: expected a number above 0; received {value}" in printed


def test_several_paths_of_records_are_one_dataset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = TREES.read_text()
    before = re.search(r'input_path: "([^"]+)"', text)
    assert before is not None
    more = f'{before[0]} input_path: "/data/100%/b-?????.tfrecord"'
    (tmp_path / "pipeline.config").write_text(text.replace(before[0], more, 1))
    found = parse_yaml(
        convert(capsys, tmp_path / "pipeline.config", "--checkpoints", "s3://runs/b")
    )
    assert found["spec"]["dataset"]["train"] == {
        "uri": before[1].replace("?????", "*"),
        "additionalUris": ["file:///data/100%25/b-*.tfrecord"],
    }
    parse_training(found)
