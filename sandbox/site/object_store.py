"""An S3 server inside the cluster (versitygw), its Secret, and a way to reach it from here."""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from detection_trainer.storage import Folder, open_folder
from sandbox.site.kube import ApiError, Kube, Object
from sandbox.site.tools import SandboxError, Tools

NAME = "s3"
SECRET = "s3"  # noqa: S105 - a name
PORT = 7070
ACCESS_KEY = "detection"
SECRET_KEY = "detection-training"  # noqa: S105 - a server for trying things out
BUCKETS = ("data", "runs")
ROOT = "root"
_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")


def endpoint(namespace: str) -> str:
    """Return the server's URL for pods."""
    return f"http://{NAME}.{namespace}.svc:{PORT}"


def keys_for(url: str) -> dict[str, str]:
    """Return the keys of a client of the server at `url`, by their usual names."""
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "us-east-1",
    }


def write_keys(folder: Path, url: str, **others: str) -> Path:
    """Write the keys for the server at `url` into `folder`, as a mounted Secret has them.

    Args:
        folder: made if it does not exist; returned.
        url: the server's.
        others: keys that differ, or are added.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in {**keys_for(url), **others}.items():
        (folder / name).write_text(value)
    return folder


def deploy(kube: Kube, namespace: str, image: str) -> None:
    """Start the server in `namespace` and write the Secret that trainings refer to."""
    base = f"/api/v1/namespaces/{namespace}"
    keys = {"metadata": {"name": SECRET}, "stringData": keys_for(endpoint(namespace))}
    _ensure(kube, f"{base}/secrets", keys)
    _ensure(kube, f"{base}/services", _service())
    deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    _ensure(kube, deployments, _deployment(image))
    kube.wait(f"{deployments}/{NAME}", _is_available, what="the S3 server", timeout_s=120)


def _ensure(kube: Kube, collection: str, document: Object) -> None:
    try:
        kube.create(collection, document)
    except ApiError as error:
        if error.status != HTTPStatus.CONFLICT:
            raise


def _is_available(found: Object | None) -> bool:
    return bool(((found or {}).get("status") or {}).get("availableReplicas"))


def _service() -> Object:
    spec = {"selector": {"app": NAME}, "ports": [{"port": PORT}]}
    return {"metadata": {"name": NAME}, "spec": spec}


def _deployment(image: str) -> Object:
    return {
        "metadata": {"name": NAME},
        "spec": {
            "selector": {"matchLabels": {"app": NAME}},
            "template": {"metadata": {"labels": {"app": NAME}}, "spec": _pod(image)},
        },
    }


def _pod(image: str) -> Object:
    # Its buckets are folders; they are removed with the pod.
    buckets = [{"name": bucket, "mountPath": f"/data/{bucket}"} for bucket in BUCKETS]
    mounts = [{"name": ROOT, "mountPath": "/data"}, *buckets]
    probe: dict[str, Any] = {"tcpSocket": {"port": PORT}, "periodSeconds": 1}
    return {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "automountServiceAccountToken": False,
        "containers": [
            {
                "name": NAME,
                "image": image,
                "args": [
                    f"--port=:{PORT}",
                    f"--access={ACCESS_KEY}",
                    f"--secret={SECRET_KEY}",
                    "posix",
                    "/data",
                ],
                "readinessProbe": probe,
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": mounts,
            }
        ],
        "volumes": [{"name": bucket, "emptyDir": {}} for bucket in (ROOT, *BUCKETS)],
    }


@dataclass(frozen=True)
class ObjectStore:
    """The server, reached from this machine."""

    credentials: dict[str, Path]

    def folder(self, uri: str) -> Folder:
        """Return the folder at an s3:// URI."""
        return open_folder(uri, self.credentials)


@contextmanager
def reach(tools: Tools, namespace: str) -> Iterator[ObjectStore]:
    """Forward a port to the server for as long as the context lasts."""
    command = [
        *tools.kubectl, "port-forward", "--namespace", namespace, f"service/{NAME}", f":{PORT}",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forward:  # noqa: S603 - kubectl
        try:
            line = forward.stdout.readline() if forward.stdout else ""
            found = _FORWARDING.search(line)
            if found is None:
                raise SandboxError(f"{' '.join(command)} did not forward: {line!r}")
            with tempfile.TemporaryDirectory() as keys:
                yield ObjectStore({"s3://": write_keys(Path(keys), f"http://127.0.0.1:{found[1]}")})
        finally:
            forward.terminate()
