"""A user with the `edit` role in one namespace, and nothing elsewhere."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sandbox.samples.trainings import training
from sandbox.site.kube import NAMESPACES, TRAININGS, ApiError, Kube, Object
from sandbox.site.tools import Tools

SERVICE_ACCOUNT = "mallory"
DEEP = 250
"""Levels: within what the API server stores, beyond what a naive reader of JSON survives."""
TOKEN_S = 3600


@dataclass(frozen=True)
class Tenant:
    """The user, their namespace, and what they create there."""

    tools: Tools
    kube: Kube
    """With this user's rights alone."""
    namespace: str

    def create(self, document: Object | bytes) -> Object | None:
        """Create a training, unchecked by kubectl; return None where it is refused."""
        path = TRAININGS.format(namespace=self.namespace)
        try:
            return self.kube.request("POST", path, document)
        except ApiError:
            return None


@contextmanager
def enroll(tools: Tools, administrator: Kube, namespace: str) -> Iterator[Tenant]:
    """Create a user who has the `edit` role in `namespace`."""
    path = f"{NAMESPACES}/{namespace}"
    administrator.create(f"{path}/serviceaccounts", {"metadata": {"name": SERVICE_ACCOUNT}})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}
    subject = {"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": namespace}
    administrator.create(
        f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings",
        {"metadata": {"name": SERVICE_ACCOUNT}, "roleRef": role, "subjects": [subject]},
    )
    token = token_of(administrator, namespace)
    with Kube.connect(tools.kubeconfig, token=token) as kube:
        yield Tenant(tools, kube, namespace)


def token_of(kube: Kube, namespace: str) -> str:
    """Return a token of the user's service account for the API."""
    path = f"{NAMESPACES}/{namespace}/serviceaccounts/{SERVICE_ACCOUNT}/token"
    found = kube.request("POST", path, {"spec": {"expirationSeconds": TOKEN_S}})
    token: str = found["status"]["token"]
    return token


def nested(levels: int) -> str:
    """Return JSON of objects nested so deep: Python's own encoder gives up on some of it."""
    return '{"x":' * levels + "{}" + "}" * levels


TEMPLATES = {
    "a volume whose name is an object": '{"volumes": [{"name": {"a": "b"}}]}',
    "a volume that is a list": '{"volumes": [[]]}',
    "an affinity 250 levels deep": f'{{"affinity": {nested(DEEP)}}}',
    "a security context 1,200 levels deep": f'{{"securityContext": {nested(1200)}}}',
    "a variable without a name": '{"env": [{"value": {"a": 1}}]}',
    "a toleration that is a text": '{"tolerations": ["x"]}',
}
"""Hostile values of `podTemplate`, as JSON."""


def hostile_training(name: str, template: str, **spec: Any) -> bytes:
    """Return a suspended training with one of TEMPLATES, as JSON."""
    storage = {"storage": {"uri": "file:///mnt/runs"}}
    document = training(name, podTemplate="@", checkpoints=storage, suspend=True, **spec)
    return json.dumps(document).replace('"@"', TEMPLATES[template]).encode()
