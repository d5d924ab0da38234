"""A tenant with tokens of its own attacks the progress endpoint of a running operator.

On loopback, bounded in number and time; during each attack a trainer of the cluster reports.
"""

import base64
import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3

from detection_trainer.contract.report import Report
from detection_trainer.reporting.report_client import Endpoint, post_report
from tests.support.cluster.operator_fixtures import Scene, environment, report, saved
from tests.support.cluster.running_operator import RunningOperator

Object = dict[str, Any]
SECRET = "serving-under-attack"
RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
STRANGER: Object = {
    "metadata": {"name": "stranger"},
    "spec": {
        "nodeSelector": {"detectiontraining.dev/no-such-node": "here"},
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "shell", "image": "none", "securityContext": RESTRICTED}],
    },
}


@pytest.fixture
def operator(scene: Scene, kubeconfig: Path | None) -> Iterator[RunningOperator]:
    """Run an operator with small limits, so that attacks on loopback are small too."""
    more = {"REPORT_CONNECTIONS": "24", "REPORT_CONNECTIONS_PER_PEER": "8"}
    with RunningOperator(environment(scene.namespace, kubeconfig, **more)) as running:
        yield running


@pytest.fixture
def victim(scene: Scene, operator: RunningOperator) -> Object:
    """Return the pod of a training that has begun."""
    return scene.start(operator)


def gets(operator: RunningOperator) -> float:
    """Return how many reads the operator has made of the API."""
    lines = operator.get("/metrics")[1].splitlines()
    name = 'detection_operator_api_requests_total{code="'
    return sum(float(x.rpartition(" ")[2]) for x in lines if x.startswith(name) and '"get"' in x)


def still_reports(scene: Scene, operator: RunningOperator, pod: Object, sequence: int) -> None:
    body = report(40 + sequence, sequence, **saved(40 + sequence))
    status, answer = operator.report(scene.namespace, "trees", scene.token(pod), body)
    assert (status, answer["written"]) == (200, True)


@contextmanager
def held(port: int, count: int, text: bytes, source: str) -> Iterator[list[socket.socket]]:
    """Hold connections of one address that have sent `text`."""
    made = []
    for _ in range(count):
        one = socket.create_connection(("127.0.0.1", port), 10, (source, 0))
        one.settimeout(0.0)
        made.append(one)
        try:
            one.send(text)
        except OSError:
            continue
    try:
        yield made
    finally:
        for one in made:
            one.close()


PATHS = (
    "..%2F..%2F..%2F..%2F..%2Fapi%2Fv1%2Fnamespaces%2Fkube-system%2Fsecrets%2Fx",
    "..%2F..%2F..%2Fjobs",
    "trees%3Fwatch=1",
    "%3Fwatch=1",
    "..",
    "%2E%2E",
    "trees%2Fstatus",
)


def test_no_name_leads_to_another_path_of_the_api(
    scene: Scene, operator: RunningOperator, victim: Object
) -> None:
    token = scene.token(scene.kube.create(scene.collection("pods"), STRANGER))
    before = gets(operator)
    for path in PATHS:
        target = f"/v1/namespaces/{scene.namespace}/trainings/{path}/report"
        raw = (
            f"POST {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
            "Content-Length: 2\r\nConnection: close\r\n\r\n{}"
        )
        with socket.create_connection(("127.0.0.1", operator.ports.reports), 10) as one:
            one.sendall(raw.encode())
            assert one.recv(100).split()[1] in {b"400", b"404"}
    assert gets(operator) == before
    still_reports(scene, operator, victim, 2)


def test_a_pod_that_is_no_trainer_causes_a_handful_of_reads(
    scene: Scene, operator: RunningOperator, victim: Object
) -> None:
    token = scene.token(scene.kube.create(scene.collection("pods"), STRANGER))
    operator.report(scene.namespace, "trees", token, b"{}")
    before, ends = gets(operator), time.monotonic() + 10
    pool = urllib3.HTTPConnectionPool("127.0.0.1", operator.ports.reports)
    headers, tries = {"Authorization": f"Bearer {token}"}, 0
    while time.monotonic() < ends and tries < 3000:
        path = f"/v1/namespaces/{scene.namespace}/trainings/guess-{tries}/report"
        answer = pool.request("POST", path, body=b"{}", headers=headers, retries=False)
        assert answer.status in {403, 429}
        tries += 1
    assert tries > 100
    assert gets(operator) - before <= 5
    still_reports(scene, operator, victim, 2)


def test_a_pod_with_a_trainers_labels_reports_nothing(
    scene: Scene, operator: RunningOperator, victim: Object
) -> None:
    labels = victim["metadata"]["labels"]
    forged = STRANGER | {"metadata": {"name": "forged", "labels": labels}}
    token = scene.token(scene.kube.create(scene.collection("pods"), forged))
    status, answer = operator.report(scene.namespace, "trees", token, report(99, 9))
    assert (status, answer["reason"]) == (403, "other_training")
    assert scene.training()["status"]["step"] == 40
    still_reports(scene, operator, victim, 2)


def test_half_open_connections_fail_no_probe_and_block_no_trainer(
    scene: Scene, operator: RunningOperator, victim: Object
) -> None:
    port = operator.ports.reports
    head = b"POST /v1/namespaces/a/trainings/b/report HTTP/1.1\r\nHost: x\r\n"
    with (
        held(port, 300, head, "127.0.0.2"),
        held(port, 300, head, "127.0.0.3"),
        held(port, 300, head, "127.0.0.4"),
    ):
        for _ in range(20):
            assert operator.get("/healthz")[0] == 200
        assert operator.metric("detection_operator_connections_refused") > 800
        still_reports(scene, operator, victim, 2)


def test_large_heads_take_no_memory(
    scene: Scene, operator: RunningOperator, victim: Object
) -> None:
    before = resident_mb()
    fields = b"".join(b"X-%d: %s\r\n" % (n, b"x" * 7500) for n in range(128))
    text = b"POST / HTTP/1.1\r\nHost: x\r\n" + fields
    for source in range(2, 33):
        with held(operator.ports.reports, 8, text, f"127.0.0.{source}"):
            pass
    assert resident_mb() - before < 100
    assert operator.get("/healthz")[0] == 200
    still_reports(scene, operator, victim, 2)


def resident_mb() -> float:
    """Return the memory of this process, in which the operator runs."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1000
    return 0.0


NUMBERS: dict[str, Object] = {
    "a sequence beyond all integers": {"sequence": 10**30},
    "a sequence beyond the integers of JSON": {"sequence": 2**53},
    "memory": {"progress": {"memoryBytes": 2**63}},
    "a time that no calendar has": {"time": "0001-01-01T00:00:00+14:00"},
    "a cycle": {"cycles": [{"start": 10**30, "decaySteps": 10**30}]},
}


@pytest.mark.parametrize("more", NUMBERS.values(), ids=NUMBERS)
def test_a_number_that_cannot_be_written_is_not_acknowledged(
    scene: Scene, operator: RunningOperator, victim: Object, more: Object
) -> None:
    token = scene.token(victim)
    status, answer = operator.report(scene.namespace, "trees", token, report(50, 5) | more)
    assert (status, answer["reason"]) == (422, "invalid")
    still_reports(scene, operator, victim, 6)
    scene.kube.patch(scene.path(), {"spec": {"suspend": True}})
    scene.wait(lambda s: s["phase"] in {"Suspending", "Suspended"}, "suspended")


def test_the_largest_numbers_of_the_contract_can_be_written(
    scene: Scene, operator: RunningOperator, victim: Object
) -> None:
    most = 2**53 - 1
    body = report(2**31 - 1, most, targetSteps=2**31 - 1) | {
        "checkpointCount": most,
        "progress": {"loss": 1.7e308, "learningRate": 5e-324, "memoryBytes": most},
        "metrics": {"m" * 128: -1.7e308},
        "cycles": [{"start": most, "decaySteps": most}],
        "restored": {
            "uri": "s3://abc/" + "x" * 1000,
            "variables": {"restored": most, "fresh": most},
            "groups": {"g" * 64: {"restored": most, "fresh": most}},
        },
    }
    status, answer = operator.report(scene.namespace, "trees", scene.token(victim), body)
    assert (status, answer) == (200, {"acknowledged": True, "written": True})


def test_reports_over_tls_reach_the_operator_alone(scene: Scene, kubeconfig: Path | None) -> None:
    """The Secret is made by the operator; the trainer's own client trusts it and nothing else."""
    more = {
        "REPORT_URL": "https://localhost:1",
        "TLS_NAMESPACE": scene.namespace,
        "TLS_SECRET": SECRET,
        "PLAIN_REPORT_URL": "http://localhost:1",
    }
    with RunningOperator(environment(scene.namespace, kubeconfig, **more)) as operator:
        scene.apply()
        pod = scene.wait_attempt(1)
        scene.run_pod(pod)
        annotation = pod["metadata"]["annotations"]["detectiontraining.dev/report-ca"]
        stored = scene.kube.get(f"{scene.collection('secrets')}/{SECRET}")
        assert base64.b64decode(stored["data"]["ca.crt"]).decode() == annotation
        [container] = pod["spec"]["containers"]
        variables = {entry["name"]: entry.get("value", "") for entry in container["env"]}
        assert variables["DETECTION_TRAINER_REPORT_URL"].startswith("https://localhost:1/v1/")
        assert variables["DETECTION_TRAINER_REPORT_CA_FILE"].endswith("/report-ca.crt")
        folder = Path(kubeconfig).parent if kubeconfig else Path.cwd()
        send_over_tls(scene, operator, pod, annotation, folder)
        scene.wait(lambda s: s["step"] == 12, "reported")
        plain = f"http://127.0.0.1:{operator.ports.plain}"
        path = f"/v1/namespaces/{scene.namespace}/trainings/trees/report"
        headers = {"Authorization": f"Bearer {scene.token(pod)}"}
        body = json.dumps(report(13, 13)).encode()
        answer = urllib3.request("POST", plain + path, body=body, headers=headers, retries=False)
        assert answer.status == 200, "for trainers of releases that know no authority"


def send_over_tls(
    scene: Scene, operator: RunningOperator, pod: Object, authority: str, folder: Path
) -> None:
    token, ca = folder / "report-token", folder / "report-ca.crt"
    token.write_text(scene.token(pod))
    ca.write_text(authority)
    url = f"https://localhost:{operator.ports.reports}/v1/namespaces/{scene.namespace}"
    endpoint = Endpoint(f"{url}/trainings/trees/report", token, ca)
    connection = endpoint.connect()
    for sequence in (11, 12):
        sent = Report.model_validate(report(sequence, sequence, **saved(sequence)))
        post_report(endpoint, connection, sent, 10)
    connection.close()
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake_as_stranger(operator.ports.reports)


def handshake_as_stranger(port: int) -> None:
    """Connect as a client that trusts the system's authorities."""
    with (
        socket.create_connection(("127.0.0.1", port), 10) as one,
        ssl.create_default_context().wrap_socket(one, server_hostname="localhost"),
    ):
        pass


def test_only_users_with_the_right_to_read_metrics_read_them(
    scene: Scene, kubeconfig: Path | None
) -> None:
    settings = environment(scene.namespace, kubeconfig, METRICS_AUTHENTICATION="true")
    with RunningOperator(settings) as operator:
        assert operator.get("/metrics")[0] == 401
        url = f"http://127.0.0.1:{operator.ports.metrics}/metrics"
        token = scene.token(None, audience="https://kubernetes.default.svc.cluster.local")

        def ask(bearer: str) -> int:
            headers = {"Authorization": f"Bearer {bearer}"}
            return urllib3.request("GET", url, headers=headers, retries=False).status

        assert ask(token) in {401, 403}
        assert ask("stolen") == 401
        for path in ("/healthz", "/readyz"):
            assert operator.get(path)[0] == 200, "probes need no token"
