"""The admission policies of examples/admission, on a real API server.

A hostile training is accepted in a namespace without the policies, so that it is the policy that
refuses it in the other.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from sandbox.samples.trainings import changed, training
from sandbox.site.kube import JOBS, NAMESPACES, TRAININGS, ApiError, Kube, Object

EXAMPLES = Path(__file__).parents[3] / "examples" / "admission"
REGISTRATION = "/apis/admissionregistration.k8s.io/v1"
COLLECTIONS = {
    "ValidatingAdmissionPolicy": f"{REGISTRATION}/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": f"{REGISTRATION}/validatingadmissionpolicybindings",
}
TENANT = {"training.example.com/tenant": "true"}
PREFIXES = {"training.example.com/uri-prefixes": "s3://team-a/, s3://shared/coco/,s3://team-b"}
ENFORCED_WITHIN_S = 60
OPERATOR = "system:serviceaccount:detection-system:detection-operator"
JOB: Object = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "a"},
    "spec": {
        "template": {
            "spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}
        }
    },
}


def read(file: str, old: str = "", new: str = "") -> list[Object]:
    text = (EXAMPLES / file).read_text()
    assert old in text
    return list(yaml.safe_load_all(text.replace(old, new) if old else text))


def tenants_training(**spec: object) -> Object:
    """Return a training that every policy of the examples accepts, but for `spec`."""
    fields: Object = {
        "dataset": {"train": {"uri": "s3://team-a/train-*.tfrecord"}, "classes": ["tree"]},
        "checkpoints": {"storage": {"uri": "s3://team-a/runs"}},
        "credentials": [{"uriPrefix": "s3://", "secretRef": {"name": "training-s3"}}],
    }
    return training(**(fields | spec))


def pod(**template: object) -> Object:
    return tenants_training(podTemplate=template)


def at(path: str, uri: str) -> Object:
    return changed(tenants_training(), path, uri)


@pytest.fixture(scope="module")
def policies(api: Kube, crd: None) -> Iterator[None]:
    """Install the policies under names of the test's own; wait until each of them refuses."""
    del crd
    with installed(api, "pods.yaml", "secrets.yaml", "locations.yaml"):
        yield


@contextmanager
def installed(kube: Kube, *files: str, replace: tuple[str, str] = ("", "")) -> Iterator[None]:
    """Create the policies of `files`, under names of this test's own; delete them at the end."""
    suffix = f"-{secrets.token_hex(4)}"
    paths = []
    try:
        for body in (body for file in files for body in read(file, *replace)):
            body["metadata"]["name"] += suffix
            if "policyName" in body["spec"]:
                body["spec"]["policyName"] += suffix
            collection = COLLECTIONS[body["kind"]]
            kube.create(collection, body)
            paths.append(f"{collection}/{body['metadata']['name']}")
        yield
    finally:
        for path in paths:
            kube.delete(path)


@pytest.fixture(scope="module")
def tenant(api: Kube, policies: None) -> Iterator[str]:
    """Make a namespace that the policies cover."""
    del policies
    name = f"t-{secrets.token_hex(4)}"
    metadata = {"name": name, "labels": TENANT, "annotations": PREFIXES}
    api.create(NAMESPACES, {"metadata": metadata})
    for document, expected in (
        (tenants_training(image="x"), "spec.image"),
        (tenants_training(credentials=[credentials("x")]), "Secrets of a training"),
        (at("spec.checkpoints.storage.uri", "s3://else/y"), "storage that this namespace"),
    ):
        wait_until_refused(api, name, document, expected)
    yield name
    api.delete(f"{NAMESPACES}/{name}")


def credentials(secret: str) -> Object:
    return {"uriPrefix": "s3://", "secretRef": {"name": secret}}


def refusal(kube: Kube, namespace: str, document: Object) -> str | None:
    collection = JOBS if document["kind"] == "Job" else TRAININGS
    try:
        kube.create(collection.format(namespace=namespace), document, dry_run=True)
    except ApiError as error:
        return error.message
    return None


def wait_until_refused(kube: Kube, namespace: str, document: Object, expected: str) -> None:
    deadline = time.monotonic() + ENFORCED_WITHIN_S
    message = refusal(kube, namespace, document)
    while expected not in (message or ""):
        assert time.monotonic() < deadline, f"not refused with {expected!r}: {message}"
        message = refusal(kube, namespace, document)


def wait_until_accepted(kube: Kube, namespace: str, document: Object) -> None:
    deadline = time.monotonic() + ENFORCED_WITHIN_S
    while (message := refusal(kube, namespace, document)) is not None:
        assert time.monotonic() < deadline, f"still refused: {message}"


ACCEPTED: dict[str, Object] = {
    "the smallest training": tenants_training(),
    "an image of the list": tenants_training(image="registry.example.com/detection/trainer:1"),
    "a service account of the list": pod(serviceAccountName="trainer"),
    "a priority class of the list": pod(priorityClassName="training"),
    "a toleration that names a key": pod(tolerations=[{"key": "gpu", "operator": "Exists"}]),
    "a volume of each kind of the list": pod(
        volumes=[
            {"name": "a", "emptyDir": {}},
            {"name": "b", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "c", "configMap": {"name": "settings"}},
            {"name": "d", "secret": {"secretName": "training-key"}},
        ]
    ),
    "a group for files": pod(securityContext={"fsGroup": 1000}),
    "a variable and a Secret's key": pod(
        env=[
            {"name": "A", "value": "1"},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "training-s3", "key": "k"}}},
        ],
        envFrom=[{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "training-s3"}}],
        imagePullSecrets=[{"name": "training-registry"}],
    ),
    "a source of the namespace's other prefix": tenants_training(
        restore={"mode": "full", "from": {"uri": "s3://shared/coco/step-00100000"}}
    ),
    "ImageNet weights": tenants_training(
        restore={"mode": "classification", "from": {"uri": "keras://resnet50/imagenet"}}
    ),
    "another training as the source": tenants_training(
        restore={"mode": "full", "from": {"trainingRef": {"name": "coco"}}}
    ),
    "a claim for checkpoints": tenants_training(
        checkpoints={"storage": {"volumeClaim": {"size": "1Gi"}}}
    ),
}

STORAGE = "storage that this namespace may not name"
SECRETS = "Secrets of a training must have names that begin with training-; received"
TOKEN = {"serviceAccountToken": {"path": "token"}}
KINDS = "spec.podTemplate.volumes: expected only"
HOSTILE: dict[str, tuple[Object, str]] = {
    "an image of another registry": (
        tenants_training(image="evil.example/x"),
        "expected an image that begins with one of: registry.example.com/detection/",
    ),
    "a registry whose name only begins as the one of the list": (
        tenants_training(image="registry.example.com.evil.example/detection/x"),
        "spec.image",
    ),
    "a service account with rights": (
        pod(serviceAccountName="namespace-admin"),
        "serviceAccountName: received namespace-admin; expected one of: default, trainer",
    ),
    "a priority that evicts others": (
        pod(priorityClassName="system-node-critical"),
        "priorityClassName: received system-node-critical",
    ),
    "its own scheduler": (pod(schedulerName="mine"), "schedulerName and runtimeClassName"),
    "its own runtime": (pod(runtimeClassName="runc"), "schedulerName and runtimeClassName"),
    "the node's file system": (
        pod(volumes=[{"name": "root", "hostPath": {"path": "/"}}]),
        KINDS,
    ),
    "the API token of its service account": (
        pod(volumes=[{"name": "t", "projected": {"sources": [TOKEN]}}]),
        KINDS,
    ),
    "a Secret by a projected volume": (
        pod(volumes=[{"name": "t", "projected": {"sources": [{"secret": {"name": "admin"}}]}}]),
        KINDS,
    ),
    "a second kind beside an allowed one": (
        pod(volumes=[{"name": "t", "emptyDir": {}, "hostPath": {"path": "/"}}]),
        KINDS,
    ),
    "root": (pod(securityContext={"runAsUser": 0}), "securityContext: expected only these fields"),
    "every node": (pod(tolerations=[{"operator": "Exists"}]), "each must name a key"),
    "a node of the control plane": (
        pod(tolerations=[{"key": "node-role.kubernetes.io/control-plane"}]),
        "none of node-role.kubernetes.io",
    ),
    "another Secret as credentials": (
        tenants_training(credentials=[credentials("training-s3"), credentials("admin")]),
        SECRETS + " admin",
    ),
    "another Secret in a variable": (
        pod(env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "admin", "key": "k"}}}]),
        SECRETS + " admin",
    ),
    "another Secret as variables": (pod(envFrom=[{"secretRef": {"name": "admin"}}]), SECRETS),
    "another Secret as a volume": (
        pod(volumes=[{"name": "a", "secret": {"secretName": "admin"}}]),
        SECRETS + " admin",
    ),
    "another Secret for images": (pod(imagePullSecrets=[{"name": "admin"}]), SECRETS + " admin"),
    "a Secret without a name": (pod(volumes=[{"name": "a", "secret": {}}]), SECRETS),
    "another team's dataset": (at("spec.dataset.train.uri", "s3://team-c/x"), STORAGE),
    "another team's validation set": (at("spec.dataset.validation.uri", "s3://team-c/x"), STORAGE),
    "another team's label map": (
        tenants_training(
            dataset={
                "train": {"uri": "s3://team-a/x"},
                "labelMap": {"uri": "s3://team-c/label_map.pbtxt"},
            }
        ),
        STORAGE + ": s3://team-c/label_map.pbtxt",
    ),
    "another team's weights": (
        tenants_training(restore={"mode": "full", "from": {"uri": "s3://team-c/x"}}),
        STORAGE,
    ),
    "another team's run": (tenants_training(continueFrom={"uri": "s3://team-c/x"}), STORAGE),
    "another team's folder": (at("spec.checkpoints.storage.uri", "s3://team-c/runs"), STORAGE),
    "a way up and down again": (
        at("spec.dataset.train.uri", "s3://team-a/../team-c/x"),
        STORAGE,
    ),
    "a way up, encoded": (at("spec.dataset.train.uri", "s3://team-a/%2e%2e/team-c/x"), STORAGE),
    "a bucket whose name only begins as its own": (
        at("spec.dataset.train.uri", "s3://team-another/x"),
        STORAGE,
    ),
    "a bucket whose name begins as a prefix without a slash": (
        at("spec.dataset.train.uri", "s3://team-backup/x"),
        STORAGE,
    ),
    "a file of the pod": (at("spec.dataset.train.uri", "file:///mnt/x"), STORAGE),
    "a pipeline.config": (
        training(
            model=None, dataset=None, steps=None, batchSize=None,
            checkpoints={"storage": {"uri": "s3://team-a/runs"}},
            pipelineConfig={"inline": "train_input_reader { }"},
        ),
        "spec.pipelineConfig may name any storage",
    ),
}  # fmt: skip


@pytest.mark.parametrize("document", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_the_policies_accept(api: Kube, tenant: str, document: Object) -> None:
    assert refusal(api, tenant, document) is None


@pytest.mark.parametrize(("document", "message"), HOSTILE.values(), ids=HOSTILE.keys())
def test_the_policies_refuse(
    kube: Kube, namespace: str, tenant: str, document: Object, message: str
) -> None:
    assert refusal(kube, namespace, document) is None, "accepted where no policy is bound"
    assert message in str(refusal(kube, tenant, document))


def test_a_namespace_without_prefixes_may_name_no_storage(
    kube: Kube, namespace: str, policies: None
) -> None:
    del policies
    kube.patch(f"{NAMESPACES}/{namespace}", {"metadata": {"labels": TENANT}})
    wait_until_refused(kube, namespace, tenants_training(), STORAGE)


def test_the_operator_writes_the_status_of_a_training_that_came_before_a_policy(
    kube: Kube, namespace: str, policies: None
) -> None:
    del policies
    trainings = TRAININGS.format(namespace=namespace)
    kube.create(trainings, tenants_training(image="evil.example/x"))
    labels = {"metadata": {"labels": TENANT, "annotations": PREFIXES}}
    kube.patch(f"{NAMESPACES}/{namespace}", labels)
    wait_until_refused(kube, namespace, tenants_training(image="evil.example/x"), "spec.image")
    kube.patch(f"{trainings}/trees/status", {"status": {"phase": "Running"}})
    with pytest.raises(ApiError, match=r"spec\.image"):
        kube.patch(f"{trainings}/trees", {"spec": {"suspend": True}})
    kube.delete(f"{trainings}/trees")


def test_the_operator_is_bound_to_the_namespaces_of_tenants(
    kube: Kube, kubeconfig: Path | None, namespace: str
) -> None:
    path = f"{NAMESPACES}/{namespace}"
    user = f"system:serviceaccount:{namespace}:default"
    with (
        service_account(kube, kubeconfig, namespace) as operator,
        installed(kube, "operator.yaml", replace=(OPERATOR, user)),
    ):
        wait_until_refused(operator, namespace, JOB, f"may not act in namespace {namespace}")
        assert refusal(kube, namespace, JOB) is None, "others are not bound"
        kube.patch(path, {"metadata": {"labels": TENANT}})
        wait_until_accepted(operator, namespace, JOB)


@contextmanager
def service_account(kube: Kube, kubeconfig: Path | None, namespace: str) -> Iterator[Kube]:
    """Give a client with the token of the namespace's default service account, its admin."""
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"}
    bindings = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings"
    binding = {"metadata": {"name": "admin"}, "roleRef": role, "subjects": [subject]}
    kube.create(bindings, binding)
    accounts = f"{NAMESPACES}/{namespace}/serviceaccounts/default"
    token = kube.create(f"{accounts}/token", {"spec": {}})["status"]["token"]
    with Kube.connect(kubeconfig, token=token) as client:
        yield client
