import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from detection_trainer.__main__ import main
from detection_trainer.commands import preflight as command
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.packing import unpack
from detection_trainer.contract.report import MAX_TERMINATION_BYTES
from detection_trainer.contract.spec import MAX_PIPELINE_CONFIG
from sandbox.samples.datasets import CLASSES, Drawn, write_dataset
from sandbox.samples.trainings import training
from tests.support.trainer.pipeline_configs import config_text

NOISE = b"".join(hashlib.sha256(bytes([n])).hexdigest().encode() for n in range(100))
"""A comment that can hardly be compressed."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "train.tfrecord", [Drawn()])
    document = training(
        dataset={
            "train": {"uri": (tmp_path / "train.tfrecord").as_uri()},
            "classes": list(CLASSES),
        },
        checkpoints={"storage": {"uri": (tmp_path / "run").as_uri()}},
    )
    path = tmp_path / "training.json"
    path.write_text(json.dumps(document))
    return path


def outcome(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_what_was_found_is_printed_and_the_outcome_is_written(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "termination-log"
    assert main(["preflight", str(file), "--termination-log", str(log)]) == ExitCode.COMPLETED
    result = json.loads(capsys.readouterr().out)
    assert result["train"]["summary"]["boxesPerClass"] == {"tree": 1, "shrub": 0}
    assert outcome(log)["exitCode"] == 0
    assert outcome(log)["message"].startswith("1 images with 1 boxes of 2 classes")
    assert outcome(log)["dataset"] == result["trainFiles"]


def test_a_refusal_ends_with_the_code_and_message_of_the_run(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(tmp_path / "train.tfrecord", [Drawn(labels=(9,))])
    log = tmp_path / "termination-log"
    assert main(["preflight", str(file), "--termination-log", str(log)]) == ExitCode.DATA_INVALID
    assert outcome(log)["reason"] == "DataInvalid"
    assert "record 0 at byte 0" in outcome(log)["message"]
    assert capsys.readouterr().err.startswith("detection-trainer: DataInvalid: ")


def test_an_invalid_document_is_distinguished_from_an_edited_one(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = "sha256:" + "0" * 64
    code = main(["preflight", str(file), "--config-digest", digest])
    assert code == ExitCode.CONFIG_CHANGED
    file.write_text("kind: Pod")
    assert main(["preflight", str(file)]) == ExitCode.INVALID_CONFIG
    assert 'received kind "Pod" without apiVersion' in capsys.readouterr().err


def test_a_mounted_claim_is_named_by_option_and_a_cache_is_kept(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(file.read_text())
    document["spec"]["checkpoints"] = {"storage": {"volumeClaim": {"size": "1Gi"}}}
    file.write_text(json.dumps(document))
    claim, cache = tmp_path / "claim", tmp_path / "cache"
    words = ["preflight", str(file), "--checkpoint-uri", str(claim), "--cache-dir", str(cache)]
    assert main(words) == ExitCode.COMPLETED
    assert json.loads(capsys.readouterr().out)["folder"]["uri"] == claim.as_uri()


def test_the_differences_of_a_refused_restore_are_listed(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(file.read_text())
    source = {"uri": "keras://resnet50/imagenet"}
    document["spec"]["restore"] = {"mode": "classification", "from": source}
    file.write_text(json.dumps(document))
    assert main(["preflight", str(file)]) == ExitCode.RESTORE_REFUSED
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "  backbone: the source has [resnet50], the model [tiny]"


def test_an_unexpected_error_is_an_outcome_too(
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr(command, "run_preflight", fails)
    log = tmp_path / "termination-log"
    assert main(["preflight", str(file), "--termination-log", str(log)]) == ExitCode.UNEXPECTED
    assert "ZeroDivisionError" in outcome(log)["message"]
    assert "Traceback" in capsys.readouterr().err


@pytest.fixture
def configured(file: Path, tmp_path: Path) -> Path:
    """A training whose pipeline.config is at a URI; return the configuration."""
    document = json.loads(file.read_text())
    config = tmp_path / "pipeline.config"
    for name in ("model", "steps", "batchSize"):
        document["spec"].pop(name)
    document["spec"]["pipelineConfig"] = {"uri": config.as_uri()}
    file.write_text(json.dumps(document))
    lines = config_text().splitlines(keepends=True)
    config.write_text("".join(line for line in lines if "fine_tune" not in line))
    return config


def test_the_configuration_at_a_uri_is_reported_with_the_outcome(
    configured: Path, file: Path, tmp_path: Path
) -> None:
    log = tmp_path / "termination-log"
    assert main(["preflight", str(file), "--termination-log", str(log)]) == ExitCode.COMPLETED
    assert log.stat().st_size <= MAX_TERMINATION_BYTES
    reported = outcome(log)
    assert unpack(reported["pipelineConfig"], MAX_PIPELINE_CONFIG) == configured.read_text()
    assert reported["dataset"]["files"] == 1, "all else was checked too"


@pytest.mark.parametrize(
    ("content", "code", "text"),
    [
        (
            None,
            ExitCode.NOT_FOUND,
            "pipeline.config failed: No such file or directory: check the address",
        ),
        (b"\xff\xfe\x00", ExitCode.INVALID_CONFIG, "expected a pipeline.config in UTF-8"),
        (
            b"kind: Pod\nmetadata:\n  name: x",
            ExitCode.INVALID_CONFIG,
            "expected a pipeline.config in protobuf's",
        ),
        (b"model { center_net { } }", ExitCode.INVALID_CONFIG, "center_net is not supported"),
        (b"#" * 65537, ExitCode.INVALID_CONFIG, "of at most 65536 bytes; received 65537"),
        (
            config_text().encode() + b"#" + NOISE,
            ExitCode.INVALID_CONFIG,
            "a pod can report at most 3072: use pipelineConfig.configMapKeyRef or inline",
        ),
    ],
    ids=["not there", "binary", "YAML", "another model", "too large", "too large to be reported"],
)
def test_a_configuration_that_cannot_be_had_is_one_sentence(  # noqa: PLR0913 - what varies
    configured: Path,
    file: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    content: bytes | None,
    code: ExitCode,
    text: str,
) -> None:
    configured.unlink()
    if content is not None:
        configured.write_bytes(content)
    assert main(["preflight", str(file)]) == code
    [line] = capsys.readouterr().err.splitlines()
    assert text in line
    assert configured.as_uri() in line or "pipelineConfig.uri" in line


def test_a_person_sees_a_verdict_and_a_table(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["preflight", str(file)]) == ExitCode.COMPLETED
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["The training can start: every check passed.", ""]
    rows = {line[:19].strip(): line[19:] for line in lines[2:]}
    assert rows["classes"] == "2: tree, shrub"
    assert rows["training data"].endswith("train.tfrecord: 1 images, 1 boxes")
    assert rows["validation data"] == "none"
    assert rows["checkpoint folder"].endswith(
        "can be written, no owner yet, checkpoints at steps: none"
    )
    assert rows["start"] == "step 0, with fresh weights"
    assert "shrub" in rows["note"]


def test_a_program_gets_json_on_a_terminal_too_and_a_refusal_likewise(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["preflight", str(file), "-o", "json"]) == ExitCode.COMPLETED
    assert json.loads(capsys.readouterr().out)["classes"] == ["tree", "shrub"]
    file.write_text("kind: Pod")
    assert main(["preflight", str(file), "-o", "json"]) == ExitCode.INVALID_CONFIG
    refusal = json.loads(capsys.readouterr().out)
    assert (refusal["exitCode"], refusal["reason"]) == (50, "InvalidConfig")


def test_a_pod_s_output_without_a_terminal_stays_json(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["preflight", str(file)]) == ExitCode.COMPLETED
    assert json.loads(capsys.readouterr().out)["source"]["start"] == "Scratch"
    assert main(["preflight", str(file), "-o", "table"]) == ExitCode.COMPLETED
    assert capsys.readouterr().out.startswith("The training can start")
