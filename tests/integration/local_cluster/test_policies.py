"""NetworkPolicies are enforced within a node and between nodes, and only where one exists."""

from collections.abc import Iterator
from typing import Any

import pytest

from local_cluster import api
from tests.integration.local_cluster.conftest import POD_TIMEOUT_S, Trial

SERVE = "cd /tmp && exec python3 -m http.server 8000"
CONNECT = """\
python3 - <<EOF
import socket
try:
    socket.create_connection(("{address}", 8000), timeout=3).close()
    print("connected")
except OSError as error:
    print(type(error).__name__)
EOF
"""
TEMPORARY = {
    "volumes": [{"name": "tmp", "emptyDir": {}}],
    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 (in a pod)
}
NODES = ("node-1", "node-2")


@pytest.fixture(scope="module")
def guarded(trial: Trial) -> Iterator[str]:
    """Return the address of a pod that a policy guards, and that is ready."""
    trial.apply(policy("guarded"))
    yield serve(trial, "guarded")
    trial.kubectl("delete", "pod/guarded", "networkpolicy/guarded", "--wait=false")


def policy(app: str) -> dict[str, Any]:
    """Return a policy that admits only pods with the label `app: friend` of the namespace."""
    friends = {"podSelector": {"matchLabels": {"app": "friend"}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": app},
        "spec": {
            "podSelector": {"matchLabels": {"app": app}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [friends], "ports": [{"port": 8000}]}],
        },
    }


def serve(trial: Trial, name: str) -> str:
    """Return the address of a new server on the second node, which the kubelet has reached."""
    pod = trial.pod(name, SERVE, nodeSelector={"kubernetes.io/hostname": "node-2"}, **TEMPORARY)
    pod["spec"]["containers"][0]["readinessProbe"] = {
        "httpGet": {"port": 8000},
        "periodSeconds": 1,
    }
    trial.apply(pod)
    trial.wait(f"pod/{name}", "condition=Ready")
    return trial.kubectl("get", f"pod/{name}", "-o", "jsonpath={.status.podIP}")


def connect(trial: Trial, app: str, node: str, address: str) -> str:
    """Return how a pod with the label `app` on `node` fares that connects to `address`."""
    script = CONNECT.format(address=address)
    pod = trial.pod(f"{app}-{node}", script, nodeSelector={"kubernetes.io/hostname": node})
    pod["metadata"]["labels"] = {"app": app}
    return trial.run_to_end(pod).strip()


@pytest.mark.parametrize("node", NODES)
def test_a_policy_admits_whom_it_names(trial: Trial, guarded: str, node: str) -> None:
    assert connect(trial, "friend", node, guarded) == "connected"


@pytest.mark.parametrize("node", NODES)
def test_a_policy_denies_all_others(trial: Trial, guarded: str, node: str) -> None:
    assert connect(trial, "stranger", node, guarded) == "TimeoutError"


def test_a_pod_without_a_policy_is_open_to_all_beside_one_that_is_guarded(
    trial: Trial, guarded: str
) -> None:
    assert guarded
    address = serve(trial, "open")
    assert [connect(trial, "stranger", node, address) for node in NODES] == ["connected"] * 2
    trial.kubectl("delete", "pod/open", "--wait=false")


def test_a_policy_applies_to_a_running_pod_until_the_policy_is_deleted(trial: Trial) -> None:
    address = serve(trial, "late")
    trial.apply(policy("late"))
    await_answer(trial, address, "TimeoutError")
    trial.kubectl("delete", "networkpolicy/late")
    await_answer(trial, address, "connected")
    trial.kubectl("delete", "pod/late", "--wait=false")


def await_answer(trial: Trial, address: str, wanted: str) -> None:
    """Return once another pod that connects to `address` gets the answer `wanted`."""
    api.wait_until(
        f"a stranger's connection: {wanted}",
        lambda: connect(trial, "stranger", "node-1", address) == wanted,
        timeout_s=POD_TIMEOUT_S,
        remedy="read the log of policy-enforcer",
    )
