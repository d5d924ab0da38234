"""Faults of watches that were seen in the field; the operator survives each, or restarts."""

from typing import Any, cast

import kopf
import pytest

from detection_operator.program import EndedError
from sandbox.faults.api_proxy import BROKEN, GONE, ApiProxy
from tests.support.cluster.operator_fixtures import Scene, environment, report, saved
from tests.support.cluster.running_operator import RunningOperator

STARTS = 'detection_operator_watch_starts_total{{code="{}",kind="{}"}}'
KOPFS_PATIENCE = len(cast("tuple[float, ...]", kopf.OperatorSettings().networking.error_backoffs))
"""By default Kopf ends the process after this many failures in a row."""
PRUNED = "detection_operator_resync_pruned_records_total"


@pytest.fixture
def settings(scene: Scene, proxy: ApiProxy) -> dict[str, str]:
    return environment(scene.namespace, proxy.kubeconfig)


def test_a_deletion_during_an_outage_of_a_watch_is_detected(
    scene: Scene, proxy: ApiProxy, settings: dict[str, str]
) -> None:
    with RunningOperator(settings) as operator:
        scene.apply("stays")
        scene.apply("goes")
        scene.wait_attempt(1, "stays")
        scene.wait_attempt(1, "goes")
        lists = [("jobs", False), ("pods", False), ("detectiontrainings", False)]
        before = {kind: proxy.seen[kind] for kind in lists}
        proxy.refuse(lambda _plural, _watch: 503)
        proxy.interrupt_watches(GONE)
        operator.wait_until(
            lambda: all(proxy.seen[kind] > before[kind] for kind in lists), "listing again"
        )
        scene.kube.delete(scene.path("goes"))
        [stays] = [job for job in scene.jobs() if job.startswith("stays")]
        path = f"{scene.collection('jobs')}/{stays}"
        scene.kube.delete(path)
        scene.kube.wait(path, lambda found: found is None, what="the Job is gone")
        proxy.refuse(lambda _plural, _watch: 0)
        operator.wait_until(
            lambda: operator.metric(PRUNED) > 0, "the deleted training is forgotten"
        )
        operator.wait_until(
            lambda: 'name="goes"' not in operator.get("/metrics")[1], "rid of the training"
        )
        operator.wait_until(
            lambda: [job for job in scene.jobs() if job.startswith("stays")], "making a Job again"
        )


def test_the_operator_survives_a_long_outage_of_the_api_server(
    scene: Scene, proxy: ApiProxy, settings: dict[str, str]
) -> None:
    with RunningOperator(settings) as operator:
        scene.apply()
        pod = scene.wait_attempt(1)
        token = scene.token(pod)
        body = report(10, 1, **saved(10))
        assert operator.report(scene.namespace, "trees", token, body)[0] == 200
        proxy.refuse(lambda _plural, _watch: 500)
        proxy.interrupt_watches()
        for kind in ("jobs", "pods", "detectiontrainings"):
            operator.wait_until(
                lambda kind=kind: operator.metric(STARTS.format(500, kind)) > KOPFS_PATIENCE,
                f"refused {kind} again and again",
            )
        more = report(20, 2, **saved(20))
        assert operator.report(scene.namespace, "trees", token, more)[0] == 503
        assert operator.metric("detection_operator_watch_problems") == 3
        proxy.refuse(lambda _plural, _watch: 0)
        operator.wait_until(
            lambda: operator.metric("detection_operator_watch_problems") == 0, "watching again"
        )
        assert operator.report(scene.namespace, "trees", token, more)[0] == 200
        scene.apply("other")
        scene.wait_attempt(1, "other")


def test_the_operator_survives_a_right_that_is_revoked_and_granted_again(
    proxy: ApiProxy, settings: dict[str, str]
) -> None:
    with RunningOperator(settings) as operator:
        proxy.refuse(lambda plural, watch: 403 if watch and plural == "pods" else 0)
        proxy.interrupt_watches()
        operator.wait_until(
            lambda: operator.metric(STARTS.format(403, "pods")) >= 2, "refused the pods"
        )
        assert operator.metric("detection_operator_watch_problems") == 1
        proxy.refuse(lambda _plural, _watch: 0)
        operator.wait_until(
            lambda: operator.metric("detection_operator_watch_problems") == 0, "watching again"
        )


def test_an_error_in_a_watch_ends_the_process_which_starts_again_and_lost_nothing(
    scene: Scene, proxy: ApiProxy, settings: dict[str, str]
) -> None:
    with RunningOperator(settings) as operator:
        scene.apply()
        token = scene.token(scene.wait_attempt(1))
        assert operator.report(scene.namespace, "trees", token, report(1, 1))[0] == 200
        deferred = operator.report(scene.namespace, "trees", token, report(2, 2))[1]
        assert deferred["written"] is False
        proxy.interrupt_watches(BROKEN, "pods")
        error = operator.wait_error()
    assert isinstance(error, EndedError)
    assert BROKEN["message"] in str(error)
    assert scene.training()["status"]["step"] == 2, "what waited was written"
    with RunningOperator(settings) as again:
        assert again.report(scene.namespace, "trees", token, report(3, 3))[0] == 200
        assert len(scene.jobs()) == 1


@pytest.mark.parametrize(
    ("code", "reported"),
    [(404, "is not installed"), (403, "may not do what it must"), (503, "answered 503")],
    ids=["the CRD is not installed", "it has no rights", "the API server is down"],
)
def test_it_waits_reports_why_and_starts_when_it_can(
    scene: Scene, proxy: ApiProxy, settings: dict[str, str], code: int, reported: str
) -> None:
    proxy.refuse(lambda plural, _watch: code if plural == "detectiontrainings" else 0)
    with RunningOperator(settings, waits=False) as operator:
        operator.wait_until(lambda: reported in operator.get("/readyz")[1], "reporting why")
        assert operator.get("/readyz")[0] == 503
        assert operator.get("/healthz") == (200, "ok\n"), "a restart would not help"
        proxy.refuse(lambda _plural, _watch: 0)
        operator.wait_ready()
        scene.apply()
        scene.wait_attempt(1)


def test_a_job_that_appears_late_in_the_watch_is_not_made_twice(
    scene: Scene, proxy: ApiProxy, settings: dict[str, str]
) -> None:
    """Kopf lists Jobs late at the start; decisions wait for the operator's own lists."""
    with RunningOperator(settings) as operator:
        scene.apply()
        token = scene.token(scene.wait_attempt(1))
        body: dict[str, Any] = report(10, 1, **saved(10))
        assert operator.report(scene.namespace, "trees", token, body)[0] == 200
    proxy.refuse(lambda plural, watch: 503 if plural == "jobs" and watch else 0)
    with RunningOperator(settings, waits=False) as operator:
        operator.wait_until(
            lambda: operator.metric("detection_operator_reconcile_duration_seconds_count") > 0,
            "looking at the training",
        )
        assert scene.training()["status"]["attemptCount"] == 1
        proxy.refuse(lambda _plural, _watch: 0)
        operator.wait_ready()
    assert len(scene.jobs()) == 1
