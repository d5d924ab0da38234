"""A real S3 server inside a cluster, for trainings that keep their data in a bucket."""

from __future__ import annotations

import http
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_cluster import api, images

if TYPE_CHECKING:
    from local_cluster.topology import Cluster

NAME = "s3"
PORT = 7070
USER_ID = 65532
REGION = "us-east-1"
READY_TIMEOUT_S = 120.0
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


@dataclass(frozen=True, slots=True)
class S3Server:
    """What a client in the cluster needs; the Secret `s3` holds the same as variables."""

    namespace: str
    access_key: str = "local-cluster"
    secret_key: str = "local-cluster-secret"  # noqa: S105 (of a throw-away server)
    buckets: tuple[str, ...] = ("training",)

    @property
    def endpoint(self) -> str:
        """The address for pods."""
        return f"http://{NAME}.{self.namespace}.svc:{PORT}"


def ensure_s3_server(cluster: Cluster, server: S3Server) -> None:
    """Run `server` in its namespace, which must exist, and return when it is ready."""
    server_image, shell_image = images.ensure_s3_image(), images.ensure_base_image()
    base = f"/api/v1/namespaces/{server.namespace}"
    apps = f"/apis/apps/v1/namespaces/{server.namespace}/deployments"
    api.apply(cluster, f"{base}/secrets", build_secret(server))
    api.apply(cluster, f"{base}/services", build_service())
    api.apply(cluster, apps, build_deployment(server, server_image, shell_image))

    def is_available() -> bool:
        code, deployment = api.request(cluster, "GET", f"{apps}/{NAME}")
        return code == http.HTTPStatus.OK and bool(deployment["status"].get("availableReplicas"))

    api.wait_until(
        f"the S3 server in namespace {server.namespace} available",
        is_available,
        timeout_s=READY_TIMEOUT_S,
        remedy=f"`python3 -m local_cluster kubectl -n {server.namespace} describe pods`",
    )


def build_secret(server: S3Server) -> dict[str, Any]:
    """Return the keys and the endpoint, under the names that S3 clients read."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": NAME},
        "stringData": {
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_ALLOW_HTTP": "true",
        },
    }


def build_service() -> dict[str, Any]:
    """Return the name that clients use."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME},
        "spec": {"selector": {"app": NAME}, "ports": [{"port": PORT, "targetPort": PORT}]},
    }


def build_deployment(server: S3Server, server_image: str, shell_image: str) -> dict[str, Any]:
    """Return the server as a restricted pod; a bucket is a folder of its volume."""
    mounts = [{"name": "data", "mountPath": "/data"}]
    folders = [f"/data/{bucket}" for bucket in server.buckets]
    pod = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [
            {
                "name": "buckets",
                "image": shell_image,
                "command": ["mkdir", "-p", *folders],
                "securityContext": RESTRICTED,
                "volumeMounts": mounts,
            }
        ],
        "containers": [
            {
                "name": NAME,
                "image": server_image,
                "args": ["--port", f":{PORT}", "--region", REGION, "posix", "/data"],
                "env": [
                    _from_secret("ROOT_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"),
                    _from_secret("ROOT_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"),
                ],
                "ports": [{"containerPort": PORT}],
                "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
                "securityContext": RESTRICTED,
                "volumeMounts": mounts,
            }
        ],
        "volumes": [{"name": "data", "emptyDir": {}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app": NAME}},
            "template": {"metadata": {"labels": {"app": NAME}}, "spec": pod},
        },
    }


def _from_secret(name: str, key: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": NAME, "key": key}}}
