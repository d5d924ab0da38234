"""What tests break on purpose: nodes, programs; and what they pretend: devices."""

import json

from local_cluster import api, devices, faults, image_loading, lifecycle
from tests.integration.local_cluster.conftest import Trial, drive


def test_a_killed_node_is_detected_and_restarted(trial: Trial) -> None:
    faults.kill_node(trial.name, "node-2")
    trial.wait("node/node-2", "condition=Ready=Unknown")
    trial.wait("node/node-1", "condition=Ready=True")
    lifecycle.up(trial.name, 2)
    assert api.read_node_conditions(trial.running.cluster) == {"node-1": "True", "node-2": "True"}
    on = {"kubernetes.io/hostname": "node-2"}
    assert trial.run_to_end(trial.pod("after", "echo back", nodeSelector=on)).strip() == "back"


def test_the_first_node_is_not_killed_by_mistake(trial: Trial) -> None:
    refused = drive("node-kill", "--name", trial.name, "node-1", check=False)
    assert refused.returncode == 1
    assert "whose end would be the cluster's" in refused.stderr


def test_a_stopped_program_stays_down_until_it_is_started(trial: Trial) -> None:
    cluster = trial.running.cluster
    faults.stop_program(trial.name, "kube-scheduler")
    assert "kube-scheduler is stopped on purpose" in drive("status", "--name", trial.name).stdout
    trial.apply(trial.pod("unscheduled", "true"))
    faults.start_program(trial.name, "kube-scheduler")
    trial.wait("pod/unscheduled", "jsonpath={.status.phase}=Succeeded")
    trial.kubectl("delete", "pod/unscheduled", "--wait=false")
    assert api.is_ready(cluster)


def test_the_cluster_survives_an_outage_of_the_api_server(trial: Trial) -> None:
    cluster = trial.running.cluster
    faults.stop_program(trial.name, "kube-apiserver")
    api.wait_until(
        "the API server away", lambda: not reaches_api(trial), timeout_s=60, remedy="see its log"
    )
    faults.start_program(trial.name, "kube-apiserver")
    api.wait_until("it back", lambda: api.is_ready(cluster), timeout_s=120, remedy="see its log")


def reaches_api(trial: Trial) -> bool:
    try:
        return api.is_ready(trial.running.cluster)
    except OSError:
        return False


def test_a_node_offers_devices_that_are_not_there(trial: Trial) -> None:
    devices.advertise(trial.running.cluster, "node-2", 2)
    limits = {"limits": {"nvidia.com/gpu": "2"}}
    pods = [trial.pod("first-gpu", "sleep 1000"), trial.pod("second-gpu", "true")]
    for pod in pods:
        pod["spec"]["containers"][0]["resources"] = limits
        trial.apply(pod)
        if pod is pods[0]:
            trial.wait("pod/first-gpu", "condition=PodScheduled")
    trial.wait("pod/second-gpu", "condition=PodScheduled=False")
    conditions = json.loads(trial.kubectl("get", "pod/second-gpu", "-o", "json"))["status"]
    assert "Insufficient nvidia.com/gpu" in conditions["conditions"][0]["message"]
    trial.kubectl("delete", "pod/first-gpu", "--now")
    trial.wait("pod/second-gpu", "condition=PodScheduled")
    trial.kubectl("delete", "pod/second-gpu", "--wait=false")


def test_an_image_is_on_every_node_before_its_pods(trial: Trial) -> None:
    assert image_loading.load_image(trial.name, trial.image) == trial.image
    pod = trial.pod("loaded", "echo here")
    pod["spec"]["containers"][0]["imagePullPolicy"] = "Never"
    assert trial.run_to_end(pod).strip() == "here"


def test_an_image_that_the_registry_lacks_is_refused(trial: Trial) -> None:
    refused = drive("load-image", "--name", trial.name, "example.com/none:1", check=False)
    assert refused.returncode == 1
    assert "an archive, or a reference below detection-training.local/" in refused.stderr
