"""Two operators against a real API server: which plans, which answers, and no conflicts."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.faults.api_proxy import ApiProxy
from tests.integration.detection_operator.test_process import free_port, is_ready
from tests.support.cluster.operator_fixtures import Scene, environment, last_word, report, saved
from tests.support.cluster.running_operator import RunningOperator

ROOT = Path(__file__).parents[3]
SOURCES = (ROOT / "operator", ROOT / "trainer")
LEADER = "detection_operator_leader"
LOOKED = "detection_operator_reconcile_duration_seconds_count"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/{}/leases/detection-operator"
SLOWEST_S = 90.0


@pytest.fixture
def settings(scene: Scene, kubeconfig: Path | None) -> dict[str, str]:
    return replica(scene, kubeconfig)


def replica(scene: Scene, kubeconfig: Path | None, **more: str) -> dict[str, str]:
    """Return the environment of one of several operators."""
    return environment(scene.namespace, kubeconfig, LEASE_NAMESPACE=scene.namespace, **more)


def leads(operator: RunningOperator) -> bool:
    return operator.metric(LEADER) == 1


def holder(scene: Scene) -> str:
    found = scene.kube.find(LEASE.format(scene.namespace)) or {"spec": {}}
    return str(found["spec"].get("holderIdentity") or "")


def test_one_plans_and_the_other_answers_and_is_ready(
    scene: Scene, settings: dict[str, str]
) -> None:
    with RunningOperator(settings) as leader:
        leader.wait_until(lambda: leads(leader), "leading")
        with RunningOperator(settings) as standby:
            scene.apply()
            pod = scene.wait_attempt(1)
            token = scene.token(pod)
            scene.run_pod(pod)
            body = report(10, 1, **saved(10))
            assert standby.report(scene.namespace, "trees", token, body)[0] == 200
            status = scene.wait(lambda s: s["phase"] == "Running", "it uses the report")
            assert status["status"]["step"] == 10
            assert not leads(standby)
            assert standby.metric(LOOKED) == 0
            assert standby.metric("detection_operator_queue_depth") == 0
            assert leader.metric(LOOKED) > 0
            stopped = time.monotonic()
            leader.stop()
            standby.wait_until(lambda: leads(standby), "leading")
            assert standby.metric("detection_operator_leader_transitions") == 1
            assert time.monotonic() - stopped < SLOWEST_S
            scene.apply("next")
            scene.wait_attempt(1, "next")
            assert len(scene.jobs()) == 2


def test_who_ends_in_good_order_gives_the_lease_back(
    scene: Scene, settings: dict[str, str]
) -> None:
    with RunningOperator(settings) as leader:
        leader.wait_until(lambda: holder(scene) != "", "holding the lease")
        leader.stop()
        assert holder(scene) == "", "another may lead at once, and not only when it runs out"


def test_with_two_that_both_lead_every_training_has_one_job_and_a_true_status(
    scene: Scene, kubeconfig: Path | None
) -> None:
    names = [f"t{number}" for number in range(4)]
    forced = environment(scene.namespace, kubeconfig)
    with RunningOperator(forced) as one, RunningOperator(forced) as two:
        assert leads(one)
        assert leads(two)
        for name in names:
            scene.apply(name)
        for number, name in enumerate(names):
            pod = scene.wait_attempt(1, name)
            token = scene.token(pod)
            # Reports of one trainer reach both, in any order.
            for sequence, operator in enumerate((one, two, two, one), start=1):
                body = report(10 * sequence, sequence, **saved(10 * sequence, name=name))
                assert operator.report(scene.namespace, name, token, body)[0] == 200
            late = report(10, 1, **saved(10, name=name))
            assert two.report(scene.namespace, name, token, late)[0] == 200
            scene.end_pod(pod, *ends(number))
        for number, name in enumerate(names):
            if number % 2:
                scene.wait_attempt(2, name)
            else:
                scene.wait(lambda s: s["phase"] == "Failed", "failed for good", name)
        assert one.metric(LOOKED) > 0
        assert two.metric(LOOKED) > 0
    for number, name in enumerate(names):
        status = scene.training(name)["status"]
        assert status["attemptCount"] == 1 + number % 2
        assert status["step"] == 40
        assert [i["attempt"] for i in status["interruptions"]] == [1]
    assert len(scene.jobs()) == 6
    assert scene.events().count("AttemptCreated") == 2, "one for each second attempt"


def ends(number: int) -> tuple[int, str]:
    """Return how the first attempt ends: finally, or with a retry."""
    return (137, "") if number % 2 else (52, last_word(52, "DataInvalid"))


@contextmanager
def process(
    settings: dict[str, str],
    folder: Path,
    sources: tuple[Path, ...] = SOURCES,
    port_setting: str = "HEALTH_PORT",
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run the operator of `sources` as a process; give the process and the port of its probes."""
    port = free_port()
    paths = ":".join(str(source) for source in sources)
    ours = settings | {f"DETECTION_OPERATOR_{port_setting}": str(port), "PYTHONPATH": paths}
    command = [sys.executable, "-m", "detection_operator"]
    with (folder / "log").open("w") as log:
        running = subprocess.Popen(command, stderr=log, text=True, env={**os.environ, **ours})
    try:
        deadline = time.monotonic() + SLOWEST_S
        while not is_ready(port):
            assert running.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        yield running, port
    finally:
        running.kill()
        running.wait()


def test_a_leader_that_is_killed_is_replaced_when_its_lease_has_run_out(
    scene: Scene, settings: dict[str, str], tmp_path: Path
) -> None:
    named = settings | {"DETECTION_OPERATOR_IDENTITY": "first"}
    with process(named, tmp_path) as (leader, _):
        scene.apply()
        pod = scene.wait_attempt(1)
        assert holder(scene) == "first"
        with RunningOperator(settings | {"DETECTION_OPERATOR_IDENTITY": "second"}) as standby:
            leader.send_signal(signal.SIGKILL)
            leader.wait()
            scene.end_pod(pod, 137)
            token = scene.token(None)
            assert standby.report(scene.namespace, "trees", token, report(1, 1))[0] == 401
            assert not leads(standby)
            scene.wait_attempt(2)
            assert holder(scene) == "second"
            assert len(scene.jobs()) == 2


def test_an_outage_of_the_api_server_longer_than_a_lease_costs_nothing(
    scene: Scene, kubeconfig: Path | None, tmp_path: Path
) -> None:
    """And one that the leader alone does not reach makes the other lead."""
    with ApiProxy(kubeconfig, tmp_path) as proxy:
        cut = replica(scene, proxy.kubeconfig, IDENTITY="cut")
        with RunningOperator(cut) as one:
            scene.apply()
            token = scene.token(scene.wait_attempt(1))
            body = report(10, 1, **saved(10))
            assert one.report(scene.namespace, "trees", token, body)[0] == 200
            proxy.refuse(lambda _plural, _watch: 503)
            one.wait_until(lambda: not leads(one), "no longer leading")
            assert one.get("/healthz")[0] == 200
            with RunningOperator(replica(scene, kubeconfig, IDENTITY="other")) as two:
                two.wait_until(lambda: leads(two), "leading")
                scene.apply("meanwhile")
                scene.wait_attempt(1, "meanwhile")
                proxy.refuse(lambda _plural, _watch: 0)
                more = report(20, 2, **saved(20))
                one.wait_until(
                    lambda: one.report(scene.namespace, "trees", token, more)[0] == 200,
                    "taking reports again",
                )
                assert leads(two)
                assert not leads(one)
            one.wait_until(lambda: leads(one), "leading again")
            assert scene.training()["status"]["attemptCount"] == 1
            assert len(scene.jobs()) == 2


def test_without_the_right_to_the_lease_it_reports_so_and_is_not_ready(
    scene: Scene, kubeconfig: Path | None, tmp_path: Path
) -> None:
    with ApiProxy(kubeconfig, tmp_path) as proxy:
        refused = {"leases", "detection-operator"}
        proxy.refuse(lambda name, _watch: 403 if name in refused else 0)
        with RunningOperator(replica(scene, proxy.kubeconfig), waits=False) as operator:
            missing = "may not get, watch, create and update the Lease"
            operator.wait_until(lambda: missing in operator.get("/readyz")[1], "reporting why")
            assert operator.get("/readyz")[0] == 503
            assert operator.get("/healthz")[0] == 200
            proxy.refuse(lambda _plural, _watch: 0)
            operator.wait_ready()
            operator.wait_until(lambda: leads(operator), "leading")
