"""Nodes that do not exist: KWOK simulates their kubelets, for thousands of pods on one machine.

A pod runs as soon as it is bound to such a node. It ends when it has the annotation of its end
(`end_of`). A deleted pod is removed at once, unless its label TRAINED shows that a simulated
trainer will still send its last report.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local_cluster.binaries import KWOK, ensure_binary
from sandbox.site.kube import NODES, Kube

Object = dict[str, Any]
MARK = "kwok.x-k8s.io/node"
SELECTOR = {"fake-node": "true"}
TRAINED = "simulation/trained"
EXIT_CODE = "simulation/exit-code"
LAST_REPORT = "simulation/last-report"
LEASE_S = 40
PODS_A_NODE = "2000"

CONDITIONS = """
conditions:
{{ range NodeConditions }}
- {type: {{ .type | Quote }}, status: {{ .status | Quote }}, reason: {{ .reason | Quote }},
   message: {{ .message | Quote }}, lastHeartbeatTime: {{ Now | Quote }},
   lastTransitionTime: {{ Now | Quote }}}
{{ end }}
"""
NODE_STATUS = f"""
{CONDITIONS}
allocatable: {{cpu: "10k", memory: 10Ti, pods: "{PODS_A_NODE}"}}
capacity: {{cpu: "10k", memory: 10Ti, pods: "{PODS_A_NODE}"}}
phase: Running
"""
RUNNING = """
phase: Running
startTime: {{ Now | Quote }}
conditions:
- {type: Initialized, status: "True", lastTransitionTime: {{ Now | Quote }}}
- {type: Ready, status: "True", lastTransitionTime: {{ Now | Quote }}}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: true
  restartCount: 0
  state: {running: {startedAt: {{ Now | Quote }}}}
{{ end }}
"""
ENDED = """
{{ $code := index .metadata.annotations "simulation/exit-code" }}
{{ $word := index .metadata.annotations "simulation/last-report" }}
phase: {{ if eq $code "0" }}Succeeded{{ else }}Failed{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: false
  restartCount: 0
  state:
    terminated:
      exitCode: {{ $code }}
      reason: {{ if eq $code "0" }}Completed{{ else }}Error{{ end }}
      message: {{ $word | Quote }}
      startedAt: {{ Now | Quote }}
      finishedAt: {{ Now | Quote }}
{{ end }}
"""


def end_of(exit_code: int, last_report: str = "") -> Object:
    """Return the patch of a pod that ends its container with `exit_code` and a last report."""
    return {"metadata": {"annotations": {EXIT_CODE: str(exit_code), LAST_REPORT: last_report}}}


def build_stages() -> list[Object]:
    """Return what KWOK does to nodes and pods, and when."""
    ready = '.status.conditions.[] | select( .type == "Ready" ) | .status'
    deleted, phase = ".metadata.deletionTimestamp", ".status.phase"
    trained = f'.metadata.labels["{TRAINED}"]'
    code = f'.metadata.annotations["{EXIT_CODE}"]'
    gone: Object = {"finalizers": {"empty": True}, "delete": True}
    return [
        _stage("node-begins", "Node", [_not_in(ready, "True")], {"statusTemplate": NODE_STATUS}),
        _stage(
            "pod-runs",
            "Pod",
            [_absent(deleted), _in(phase, "Pending"), _absent(code)],
            {"statusTemplate": RUNNING},
        ),
        _stage(
            "pod-ends",
            "Pod",
            [_in(phase, "Pending", "Running"), _present(code)],
            {"statusTemplate": ENDED},
        ),
        _stage("pod-goes", "Pod", [_present(deleted), _absent(trained)], gone),
        _stage(
            "pod-unplayed-goes",
            "Pod",
            [_present(deleted), _in(phase, "Pending", "Succeeded", "Failed")],
            gone,
        ),
    ]


def _stage(name: str, kind: str, when: list[Object], then: Object) -> Object:
    group = {"apiGroup": "v1", "kind": kind}
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {"resourceRef": group, "selector": {"matchExpressions": when}, "next": then},
    }


def _in(key: str, *values: str) -> Object:
    return {"key": key, "operator": "In", "values": list(values)}


def _not_in(key: str, *values: str) -> Object:
    return {"key": key, "operator": "NotIn", "values": list(values)}


def _present(key: str) -> Object:
    return {"key": key, "operator": "Exists"}


def _absent(key: str) -> Object:
    return {"key": key, "operator": "DoesNotExist"}


@contextmanager
def fake_nodes(kube: Kube, kubeconfig: Path, count: int, folder: Path) -> Iterator[None]:
    """Provide `count` Ready nodes; KWOK's settings and log are in `folder`."""
    program = ensure_binary(KWOK)
    stages = folder / "stages.yaml"
    stages.write_text("\n---\n".join(json.dumps(stage) for stage in build_stages()))
    command = [
        *(
            str(program),
            "--kubeconfig",
            str(kubeconfig),
            "--config",
            str(stages),
            "--manage-all-nodes=false",
        ),
        *("--manage-nodes-with-annotation-selector", f"{MARK}=fake"),
        *("--node-lease-duration-seconds", str(LEASE_S), "--server-address", "127.0.0.1:0"),
        *("-v", "WARN"),
    ]
    with (
        (folder / "kwok.log").open("wb") as log,
        subprocess.Popen(  # noqa: S603 - our own build
            command, stdout=log, stderr=log
        ) as process,
    ):
        try:
            for number in range(count):
                _make_node(kube, f"fake-{number}")
            for number in range(count):
                kube.wait(f"{NODES}/fake-{number}", _is_ready, what="a fake node is Ready")
            yield
        finally:
            process.terminate()
            process.wait(30)


def _make_node(kube: Kube, name: str) -> None:
    metadata = {"name": name, "labels": SELECTOR, "annotations": {MARK: "fake"}}
    if kube.find(f"{NODES}/{name}") is None:
        kube.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": metadata})


def _is_ready(found: Object | None) -> bool:
    conditions = ((found or {}).get("status") or {}).get("conditions") or []
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and not ((found or {}).get("spec") or {}).get("taints")
