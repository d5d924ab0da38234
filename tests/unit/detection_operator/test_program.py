"""The process: its message when it cannot start, and its orderly end."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from detection_operator import __main__ as command
from detection_operator import assembly, errors, logs
from detection_operator.errors import ClusterError, OperatorError
from detection_operator.handlers import Watching
from detection_operator.lifecycle import explain_start, handle_signals, outline_start
from detection_operator.program import EndedError, Operator
from detection_operator.settings import Settings

SETTINGS: Mapping[str, str] = {
    "DETECTION_OPERATOR_TRAINER_IMAGE": "trainer:1",
    "DETECTION_OPERATOR_REPORT_URL": "http://operator:8080",
    "DETECTION_OPERATOR_LISTEN_HOST": "127.0.0.1",
    "DETECTION_OPERATOR_REPORTS_PORT": "0",
    "DETECTION_OPERATOR_HEALTH_PORT": "0",
    "DETECTION_OPERATOR_METRICS_PORT": "0",
    "DETECTION_OPERATOR_PLAIN_PORT": "0",
}

STARTS: dict[str, tuple[ClusterError, str]] = {
    "the CRD is missing": (errors.NotFoundError("GET", 404, ""), "is not installed; install it"),
    "a right is missing": (errors.ForbiddenError("GET", 403, "cannot list"), "may not do"),
    "a wrong token": (errors.UnauthorizedError("GET", 401, ""), "does not know our credentials"),
    "no answer": (errors.UnavailableError("GET", 0, "refused"), "did not answer: refused"),
}


@pytest.mark.parametrize(("error", "message"), STARTS.values(), ids=STARTS.keys())
def test_the_obstacle_to_a_start_is_explained(error: ClusterError, message: str) -> None:
    assert message in explain_start(error)


@pytest.mark.parametrize("error", [error for error, _ in STARTS.values()], ids=STARTS.keys())
def test_the_public_explanation_names_no_namespace(error: ClusterError) -> None:
    named = type(error)("GET /apis/batch/v1/namespaces/team-a/jobs", error.status, "of team-a")
    assert "team-a" in explain_start(named)
    assert "team-a" not in outline_start(named)


async def test_a_signal_sets_the_flag() -> None:
    stop = asyncio.Event()
    handle_signals(stop)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(stop.wait(), 5)
    assert stop.is_set()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(number)


KUBECONFIG = """
current-context: a
contexts: [{name: a, context: {cluster: a, user: a}}]
clusters: [{name: a, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: a, user: {token: x}}]
"""


@pytest.fixture
def kubeconfig(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Point at an API server that does not answer."""
    path = tmp_path / "kubeconfig"
    path.write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", str(path))


@pytest.mark.usefixtures("kubeconfig")
async def test_stopped_while_it_waits_for_the_cluster_it_ends_at_once() -> None:
    operator = await Operator.assemble(Settings.from_environment(SETTINGS))
    stop = asyncio.Event()
    running = asyncio.create_task(operator.run(stop))
    async with asyncio.timeout(5):
        while "did not answer" not in operator.startup.waits_for:  # noqa: ASYNC110 - in passing
            await asyncio.sleep(0.01)
    stop.set()
    await asyncio.wait_for(running, 5)


@pytest.mark.usefixtures("kubeconfig")
async def test_a_part_that_ends_ends_the_whole_with_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    operator = await Operator.assemble(Settings.from_environment(SETTINGS))

    async def nothing(*_: object) -> None:
        return None

    async def broken(*_: object) -> None:
        raise RuntimeError("ERROR event in a watch")

    monkeypatch.setattr(Operator, "_prepare", nothing)
    for name, stand_in in (("start", nothing), ("wait_end", broken), ("stop", nothing)):
        monkeypatch.setattr(Watching, name, stand_in)
    with pytest.raises(EndedError, match="watches ended: RuntimeError"):
        await asyncio.wait_for(operator.run(asyncio.Event()), 10)


def run_main(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> int:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(logs, "configure", lambda _form: None)

    async def run(_settings: Settings) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(command, "run", run)
    return command.main()


ENDS: dict[str, tuple[BaseException | None, int]] = {
    "it was asked to end": (None, 0),
    "there are no credentials": (errors.ConfigurationError("no kubeconfig"), 2),
    "a watch ended for good": (EndedError("watches ended"), 1),
    "its port is taken": (OSError(98, "Address already in use"), 1),
    "the root of our errors": (OperatorError("anything"), 1),
}


@pytest.mark.parametrize(("error", "status"), ENDS.values(), ids=ENDS.keys())
def test_the_exit_status_shows_how_it_ended(
    monkeypatch: pytest.MonkeyPatch, error: BaseException | None, status: int
) -> None:
    assert run_main(monkeypatch, error) == status


def test_settings_that_are_missing_or_wrong_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in list(os.environ):
        if name.startswith("DETECTION_OPERATOR_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DETECTION_OPERATOR_WORKERS", "none")
    monkeypatch.setenv("DETECTION_OPERATOR_COLOUR", "green")
    assert command.main() == 2
    printed = capsys.readouterr().err
    assert "DETECTION_OPERATOR_TRAINER_IMAGE: expected a value" in printed
    assert "DETECTION_OPERATOR_WORKERS: expected a whole number" in printed
    assert "DETECTION_OPERATOR_COLOUR: there is no field of this name" in printed


@pytest.mark.parametrize("missing", ["kopf", "aiohttp", "prometheus_client"])
def test_without_the_operators_dependencies_the_error_names_what_to_install(missing: str) -> None:
    start = f"import sys; sys.modules[{missing!r}] = None; import detection_operator.__main__"
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", start],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"detection-operator needs the Python module {missing}, which is not installed; install "
        "the operator's dependencies: pip install 'detection-training[operator]'\n"
    )


def test_a_process_has_a_name_that_no_other_has() -> None:
    names = {Settings.from_environment(SETTINGS).identity for _ in range(3)}
    assert len(names) == 3
    environment = {**SETTINGS, "DETECTION_OPERATOR_IDENTITY": "operator-7f"}
    assert Settings.from_environment(environment).identity == "operator-7f"


def test_what_decisions_rest_on_comes_from_the_settings() -> None:
    more = {"DETECTION_OPERATOR_BACKOFF_BASE_S": "1", "DETECTION_OPERATOR_NAMESPACES": "a,b"}
    settings = Settings.from_environment({**SETTINGS, **more})
    policy = assembly.policy_settings(settings)
    assert (policy.default_image, policy.backoff_base_s) == ("trainer:1", 1.0)
    assert settings.namespaces == ["a", "b"]


def test_an_error_of_the_cluster_has_request_answer_and_message() -> None:
    error = errors.cluster_error("GET /x", 404, "NotFound", "none\n")
    assert str(error) == "GET /x: the API server answered 404: none"
