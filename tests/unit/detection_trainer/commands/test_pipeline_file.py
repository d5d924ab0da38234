"""A training by hand whose pipeline.config is elsewhere: at a URI, or in a ConfigMap."""

import json
from pathlib import Path
from typing import Any

import pytest

from detection_trainer.__main__ import main
from detection_trainer.commands.pipeline_file import load_training, read_config_text
from detection_trainer.contract.training import InvalidTrainingError, parse_training
from detection_trainer.errors import NotFoundError
from sandbox.samples.trainings import training
from tests.support.trainer.pipeline_configs import config_text


def document(**source: Any) -> dict[str, Any]:
    left: dict[str, Any] = dict.fromkeys(("model", "dataset", "steps", "batchSize"))
    return training(**left, pipelineConfig=source)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    config, path = tmp_path / "pipeline.config", tmp_path / "training.json"
    config.write_text(config_text())
    path.write_text(json.dumps(document(uri=config.as_uri())))
    return path


def test_a_pipeline_config_at_a_uri_completes_the_training(file: Path) -> None:
    found = load_training(file, {})
    inline = parse_training(document(inline=config_text()))
    assert found.spec == inline.spec
    assert found.notes == inline.notes != ()
    assert found.config_text == config_text()
    assert inline.config_text is None


def test_every_command_with_a_training_reads_it(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(file)]) == 0
    assert json.loads(capsys.readouterr().out)["spec"]["steps"] == 25000


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "trees"}}, "use inline or uri"),
        (
            {"uri": "s3://models/pipeline.config"},
            "s3://models/pipeline.config is not read by this command",
        ),
    ],
)
def test_a_document_alone_is_not_enough_for_one_elsewhere(
    source: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidTrainingError, match=message):
        parse_training(document(**source))


def test_a_path_to_nothing_is_reported(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"expected a pipeline\.config; reading it failed"):
        read_config_text(str(tmp_path / "none.config"), {})
