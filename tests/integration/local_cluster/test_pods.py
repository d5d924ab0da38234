"""Pods run as on any Kubernetes: names, services, tokens, limits, admission."""

import json

from tests.integration.local_cluster.conftest import Trial, drive

# A ready pod is behind its service once every node knows of it: Kubernetes promises no moment,
# and after an outage of the API server the nodes' watches restart within half a minute.
ASK_SERVICE = """\
python3 - <<EOF
import time, urllib.request
deadline = time.monotonic() + 90
while True:
    try:
        answer = urllib.request.urlopen("http://{name}.default.svc.cluster.local", timeout=5).read()
        break
    except OSError:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.2)
print(answer.decode())
EOF
"""
ASK_KEYS = """\
python3 - <<EOF
import ssl, urllib.request
base = "/var/run/secrets/kubernetes.io/serviceaccount/"
request = urllib.request.Request(
    "https://kubernetes.default.svc/openid/v1/jwks",
    headers={"Authorization": "Bearer " + open(base + "token").read()},
)
context = ssl.create_default_context(cafile=base + "ca.crt")
print(urllib.request.urlopen(request, context=context, timeout=10).read().decode())
EOF
"""
GREET = "cd /tmp && echo hello > index.html && exec python3 -m http.server 8000"
TEMPORARY = {
    "volumes": [{"name": "tmp", "emptyDir": {}}],
    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 (in a pod)
}


def serve(trial: Trial, name: str, node: str) -> None:
    pod = trial.pod(name, GREET, nodeSelector={"kubernetes.io/hostname": node}, **TEMPORARY)
    pod["spec"]["containers"][0]["readinessProbe"] = {
        "httpGet": {"port": 8000},
        "periodSeconds": 1,
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8000}]},
    }
    trial.apply(pod, service)
    trial.wait(f"pod/{name}", "condition=Ready")


def test_a_pod_reaches_a_service_by_name_from_either_node(trial: Trial) -> None:
    serve(trial, "greeter", "node-2")
    for node in ("node-1", "node-2"):
        pod = trial.pod(
            f"asker-{node}",
            ASK_SERVICE.format(name="greeter"),
            nodeSelector={"kubernetes.io/hostname": node},
        )
        assert trial.run_to_end(pod).strip() == "hello"
    assert trial.kubectl("exec", "greeter", "--", "cat", "/tmp/index.html").strip() == "hello"  # noqa: S108
    trial.kubectl("delete", "pod/greeter", "service/greeter", "--wait=false")


def test_a_pod_reads_the_keys_that_service_account_tokens_are_signed_with(trial: Trial) -> None:
    keys = json.loads(trial.run_to_end(trial.pod("key-reader", ASK_KEYS)))
    assert [key["use"] for key in keys["keys"]] == ["sig"]


def test_a_memory_limit_is_enforced_by_the_kernel(trial: Trial) -> None:
    pod = trial.pod("glutton", "exec python3 -c 'x = bytearray(200 << 20); print(len(x))'")
    pod["spec"]["containers"][0]["resources"] = {"limits": {"memory": "64Mi", "cpu": "500m"}}
    trial.apply(pod)
    trial.wait("pod/glutton", "jsonpath={.status.phase}=Failed")
    reason = "jsonpath={.status.containerStatuses[0].state.terminated.reason}"
    assert trial.kubectl("get", "pod/glutton", "-o", reason) == "OOMKilled"
    trial.kubectl("delete", "pod/glutton", "--wait=false")


def test_the_restricted_level_refuses_a_pod_that_can_run_as_root(trial: Trial) -> None:
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    trial.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "strict", "labels": label}}
    )
    command = ["kubectl", "--name", trial.name, "-n", "strict", "run", "any", "--image=x"]
    refused = drive(*command, check=False)
    assert refused.returncode != 0
    assert 'violates PodSecurity "restricted' in refused.stderr


def test_a_name_outside_the_cluster_fails_at_once(trial: Trial) -> None:
    script = "python3 -c 'import socket; socket.getaddrinfo(\"example.com\", 80)' 2>&1 || true"
    started = "import time; print(time.monotonic())"
    log = trial.run_to_end(
        trial.pod("lost", f"python3 -c '{started}'; {script}; python3 -c '{started}'")
    )
    first, *error, last = log.splitlines()
    assert "gaierror" in error[-1]
    assert float(last) - float(first) < 5
