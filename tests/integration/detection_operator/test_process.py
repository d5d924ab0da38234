"""The operator as a process: its log, its signals, and with no more rights than the chart gives."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml

from tests.support.cluster.operator_fixtures import Scene, environment
from tests.support.cluster.running_operator import RunningOperator

CHART = Path(__file__).parents[3] / "charts" / "detection-operator"
Object = dict[str, Any]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def is_ready(port: int) -> bool:
    try:
        url = f"http://127.0.0.1:{port}/readyz"
        return urllib3.request("GET", url, retries=False, timeout=2).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def test_a_process_logs_json_and_ends_on_sigterm(
    scene: Scene, kubeconfig: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    for name, value in environment(scene.namespace, kubeconfig, HEALTH_PORT=str(port)).items():
        monkeypatch.setenv(name, value)
    root = Path(__file__).parents[3]
    monkeypatch.setenv("PYTHONPATH", f"{root / 'operator'}:{root / 'trainer'}")
    command = [sys.executable, "-W", "error", "-m", "detection_operator"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 90
        while not is_ready(port):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        scene.apply()
        scene.wait_attempt(1)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=90)
    assert process.returncode == 0, log
    lines = [json.loads(line) for line in log.splitlines()]
    made = next(line for line in lines if line["message"].startswith("created Job trees-"))
    assert (made["namespace"], made["name"], made["attempt"]) == (scene.namespace, "trees", 1)
    assert lines[-1]["message"] == "ending"
    assert not [line for line in lines if line["level"] == "error"]


def test_it_does_all_it_must_with_the_rights_that_the_chart_gives(
    scene: Scene, kubeconfig: Path | None, tmp_path: Path
) -> None:
    rules = chart_rules()
    assert "*" not in json.dumps(rules)
    restricted = restricted_kubeconfig(scene, rules, kubeconfig, tmp_path)
    service = {"metadata": {"name": "detection-operator"}, "spec": {"ports": [{"port": 443}]}}
    made = scene.kube.create(scene.collection("services"), service)
    more = {
        "REPORT_URL": "https://localhost",
        "TLS_NAMESPACE": scene.namespace,
        "SERVICE": "detection-operator",
    }
    ours = environment(scene.namespace, restricted, LEASE_NAMESPACE=scene.namespace, **more)
    with RunningOperator(ours) as operator:
        claim = {"volumeClaim": {"size": "1Gi", "storageClassName": "none"}}
        scene.apply(checkpoints={"storage": claim})
        pod = scene.wait_attempt(1)
        token = scene.token(pod)
        body = {"attempt": 1, "sequence": 1, "time": "2026-11-24T10:00:00Z", "step": 1}
        answer = operator.report(
            scene.namespace, "trees", token, {**body, "targetSteps": 100, "resumedFromStep": 0}
        )
        assert answer[0] == 200, answer
        scene.kube.patch(scene.path(), {"spec": {"suspend": True}})
        scene.wait(lambda s: s["phase"] == "Suspended", "suspended")
        scene.wait_event("SuspendedByUser")
        refused = [
            line for line in operator.get("/metrics")[1].splitlines() if 'code="403"' in line
        ]
        assert refused == []
        assert operator.metric("detection_operator_leader") == 1
        leases = f"/apis/coordination.k8s.io/v1/namespaces/{scene.namespace}/leases"
        for path in (leases, scene.collection("secrets")):
            [own] = scene.kube.items(path)
            [owner] = own["metadata"]["ownerReferences"]
            assert owner["uid"] == made["metadata"]["uid"]


def chart_rules() -> list[Object]:
    """Return the rules of the chart's templates, unchanged."""
    text = (CHART / "templates" / "_names.tpl").read_text()
    text = text.replace('{{ include "detection-operator.fullname" . }}', "detection-operator")
    serving = '{{ include "detection-operator.servingSecret" . }}'
    text = text.replace(serving, "detection-operator-serving")
    # What a value adds is added.
    text = re.sub(r"^{{- (if .+|end) }}\n", "", text, flags=re.MULTILINE)
    rules: list[Object] = []
    for kind in ("rules", "leaseRules", "servingRules"):
        start = text.index(f'{{{{- define "detection-operator.{kind}" -}}}}')
        rules += yaml.safe_load(text[start:].split("-}}", 1)[1].split("{{- end -}}")[0])
    return rules


def restricted_kubeconfig(
    scene: Scene, rules: list[Object], kubeconfig: Path | None, folder: Path
) -> Path:
    """Make a service account with `rules` in the namespace; return a kubeconfig that is it."""
    name = "operator-under-test"
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{scene.namespace}"
    scene.kube.create(scene.collection("serviceaccounts"), {"metadata": {"name": name}})
    scene.kube.create(f"{rbac}/roles", {"metadata": {"name": name}, "rules": rules})
    subject = {"kind": "ServiceAccount", "name": name, "namespace": scene.namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
    scene.kube.create(f"{rbac}/rolebindings", binding)
    path = f"{scene.collection('serviceaccounts')}/{name}/token"
    token = scene.kube.request("POST", path, {"spec": {"expirationSeconds": 3600}})
    original = Path(kubeconfig or Path.home() / ".kube" / "config")
    document = yaml.safe_load(original.read_text())
    for user in document["users"]:
        user["user"] = {"token": token["status"]["token"]}
    made = folder / "restricted-kubeconfig"
    made.write_text(yaml.safe_dump(document))
    return made
