"""A queue that does to Jobs what Kueue's job controller does; for tests.

It owns `spec.suspend` of the Jobs with its label: it admits one by setting the flavor's node
selector and clearing `suspend`, and takes the place back by setting it again (kueue.sigs.k8s.io,
"Run A Kubernetes Job").
"""

from dataclasses import dataclass

from sandbox.site.kube import Kube, Object

LABEL = "kueue.x-k8s.io/queue-name"


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue of a namespace."""

    kube: Kube
    namespace: str
    name: str = "gpus"

    def jobs(self) -> list[Object]:
        """Return the Jobs that are this queue's, oldest first."""
        path = f"{self._path}?labelSelector={LABEL}={self.name}"
        jobs = self.kube.items(path)
        return sorted(jobs, key=lambda job: str(job["metadata"]["creationTimestamp"]))

    def admit(self, job: Object, node_selector: dict[str, str]) -> None:
        """Let a Job run, on the nodes of a flavor."""
        template = {"spec": {"nodeSelector": node_selector}}
        self._patch(job, {"template": template, "suspend": False})

    def preempt(self, job: Object) -> None:
        """Take a running Job's place back: its pods go."""
        self._patch(job, {"suspend": True})

    def _patch(self, job: Object, spec: Object) -> None:
        self.kube.patch(f"{self._path}/{job['metadata']['name']}", {"spec": spec})

    @property
    def _path(self) -> str:
        return f"/apis/batch/v1/namespaces/{self.namespace}/jobs"
