"""What the operator knows of the cluster: records of trainings, Jobs and pods, with indexes.

Fed by the watches, by the answers to the operator's own writes, and by lists; an older state never
replaces a newer one, whatever the order they come in. Each change answers the keys to look at.
A deleted pod's record stays while its Job is there (`gone`): the Job does not say how it ended.
"""

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from detection_operator.api.conditions import Phase
from detection_operator.cluster.api.resources import JOBS, TRAININGS, Key, Object, Resource
from detection_operator.cluster.observe.quarantine import Held, Quarantine, held_body
from detection_operator.cluster.observe.records import (
    JobRecord,
    PodRecord,
    TrainingRecord,
    Version,
    job_record,
    pod_record,
    training_record,
    version_of,
)
from detection_operator.core.state import PodPhase

K = TypeVar("K")
V = TypeVar("V")

REMEMBERED_DELETIONS = 10_000
Keys = frozenset[Key]
NOTHING: Keys = frozenset()
_ENDED = frozenset({Phase.COMPLETE, Phase.FAILED, Phase.REFUSED})


class Cache:
    """Records by uid, and by key for trainings."""

    def __init__(self) -> None:
        """Begin empty."""
        self.quarantine = Quarantine()
        self._trainings: dict[Key, TrainingRecord] = {}
        self._keys: dict[str, Key] = {}
        self._jobs: dict[str, JobRecord] = {}
        self._pods: dict[str, PodRecord] = {}
        self._jobs_of: defaultdict[str, set[str]] = defaultdict(set)
        self._pods_of: defaultdict[str, set[str]] = defaultdict(set)
        self._folders: defaultdict[str, set[Key]] = defaultdict(set)
        self._waiters: defaultdict[Key, set[Key]] = defaultdict(set)
        self._deleted: set[str] = set()
        self._deleted_order: deque[str] = deque()

    # -- reading

    def training_keys(self) -> list[Key]:
        """Return the keys of all trainings, by urgency: who waits first, who has ended last."""
        return sorted(self._trainings, key=lambda key: _urgency(self._trainings[key]))

    def trainings(self) -> Iterable[TrainingRecord]:
        """Return the records of all trainings."""
        return self._trainings.values()

    def training(self, key: Key) -> TrainingRecord | None:
        """Return one training's record."""
        return self._trainings.get(key)

    def jobs(self, training_uid: str) -> list[JobRecord]:
        """Return the Jobs that a training controls, by name."""
        found = [self._jobs[uid] for uid in self._jobs_of.get(training_uid, ())]
        return sorted(found, key=lambda record: record.job.name)

    def job(self, uid: str) -> JobRecord | None:
        """Return one Job."""
        return self._jobs.get(uid)

    def pods(self, training_uid: str) -> list[PodRecord]:
        """Return the pods of all Jobs of a training, by name, deleted ones of living Jobs too."""
        found = [self._pods[uid] for uid in self._pods_of.get(training_uid, ())]
        return sorted(found, key=lambda record: record.pod.name)

    def pod(self, uid: str) -> PodRecord | None:
        """Return one pod."""
        return self._pods.get(uid)

    def sharing(self, folder: str) -> list[TrainingRecord]:
        """Return the trainings with this checkpoint folder, the oldest first.

        Times have whole seconds: of those made in the same one, who has begun comes first.
        """
        found = [self._trainings[key] for key in self._folders.get(folder, ())]
        return sorted(found, key=_seniority)

    def versions(self, resource: Resource) -> dict[str, Version]:
        """Return the version of every object of a kind that is thought to exist, by uid."""
        return self._read_versions(resource) | self.quarantine.versions(resource)

    def _read_versions(self, resource: Resource) -> dict[str, Version]:
        if resource is TRAININGS:
            return {record.version.uid: record.version for record in self._trainings.values()}
        if resource is JOBS:
            return {uid: record.version for uid, record in self._jobs.items()}
        return {uid: record.version for uid, record in self._pods.items() if not record.gone}

    # -- changing

    def apply(self, resource: Resource, body: Object) -> Keys:
        """Take in a state of an object; return the keys that it concerns.

        What cannot be read is held in quarantine, and what was known of it before stays.
        """
        uid = body["metadata"]["uid"]
        if uid in self._deleted:
            return NOTHING
        try:
            keys = self._apply(resource, body)
        except Exception as error:  # noqa: BLE001 - whatever it holds, the others are served
            self.quarantine.hold(held_body(resource, body, error))
            return NOTHING
        if len(self.quarantine):
            self.quarantine.release(uid, version_of(body))
        return keys

    def _apply(self, resource: Resource, body: Object) -> Keys:
        if resource is TRAININGS:
            record = training_record(body)
            if record.problem:
                held = Held(resource, record.key, record.version, frozenset(), record.problem)
                self.quarantine.hold(held)
            return self._apply_training(record)
        if resource is JOBS:
            return self._apply_job(job_record(body))
        return self._apply_pod(pod_record(body))

    def delete(self, resource: Resource, body: Object) -> Keys:
        """Take in an object's last state and its deletion."""
        keys = self.apply(resource, body)
        return keys | self.forget(resource, body["metadata"]["uid"])

    def forget(self, resource: Resource, uid: str) -> Keys:
        """Take in that the object with this uid exists no more."""
        self._remember_deletion(uid)
        self.quarantine.release(uid)
        if resource is TRAININGS:
            return self._forget_training(uid)
        if resource is JOBS:
            return self._forget_job(uid)
        return self._forget_pod(uid)

    def drop_ended_orphans(self, seen: Iterable[str]) -> bool:
        """Drop the pods `seen` that are gone together with their Job; say whether there were any.

        Called once a decision that saw their last word has been written.
        """
        records = [record for uid in seen if (record := self._pods.get(uid))]
        ended = [r for r in records if r.gone and r.job_uid not in self._jobs]
        for record in ended:
            self._drop_pod(record)
        return bool(ended)

    def drop_past_orphans(self) -> None:
        """Drop the pods that are gone with their Job, of attempts that another has followed.

        A replica that does not lead decides nothing, so that nothing else ever drops them.
        """
        for record in [r for r in self._pods.values() if r.gone and r.job_uid not in self._jobs]:
            training = self._trainings.get(record.training)
            followed = training is not None and (record.attempt or 0) < (training.attempt or 0)
            if followed:
                self._drop_pod(record)

    def _apply_training(self, record: TrainingRecord) -> Keys:
        old = self._trainings.get(record.key)
        if old is not None and not old.version.is_before(record.version):
            return NOTHING
        if old is not None:
            self._unindex(old)
        self._trainings[record.key] = record
        self._keys[record.version.uid] = record.key
        if record.folder:
            self._folders[record.folder].add(record.key)
        if record.source:
            self._waiters[record.source].add(record.key)
        return self._concerned(record) | (self._concerned(old) if old else NOTHING)

    def _concerned(self, record: TrainingRecord) -> Keys:
        """A training, those that wait for it as their source, and those that share its folder."""
        sharers = self._folders.get(record.folder, ()) if record.folder else ()
        return frozenset({record.key, *self._waiters.get(record.key, ()), *sharers})

    def _unindex(self, record: TrainingRecord) -> None:
        self._keys.pop(record.version.uid, None)
        _discard(self._folders, record.folder, record.key)
        if record.source:
            _discard(self._waiters, record.source, record.key)

    def _forget_training(self, uid: str) -> Keys:
        key = self._keys.get(uid)
        if key is None:
            return NOTHING
        record = self._trainings.pop(key)
        concerned = self._concerned(record)
        self._unindex(record)
        for pod in [r for r in self.pods(uid) if r.gone]:
            self._drop_pod(pod)
        return concerned

    def _apply_job(self, record: JobRecord | None) -> Keys:
        if record is None:
            return NOTHING
        old = self._jobs.get(record.version.uid)
        if old is not None and not old.version.is_before(record.version):
            return NOTHING
        self._jobs[record.version.uid] = record
        self._jobs_of[record.training_uid].add(record.version.uid)
        return frozenset({record.training})

    def _forget_job(self, uid: str) -> Keys:
        record = self._jobs.pop(uid, None)
        if record is None:
            return NOTHING
        _discard(self._jobs_of, record.training_uid, uid)
        return frozenset({record.training})

    def _apply_pod(self, record: PodRecord | None) -> Keys:
        if record is None:
            return NOTHING
        old = self._pods.get(record.version.uid)
        if old is not None and not old.version.is_before(record.version):
            return NOTHING
        self._pods[record.version.uid] = record
        self._pods_of[record.training_uid].add(record.version.uid)
        return frozenset({record.training})

    def _forget_pod(self, uid: str) -> Keys:
        record = self._pods.get(uid)
        if record is None or record.gone:
            return NOTHING
        if record.training_uid not in self._keys:
            self._drop_pod(record)
            return NOTHING
        ended = record.pod.phase in (PodPhase.SUCCEEDED, PodPhase.FAILED)
        # Gone without a terminal state seen (a forced deletion): nothing of it runs any more.
        phase = record.pod.phase if ended else PodPhase.FAILED
        self._pods[uid] = replace(
            record, gone=True, pod=replace(record.pod, phase=phase, gone=True)
        )
        return frozenset({record.training})

    def _drop_pod(self, record: PodRecord) -> None:
        self._pods.pop(record.version.uid, None)
        _discard(self._pods_of, record.training_uid, record.version.uid)

    def _remember_deletion(self, uid: str) -> None:
        """Keep late answers from bringing a deleted object back."""
        if uid in self._deleted:
            return
        self._deleted.add(uid)
        self._deleted_order.append(uid)
        if len(self._deleted_order) > REMEMBERED_DELETIONS:
            self._deleted.discard(self._deleted_order.popleft())


def _discard(index: dict[K, set[V]], key: K, value: V) -> None:
    """Take `value` out of the set at `key`, and the set with its last one."""
    values = index.get(key)
    if values is None:
        return
    values.discard(value)
    if not values:
        del index[key]


def _urgency(record: TrainingRecord) -> int:
    if record.measures.phase == Phase.PENDING:
        return 0
    return 2 if record.measures.phase in _ENDED else 1


def _seniority(record: TrainingRecord) -> tuple[str, bool, str]:
    return record.created_at, record.attempt is None, record.version.uid
