"""The quota and the limits of examples/admission, on a real API server."""

import time
from pathlib import Path

import pytest
import yaml

from sandbox.samples.trainings import training
from sandbox.site.kube import NAMESPACES, TRAININGS, ApiError, Kube, Object, WaitTimeoutError

EXAMPLE = Path(__file__).parents[2] / "examples" / "admission" / "quota.yaml"
COUNTED_WITHIN_S = 120


def read_example() -> tuple[Object, Object]:
    quota, limits = yaml.safe_load_all(EXAMPLE.read_text())
    return quota, limits


def test_the_quota_bounds_trainings_and_jobs(kube: Kube, namespace: str, crd: None) -> None:
    del crd
    quota, _ = read_example()
    hard = quota["spec"]["hard"]
    make_quota(kube, f"{NAMESPACES}/{namespace}/resourcequotas", quota)
    trainings = TRAININGS.format(namespace=namespace)
    most = int(hard["count/detectiontrainings.detectiontraining.dev"])
    for number in range(most):
        kube.create(trainings, training(f"trees-{number}"))
    assert "exceeded quota: trainings" in wait_for_refusal(kube, trainings, training("one-more"))


def wait_for_refusal(kube: Kube, place: str, wanted: Object) -> str:
    """Return the API server's refusal of `wanted`, by dry runs until there is one.

    Admission counts each create at once, but the quota controller then counts again by its own
    watch. Where that watch is late, the count is too low until the next one.
    """
    deadline = time.monotonic() + COUNTED_WITHIN_S
    while time.monotonic() < deadline:
        try:
            kube.create(place, wanted, dry_run=True)
        except ApiError as refusal:
            return str(refusal)
        time.sleep(0.5)
    pytest.fail(f"{place}: a further object was still admitted after {COUNTED_WITHIN_S} s")


def make_quota(kube: Kube, place: str, quota: Object) -> None:
    """Create a quota that counts every resource it names.

    The quota controller looks for new kinds every 30 s, and at a quota whose kinds it did not know
    when it was created only every 5 minutes: one that does not count within 5 s is created again.
    """
    path = f"{place}/{quota['metadata']['name']}"

    def counts(found: Object | None) -> bool:
        return set(((found or {}).get("status") or {}).get("used") or ()) == set(
            quota["spec"]["hard"]
        )

    deadline = time.monotonic() + COUNTED_WITHIN_S
    while True:
        kube.create(place, quota)
        try:
            kube.wait(path, counts, what="the quota counts all that it names", timeout_s=5)
        except WaitTimeoutError:
            if time.monotonic() > deadline:
                raise
            kube.delete(path)
        else:
            return


def test_the_limits_give_a_pod_defaults_and_refuse_a_large_one(kube: Kube, namespace: str) -> None:
    _, limits = read_example()
    kube.create(f"{NAMESPACES}/{namespace}/limitranges", limits)
    made = kube.create(f"{NAMESPACES}/{namespace}/pods", one_pod({}), dry_run=True)
    resources = made["spec"]["containers"][0]["resources"]
    assert resources["requests"] == {"cpu": "1", "memory": "4Gi"}
    with pytest.raises(ApiError, match="maximum memory usage per Container is 64Gi"):
        kube.create(
            f"{NAMESPACES}/{namespace}/pods",
            one_pod({"limits": {"memory": "65Gi"}}),
            dry_run=True,
        )


def one_pod(resources: Object) -> Object:
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": "a", "image": "a", "resources": resources, "securityContext": security}
    spec = {
        "containers": [container],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    return {"metadata": {"name": "a"}, "spec": spec}
