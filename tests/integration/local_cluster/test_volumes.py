"""Claims get folders that a restricted pod may write, on one node or on all."""

from typing import Any

import pytest

from tests.integration.local_cluster.conftest import Trial


def claim(name: str, mode: str, storage_class: str | None) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "accessModes": [mode],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    if storage_class:
        spec["storageClassName"] = storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": spec,
    }


def pod_with(trial: Trial, name: str, script: str, claim_name: str, **spec: Any) -> dict[str, Any]:
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": claim_name}}
    mounts = [{"name": "data", "mountPath": "/data"}]
    return trial.pod(name, script, volumes=[volume], volumeMounts=mounts, **spec)


@pytest.mark.parametrize(
    ("mode", "storage_class", "second_node"),
    [("ReadWriteOnce", None, "node-2"), ("ReadWriteMany", "shared", "node-1")],
    ids=["the default class: a disk of one node", "the shared class: seen by every node"],
)
def test_what_one_pod_writes_as_65532_the_next_one_reads(
    trial: Trial, mode: str, storage_class: str | None, second_node: str
) -> None:
    name = mode.lower()
    trial.apply(claim(name, mode, storage_class))
    on = {"kubernetes.io/hostname": "node-2"}
    writer = pod_with(trial, "writer", "id -u > /data/who", name, nodeSelector=on)
    trial.run_to_end(writer)
    then = {"kubernetes.io/hostname": second_node}
    reader = pod_with(trial, "reader", "cat /data/who", name, nodeSelector=then)
    assert trial.run_to_end(reader).strip() == "65532"
    path = trial.kubectl("get", "pv", "-o", "jsonpath={.items[0].spec.local.path}")
    assert path.startswith(str(trial.running.cluster.volumes))
    volume = trial.kubectl("get", f"pvc/{name}", "-o", "jsonpath={.spec.volumeName}")
    trial.kubectl("delete", f"pvc/{name}")
    trial.wait(f"pv/{volume}", "delete")


def test_a_volume_stays_with_its_node(trial: Trial) -> None:
    trial.apply(claim("bound", "ReadWriteOnce", None))
    on = {"kubernetes.io/hostname": "node-2"}
    trial.run_to_end(pod_with(trial, "binder", "touch /data/x", "bound", nodeSelector=on))
    elsewhere = {"kubernetes.io/hostname": "node-1"}
    trial.apply(pod_with(trial, "stranger", "true", "bound", nodeSelector=elsewhere))
    trial.wait("pod/stranger", "condition=PodScheduled=False")
    reason = "jsonpath={.status.conditions[?(@.type=='PodScheduled')].message}"
    assert "didn't match PersistentVolume's node affinity" in trial.kubectl(
        "get", "pod/stranger", "-o", reason
    )
    trial.kubectl("delete", "pod/stranger", "pvc/bound", "--wait=false")
