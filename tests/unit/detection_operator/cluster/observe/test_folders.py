"""Where the checkpoints of a training go, as another of its namespace may name the same place."""

from typing import Any

import pytest

from detection_operator.cluster.api.resources import Key
from detection_operator.cluster.observe.folders import folder_of

TREES, OAKS, ELSEWHERE = Key("vision", "trees"), Key("vision", "oaks"), Key("audio", "trees")
CLAIM = {"persistentVolumeClaim": {"claimName": "runs"}}
NFS = {"nfs": {"server": "nas", "path": "/runs"}}


def s3(*secrets: tuple[str, str], **template: Any) -> dict[str, Any]:
    """Return a spec with a checkpoint URI, which some Secrets open."""
    credentials = [{"uriPrefix": prefix, "secretRef": {"name": name}} for prefix, name in secrets]
    storage = {"checkpoints": {"storage": {"uri": "s3://runs/trees"}}}
    return {**storage, "credentials": credentials, "podTemplate": template}


ENDPOINT = {"name": "AWS_ENDPOINT_URL", "value": "http://one.example"}
OTHER_ENDPOINT = {"name": "AWS_ENDPOINT_URL", "value": "http://two.example"}
REGION = {"name": "AWS_REGION", "value": "eu-west-1"}
THREADS = {"name": "OMP_NUM_THREADS", "value": "4"}


def at(uri: str, source: Any = None, mount: str = "/runs", **more: Any) -> dict[str, Any]:
    """Return a spec whose checkpoints go to `uri`, with a volume."""
    spec: dict[str, Any] = {"checkpoints": {"storage": {"uri": uri}}}
    if source is not None:
        spec["podTemplate"] = {
            "volumes": [{"name": "disk", **source}],
            "volumeMounts": [{"name": "disk", "mountPath": mount, **more}],
        }
    return spec


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ((TREES, at("s3://runs/trees")), (OAKS, at("s3://runs/trees/"))),
        (
            (TREES, s3(("s3://", "a"), ("s3://runs/trees", "b"))),
            (OAKS, s3(("s3://runs", "b"), ("s3://run", "c"))),
        ),
        ((TREES, s3(env=[ENDPOINT, REGION])), (OAKS, s3(env=[THREADS, REGION, ENDPOINT]))),
        ((TREES, at("file:///runs/a", CLAIM)), (OAKS, at("file:///runs/a/", CLAIM))),
        ((TREES, at("file:///runs/a", CLAIM)), (OAKS, at("file:///b/a", CLAIM, "/b"))),
        (
            (TREES, at("file:///runs/a/b", CLAIM)),
            (OAKS, at("file:///x/b", CLAIM, "/x", subPath="a")),
        ),
        ((TREES, at("file:///runs/a", NFS)), (OAKS, at("file:///runs/a", NFS))),
        (
            (TREES, {"checkpoints": {"storage": {"volumeClaim": {"claimName": "runs"}}}}),
            (OAKS, {"checkpoints": {"storage": {"volumeClaim": {"claimName": "runs"}}}}),
        ),
    ],
    ids=[
        "one URI",
        "one Secret opens it",
        "one endpoint in the environment",
        "one claim",
        "mounted elsewhere",
        "by subPath",
        "one server",
        "one volumeClaim",
    ],
)
def test_two_that_mean_one_folder(one: tuple[Key, Any], two: tuple[Key, Any]) -> None:
    assert folder_of(*one) == folder_of(*two) != ""


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ((TREES, at("file:///runs/a", CLAIM)), (ELSEWHERE, at("file:///runs/a", CLAIM))),
        ((TREES, at("file:///runs/a", CLAIM)), (OAKS, at("file:///runs/a", NFS))),
        ((TREES, at("file:///runs/a", CLAIM)), (OAKS, at("file:///runs/b", CLAIM))),
        ((TREES, at("file:///runs/a", CLAIM)), (OAKS, at("file:///runs/a", CLAIM, subPath="oaks"))),
        ((TREES, at("s3://runs/trees")), (ELSEWHERE, at("s3://runs/trees"))),
        ((TREES, at("file:///runs/a", NFS)), (ELSEWHERE, at("file:///runs/a", NFS))),
        ((TREES, s3(("s3://", "a"))), (OAKS, s3(("s3://", "b")))),
        ((TREES, s3(env=[ENDPOINT])), (OAKS, s3(env=[OTHER_ENDPOINT]))),
        ((TREES, s3()), (OAKS, s3(envFrom=[{"secretRef": {"name": "a"}}]))),
        ((TREES, s3()), (OAKS, s3(serviceAccountName="other"))),
    ],
    ids=[
        "claims of two namespaces",
        "two volumes",
        "two folders",
        "two parts of one volume",
        "one URI in two namespaces",
        "one server in two namespaces",
        "two Secrets",
        "two endpoints",
        "an environment from a Secret",
        "another service account",
    ],
)
def test_locations_that_mean_two_folders(one: tuple[Key, Any], two: tuple[Key, Any]) -> None:
    assert folder_of(*one) != folder_of(*two)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        at("file:///runs/a"),
        at("file:///runs/a", {"emptyDir": {}}),
        at("file:///runs/a", CLAIM, "/elsewhere"),
        at("file:///runs/a", {}),
        {"checkpoints": {"storage": {"uri": "file:///a"}}, "podTemplate": {"volumeMounts": [{}]}},
    ],
    ids=[
        "none is given",
        "no volume",
        "the pod's own",
        "mounted elsewhere",
        "of no kind",
        "nonsense",
    ],
)
def test_a_folder_that_only_its_pod_reaches_is_not_shared(spec: Any) -> None:
    assert folder_of(TREES, spec) == ""
