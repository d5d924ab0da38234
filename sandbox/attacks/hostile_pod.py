"""A pod that attacks the operator from inside the cluster, and what it was answered."""

import copy
import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from detection_operator import names
from sandbox.attacks.tenant import Tenant
from sandbox.site.installation import NAMESPACE, RELEASE
from sandbox.site.kube import JOBS, PODS, Object
from sandbox.site.tools import run

SCRIPT = Path(__file__).with_name("hostile_script.py")
TOKEN_MOUNT = "/var/run/secrets/hostile"  # noqa: S105 - a folder
REPORTS_PORT, METRICS_PORT = 443, 8080
POD_TIMEOUT_S = 60
RESTRICTED: Object = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True)
class Answer:
    """What the operator answered; status 0: the connection failed."""

    status: int
    body: str


@dataclass(frozen=True)
class Hostile:
    """A pod in an attacker's namespace, made by the attacker."""

    tenant: Tenant
    audience: str
    name: str = field(default_factory=lambda: f"hostile-{secrets.token_hex(3)}")

    @property
    def namespace(self) -> str:
        """Where it runs."""
        return self.tenant.namespace

    def start(self, labels: dict[str, str]) -> Self:
        """Create the pod with `labels` and a token for `audience`; wait until it runs."""
        pod = self._pod(self.name, labels, ["sleep", "3600"])
        token = {"serviceAccountToken": {"audience": self.audience, "path": "token"}}
        pod["spec"]["volumes"] = [{"name": "token", "projected": {"sources": [token]}}]
        mount = {"name": "token", "mountPath": TOKEN_MOUNT}
        pod["spec"]["containers"][0]["volumeMounts"] = [mount]
        self.tenant.kube.create(PODS.format(namespace=self.namespace), pod)
        self._wait(self.name, "Running")
        return self

    def end_with_message(self, victim: Object, job_name: str, message: str) -> Object:
        """Run a Job like that of the victim's attempt, whose pod ends with `message`."""
        metadata = victim["metadata"]
        labels = {
            names.LABEL_TRAINING: metadata["name"],
            names.LABEL_TRAINING_UID: metadata["uid"],
            names.LABEL_ATTEMPT: "1",
            names.LABEL_ROLE: names.ROLE_TRAINER,
        }
        code = f"open('/dev/termination-log', 'w').write({message!r})"
        template = self._pod("unused", labels, ["python3", "-c", code])
        template["metadata"].pop("name")
        job = {
            # With an owner of another namespace the garbage collector would delete it at once.
            "metadata": {"name": job_name, "labels": labels},
            "spec": {"backoffLimit": 0, "template": template},
        }
        jobs = JOBS.format(namespace=self.namespace)
        self.tenant.kube.create(jobs, job)
        selector = f"labelSelector=batch.kubernetes.io/job-name={job_name}"
        self.tenant.kube.wait(
            f"{jobs}/{job_name}",
            lambda found: bool(found and (found.get("status") or {}).get("succeeded")),
            what="the forged Job ends",
            timeout_s=POD_TIMEOUT_S,
        )
        [pod] = self.tenant.kube.items(f"{PODS.format(namespace=self.namespace)}?{selector}")
        return pod

    def delete(self) -> None:
        """Delete the pod, at once."""
        path = f"{PODS.format(namespace=self.namespace)}/{self.name}"
        self.tenant.kube.delete(path, grace_s=0)

    def post(self, path: str, report: Object) -> Answer:
        """Post one report."""
        [answer] = self.post_many(path, report, count=1)
        return answer

    def post_many(self, path: str, report: Object, *, count: int) -> list[Answer]:
        """Post a report `count` times over."""
        answer = self._run("post", path=path, report=report, count=count)
        return [Answer(**one) for one in answer["answers"]]

    def flood(self, kind: str, *, connections: int, seconds: float) -> Object:
        """Open connections of one kind and hold them for `seconds`."""
        return self._run("flood", kind=kind, connections=connections, seconds=seconds)

    def get_metrics(self, token: str = "") -> Answer:
        """Read the operator's metrics, with a bearer token or without."""
        return Answer(**self._run("metrics", token=token)["answer"])

    def _run(self, action: str, **more: Any) -> Object:
        given = {
            "action": action,
            "host": f"{RELEASE}.{NAMESPACE}.svc",
            "port": METRICS_PORT if action == "metrics" else REPORTS_PORT,
            "token_file": f"{TOKEN_MOUNT}/token",
            **more,
        }
        command = ["exec", "--namespace", self.namespace, self.name, "--"]
        command += ["python3", "-c", SCRIPT.read_text(), json.dumps(given)]
        answer: Object = json.loads(run([*self.tenant.tools.kubectl, *command]))
        return answer

    def _pod(self, name: str, labels: dict[str, str], command: list[str]) -> Object:
        container = {
            "name": names.CONTAINER,
            "image": self.tenant.tools.images["trainer"],
            "imagePullPolicy": "IfNotPresent",
            "command": command,
            "securityContext": {
                "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
            },
        }  # fmt: skip
        return {
            "metadata": {"name": name, "labels": dict(labels)},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "securityContext": copy.deepcopy(RESTRICTED),
                "containers": [container],
            },
        }

    def _wait(self, name: str, phase: str) -> Object:
        return self.tenant.kube.wait(
            f"{PODS.format(namespace=self.namespace)}/{name}",
            lambda found: bool(found and (found.get("status") or {}).get("phase") == phase),
            what=f"the hostile pod is {phase}",
            timeout_s=POD_TIMEOUT_S,
        )
