"""The workers of one training, read from `TF_CONFIG` without TensorFlow."""

from dataclasses import dataclass

from detection_trainer.contract.documents import parse_json
from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.errors import InvalidConfigError

VARIABLE = "TF_CONFIG"
_EXAMPLE = (
    '{"cluster": {"worker": ["host-0:2222", "host-1:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


@dataclass(frozen=True, slots=True)
class Cluster:
    """The workers, and the index of this process among them."""

    addresses: tuple[str, ...] = ("",)
    """`host:port` of each worker, the chief's first."""
    index: int = 0

    @property
    def size(self) -> int:
        """The number of workers."""
        return len(self.addresses)

    @property
    def is_chief(self) -> bool:
        """Whether this worker saves, evaluates and reports for all."""
        return self.index == 0


def parse_cluster(text: str | None) -> Cluster:
    """Return the workers that `TF_CONFIG` lists; without it, one worker.

    Raises:
        InvalidConfigError: it does not list workers only.
    """
    if not text:
        return Cluster()
    try:
        document = parse_json(text)
        cluster, task = document["cluster"], document["task"]
        addresses, index = tuple(cluster["worker"]), int(task["index"])
        holds = set(cluster) == {"worker"} and task["type"] == "worker"
        holds = holds and 0 <= index < len(addresses) and all(map(_is_address, addresses))
    except (ValueError, TypeError, KeyError):
        holds = False
    if not holds:
        msg = (
            f"{VARIABLE}: expected the addresses of workers and this one's index, as {_EXAMPLE}; "
            f"received {text[:300]!r}"
        )
        raise InvalidConfigError(msg)
    return Cluster(addresses, index)


def require_cluster(spec: TrainingSpec, cluster: Cluster) -> None:
    """Compare the number of workers with `spec.workers`.

    Raises:
        InvalidConfigError: the numbers differ.
    """
    if spec.workers != cluster.size:
        msg = (
            f"workers {spec.workers}: expected as many addresses in {VARIABLE}; received "
            f"{cluster.size}: start {spec.workers} processes, each with {VARIABLE}, or set "
            "workers to 1 (batchSize is the total of all workers)"
        )
        raise InvalidConfigError(msg)


def _is_address(text: object) -> bool:
    if not isinstance(text, str):
        return False
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdigit()
