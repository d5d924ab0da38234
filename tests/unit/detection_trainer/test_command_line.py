"""The command line without TensorFlow: what it reads, refuses and prints."""

import argparse
import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detection_trainer.__main__ import COMMANDS, build_parser, main
from detection_trainer.checkpoints.format import Arrays, Snapshot, write_metrics
from detection_trainer.checkpoints.ownership import Owner, raise_fence, take_ownership
from detection_trainer.commands.locations import place_uri
from detection_trainer.commands.run import parse_options
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.errors import ConfigChangedError, InvalidConfigError
from detection_trainer.options import parse_credentials, require_unchanged
from detection_trainer.storage import open_folder
from sandbox.samples.trainings import training
from tests.support.trainer import runs
from tests.support.trainer.runs import NOW, commit, flip_byte, parsed

DIGEST = "sha256:" + "1" * 64


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = open_folder((tmp_path / "run").as_uri())
    take_ownership(folder, Owner.of(parsed().identity, DIGEST))
    raise_fence(folder, None, NOW)
    commit(folder, 10)
    commit(folder, 20)
    write_metrics(folder.child("step-00000010"), 10, {"mAP": 0.25})
    return tmp_path / "run"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "trees.json"
    path.write_text(json.dumps(training(resources={"limits": {"memory": "1Gi"}})))
    return path


def arguments_of(*words: str) -> argparse.Namespace:
    return build_parser(words[0]).parse_args(words)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_there_and_needs_no_tensorflow(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(SystemExit) as ended:
        main([*([command] if command else []), "--help"])
    assert ended.value.code == 0
    assert "usage: detection-trainer" in capsys.readouterr().out


def test_looking_at_checkpoints_imports_neither_tensorflow_nor_keras(run_folder: Path) -> None:
    """What takes seconds to import is left alone; so each of them answers at once."""
    place, other = str(run_folder), str(run_folder / "step-00000010")
    questions = [["ls", place], ["show", place], ["verify", place], ["diff", place, other]]
    program = (
        "import sys; from detection_trainer.__main__ import main; "
        f"codes = [main(['checkpoints', *words]) for words in {questions!r}]; "
        "assert codes == [0, 0, 0, 1], codes; "
        "assert not {'tensorflow', 'keras', 'h5py'} & sys.modules.keys()"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, timeout=120)


def test_ls_shows_the_newest_first(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoints", "ls", str(run_folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["STEP", "20", "10"]
    assert "0.2500" in lines[2]
    assert main(["checkpoints", "ls", "--json", str(run_folder)]) == 0
    assert [c["step"] for c in json.loads(capsys.readouterr().out)] == [20, 10]


def test_ls_of_an_empty_folder_prints_that_it_is_empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["checkpoints", "ls", str(tmp_path)]) == ExitCode.NOT_FOUND
    assert "has no checkpoint" in capsys.readouterr().err


def test_verify_names_what_is_damaged(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoints", "verify", str(run_folder)]) == 0
    flip_byte(run_folder / "step-00000020/optimizer.safetensors")
    (run_folder / "step-00000010/manifest.json").write_text("{")
    capsys.readouterr()
    assert main(["checkpoints", "verify", str(run_folder)]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("step 10: ")
    assert "the bytes differ" in printed[1]
    assert main(["checkpoints", "verify", str(run_folder / "step-00000020")]) == 1


def test_diff_distinguishes_headers_and_values(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [str(run_folder / f"step-000000{n}") for n in (10, 20)]
    assert main(["checkpoints", "diff", steps[0], steps[0]]) == 0
    assert capsys.readouterr().out == "no difference\n"
    assert main(["checkpoints", "diff", *steps]) == 1
    printed = capsys.readouterr().out
    assert "step: 10 and 20" in printed
    assert "backbone/conv/kernel: values differ by up to 10" in printed


def test_headers_are_enough_for_all_but_verify_and_values(run_folder: Path) -> None:
    for file in run_folder.glob("step-*/*.safetensors"):
        file.unlink()
    assert main(["checkpoints", "ls", str(run_folder)]) == 0
    assert main(["checkpoints", "show", str(run_folder)]) == 0
    assert main(["checkpoints", "verify", str(run_folder)]) == 1


def test_diff_names_every_variable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def many(step: int, _: float | None = None) -> Snapshot:
        paths = [f"backbone/conv_{n}/kernel" for n in range(30)]
        weights: Arrays = {path: np.full((2, 2), step, np.float32) for path in paths}
        return Snapshot(step, weights, {}, dict.fromkeys(paths, "backbone"))

    monkeypatch.setattr(runs, "snapshot", many)
    for step in (10, 20):
        commit(open_folder(tmp_path.as_uri()), step)
    steps = [str(tmp_path / f"step-000000{n}") for n in (10, 20)]
    assert main(["checkpoints", "diff", *steps]) == 1
    printed = capsys.readouterr().out
    assert all(f"backbone/conv_{n}/kernel: values differ by up to 10" in printed for n in range(30))


def test_show_prints_the_manifest(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoints", "show", str(run_folder)]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 20


def test_inspect_prints_what_a_location_is(
    run_folder: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(run_folder)]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["owner"]["name"] == "trees"
    assert described["trainerStarts"] == 1
    assert described["checkpoint"]["step"] == 20
    assert described["variables"] == {"backbone": 2, "class_head": 1, "optimizer": 2}
    assert main(["inspect", str(run_folder / "step-00000010")]) == 0
    assert "owner" not in json.loads(capsys.readouterr().out)
    assert main(["inspect", str(file)]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["leftAside"] == ["resources"]
    assert described["spec"]["optimizer"]["name"] == "momentum"


def test_an_invalid_training_is_one_line_and_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("kind: Pod")
    assert main(["inspect", str(path)]) == ExitCode.INVALID_CONFIG
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert printed.startswith("detection-trainer: InvalidConfig: ")


def test_options_come_from_the_environment_and_the_command_line_wins(
    monkeypatch: pytest.MonkeyPatch, file: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("DETECTION_TRAINER_ATTEMPT", "3")
    monkeypatch.setenv("DETECTION_TRAINER_REPORT_URL", "http://operator/report")
    monkeypatch.setenv("DETECTION_TRAINER_REPORT_TOKEN_FILE", "/var/run/token")
    monkeypatch.setenv("DETECTION_TRAINER_CREDENTIALS", '{"s3://": "/secrets/s3"}')
    monkeypatch.setenv("DETECTION_TRAINER_CHECKPOINT_URI", "file:///checkpoints")
    monkeypatch.setenv("DETECTION_TRAINER_RECORDED_STEP", "400")
    options = parse_options(arguments_of("run", str(file)))
    assert options.attempt == 3
    assert options.report_url == "http://operator/report"
    assert options.report_token_file == Path("/var/run/token")
    assert options.credentials == {"s3://": Path("/secrets/s3")}
    assert options.checkpoint_uri == "file:///checkpoints"
    assert options.recorded_step == 400
    words = ("run", str(file), "--attempt", "4", "--checkpoint-uri", str(tmp_path))
    overridden = parse_options(arguments_of(*words))
    assert overridden.attempt == 4
    assert overridden.checkpoint_uri == tmp_path.as_uri()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--attempt", "three"], "--attempt: expected a whole number"),
        (["--report-url", "ftp://x"], r"http\(s\)"),
        (["--credentials", "[]"], "JSON object"),
        (["--credentials", "{"], "JSON object"),
        (["--credentials", '{"s3://": 1}'], "JSON object"),
    ],
)
def test_invalid_options_are_refused(file: Path, words: list[str], problem: str) -> None:
    with pytest.raises(InvalidConfigError, match=problem):
        parse_options(arguments_of("run", str(file), *words))


def test_a_file_that_is_not_the_operators_is_refused(file: Path) -> None:
    require_unchanged(file, None)
    require_unchanged(file, "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest())
    with pytest.raises(ConfigChangedError, match="it was edited on its pod"):
        require_unchanged(file, DIGEST)
    with pytest.raises(ConfigChangedError):
        require_unchanged(file / "absent", DIGEST)


def test_a_path_is_a_place_too(tmp_path: Path) -> None:
    assert place_uri("s3://runs/a/") == "s3://runs/a"
    assert place_uri(str(tmp_path / "a b")) == (tmp_path / "a b").as_uri()


def test_credentials_are_paths_by_prefix() -> None:
    assert parse_credentials("") == {}
    assert parse_credentials('{"s3://a": "/x"}') == {"s3://a": Path("/x")}


def run_in_process(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run without taking the test's signal handlers."""
    monkeypatch.setattr("detection_trainer.stop.signal.signal", lambda *_: None)
    return main(["run", *words])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"checkpoints": {"storage": {"volumeClaim": {"size": "1Gi"}}}}, "--checkpoint-uri"),
        ({"workers": 4}, "workers 4"),
        ({"steps": -1}, "steps"),
        (
            {"restore": {"mode": "full", "from": {"trainingRef": {"name": "other"}}}},
            "set restore.from.uri",
        ),
    ],
)
def test_run_by_hand_refuses_what_needs_a_cluster(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    problem: str,
) -> None:
    path, log = tmp_path / "trees.json", tmp_path / "log"
    storage = {"storage": {"uri": (tmp_path / "run").as_uri()}}
    path.write_text(json.dumps(training(**{"checkpoints": storage, **changes})))
    words = (str(path), "--termination-log", str(log))
    assert run_in_process(monkeypatch, *words) == 50
    captured = capsys.readouterr()
    assert problem in captured.err
    assert captured.err.count("\n") == 1
    assert json.loads(log.read_text())["outcome"]["exitCode"] == 50
    assert json.loads(captured.out.splitlines()[-1])["event"] == "ended"


def test_a_run_by_hand_prints_what_it_ignores(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (str(file), "--checkpoint-uri", str(file), "--config-digest", DIGEST)
    assert run_in_process(monkeypatch, *words) == ExitCode.CONFIG_CHANGED
    run_in_process(monkeypatch, str(file), "--checkpoint-uri", str(file))
    printed = capsys.readouterr().out.splitlines()
    assert any("they are ignored here: resources" in line for line in printed)


def test_help_lists_no_option_that_the_operator_alone_sets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    shown = capsys.readouterr().out
    assert "--checkpoint-uri" in shown
    assert "--report-token-file" not in shown
    assert "detection-trainer run trees.yaml" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_shows_an_example(command: str) -> None:
    assert COMMANDS[command].examples


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("detection-trainer ")


@pytest.mark.parametrize(
    ("command", "missing", "advice"),
    [
        ("run", "tensorflow", "pip install '.[trainer,cpu]'"),
        ("predict", "tensorflow", "cuda"),
        ("inspect", "obstore", "pip install '.[trainer]'"),
    ],
)
def test_a_package_that_is_not_installed_is_named_with_its_extra(
    command: str,
    missing: str,
    advice: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == missing else found(name)
    )
    assert main([command, "trees.yaml"]) == ExitCode.UNEXPECTED
    printed = capsys.readouterr().err
    assert missing in printed
    assert advice in printed


@pytest.mark.parametrize("score", ["2", "-0.1", "nan", "half"])
def test_a_score_is_a_number_from_0_to_1(score: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["predict", "trees.yaml", "a.jpg", f"--min-score={score}"])
    assert f"expected a number from 0 to 1; received '{score}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["predict", "t.yaml", "a.jpg", "--step=-1"], "a whole number from 0; received '-1'"),
        (["evaluate", "t.yaml", "--step=1.5"], "a whole number from 0; received '1.5'"),
        (["export", "t.yaml", "--to", "x", "--step=new"], "a whole number from 0; received 'new'"),
        (["run", "t.yaml", "--report-period=-1"], "expected seconds, 0 or more; received '-1'"),
        (["run", "t.yaml", "--report-period=nan"], "expected seconds, 0 or more; received 'nan'"),
        (["run", "t.yaml", "--report-period=inf"], "expected seconds, 0 or more; received 'inf'"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_a_number_out_of_its_range_is_refused(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert expected in capsys.readouterr().err


def test_help_of_predict_names_the_order_of_a_box(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "A box is [ymin, xmin, ymax, xmax] in pixels" in printed


def test_the_page_of_the_trainer_has_every_exit_code_and_key_of_predict() -> None:
    page = (Path(__file__).parents[3] / "docs" / "trainer.md").read_text()
    codes = [code for code in ExitCode if f"| {int(code)} | `{code.reason}` |" not in page]
    assert codes == []
    keys = ("image", "step", "objects[].class_name", "objects[].score", "objects[].box")
    assert [key for key in keys if f"| `{key}` |" not in page] == []
    assert "ymin, xmin, ymax, xmax, in pixels" in page
