from pathlib import Path

import pytest

from local_cluster.command_line import COMMANDS, build_parser, main, split_arguments


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DETECTION_TRAINING_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "own", "others"),
    [
        (["up", "--nodes", "2"], ["up", "--nodes", "2"], []),
        (["kubectl", "get", "-A", "pods"], ["kubectl"], ["get", "-A", "pods"]),
        (["kubectl", "--name", "x", "-n", "y"], ["kubectl", "--name", "x"], ["-n", "y"]),
        (["helm", "list", "--name", "x"], ["helm"], ["list", "--name", "x"]),
        ([], [], []),
    ],
)
def test_kubectl_and_helm_get_their_arguments_unchanged(
    arguments: list[str], own: list[str], others: list[str]
) -> None:
    assert split_arguments(arguments) == (own, others)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args([command, "--help"])
    assert ended.value.code == 0
    assert COMMANDS[command][1].split(";")[0][:20] in capsys.readouterr().out


def test_a_cluster_that_is_down_has_no_kubeconfig(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kubeconfig", "--name", "absent"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "the cluster 'absent' is not up" in captured.err
    assert "up --name absent" in captured.err


def test_taking_down_what_is_not_there_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["down", "--name", "absent"]) == 0
    assert "does not exist" in capsys.readouterr().err


def test_the_status_of_what_is_down_is_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--name", "absent"]) == 1
    assert capsys.readouterr().out == "absent: down\n"


def test_a_bad_name_is_refused_before_anything_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "--name", "../etc"]) == 1
    assert "the cluster name '../etc'" in capsys.readouterr().err


def test_an_empty_cache_has_no_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    assert capsys.readouterr().out == ""
