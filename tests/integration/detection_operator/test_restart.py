"""The operator is down for a while: what it does after its restart."""

from pathlib import Path

import pytest

from tests.support.cluster.operator_fixtures import Scene, environment, last_word, report, saved
from tests.support.cluster.running_operator import RunningOperator


@pytest.fixture
def settings(scene: Scene, kubeconfig: Path | None) -> dict[str, str]:
    return environment(scene.namespace, kubeconfig)


def test_an_attempt_runs_on_under_the_next_operator(scene: Scene, settings: dict[str, str]) -> None:
    with RunningOperator(settings) as first:
        scene.apply()
        token = scene.token(scene.wait_attempt(1))
        assert first.report(scene.namespace, "trees", token, report(1, 1))[0] == 200
        assert first.report(scene.namespace, "trees", token, report(2, 2))[1] == {
            "acknowledged": True,
            "written": False,
        }
    assert scene.training()["status"]["step"] == 2, "what waited was written at the end"
    with RunningOperator(settings) as second:
        body = report(3, 3, **saved(3))
        assert second.report(scene.namespace, "trees", token, body)[0] == 200
        status = scene.training()["status"]
        assert (status["step"], status["attemptCount"]) == (3, 1)
        assert len(scene.jobs()) == 1


def test_changes_during_the_downtime_are_processed(scene: Scene, settings: dict[str, str]) -> None:
    with RunningOperator(settings):
        scene.apply()
        scene.apply("other")
        pod, other = scene.wait_attempt(1), scene.wait_attempt(1, "other")
    scene.end_pod(pod, 52, last_word(52, "DataInvalid"))
    scene.kube.delete(scene.path("other"))
    scene.apply("new")
    assert other["metadata"]["uid"]
    with RunningOperator(settings):
        failed = scene.wait(lambda s: s["phase"] == "Failed", "caught up with")
        assert failed["status"]["currentAttempt"]["outcome"]["reason"] == "DataInvalid"
        scene.wait_attempt(1, "new")


def test_a_job_that_was_deleted_meanwhile_is_created_again(
    scene: Scene, settings: dict[str, str]
) -> None:
    with RunningOperator(settings) as first:
        scene.apply()
        token = scene.token(scene.wait_attempt(1))
        body = report(40, 1, **saved(40))
        assert first.report(scene.namespace, "trees", token, body)[0] == 200
    [job] = scene.jobs()
    scene.kube.delete(f"{scene.collection('jobs')}/{job}")
    with RunningOperator(settings):
        scene.wait_attempt(2)
        assert scene.training()["status"]["interruptions"][0]["reason"] == "JobDeleted"


def test_two_operators_at_once_create_one_job(scene: Scene, settings: dict[str, str]) -> None:
    with RunningOperator(settings) as one, RunningOperator(settings) as two:
        for number in range(5):
            scene.apply(f"t{number}")
        for number in range(5):
            pod = scene.wait_attempt(1, f"t{number}")
            body = report(10, 1, **saved(10, name=f"t{number}"))
            answering = (one, two)[number % 2]
            token = scene.token(pod)
            assert answering.report(scene.namespace, f"t{number}", token, body)[0] == 200
    assert len(scene.jobs()) == 5
    counts = [scene.training(f"t{n}")["status"]["attemptCount"] for n in range(5)]
    assert counts == [1] * 5
