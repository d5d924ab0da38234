"""The operator's records of the cluster: trainings, Jobs and pods, with indexes.

Watches, the answers to the operator's own writes, and lists update it; an older state never
replaces a newer one, in whatever order they arrive. Each change returns the keys to reconcile. A
deleted pod's record stays while its Job exists (`gone`): the Job does not report how the pod ended.
Jobs and pods count for the training that controls them (`ownership.py`), whatever their labels are.
A pod that outlives its Job needs an earlier proof: the Job was seen here, or the status has its
uid.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from detection_operator.api.conditions import Phase
from detection_operator.cluster.api.resources import JOBS, TRAININGS, Key, Object, Resource
from detection_operator.cluster.observe.ownership import Ref, ref_of
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

    def __init__(self, on_news: Callable[[Key], object] = lambda _key: None) -> None:
        """Begin empty; call `on_news` with each key that a change affects."""
        self._on_news = on_news
        self.quarantine = Quarantine()
        self._trainings: dict[Key, TrainingRecord] = {}
        self._keys: dict[str, Key] = {}
        self._jobs: dict[str, JobRecord] = {}
        self._pods: dict[str, PodRecord] = {}
        self._pods_of: defaultdict[Ref, set[str]] = defaultdict(set)
        self._trainings_of: dict[Ref, Ref] = {}
        """Job -> the training that controls it, or that controlled it when it was last seen."""
        self._jobs_of: defaultdict[Ref, set[Ref]] = defaultdict(set)
        """The same, by training."""
        self._folders: defaultdict[str, set[Key]] = defaultdict(set)
        self._waiters: defaultdict[Key, set[Key]] = defaultdict(set)
        self._deleted: set[str] = set()
        self._deleted_order: deque[str] = deque()

    # -- reading

    def training_keys(self) -> list[Key]:
        """Return the keys of all trainings: those that wait come first, ended ones last."""
        return sorted(self._trainings, key=lambda key: _urgency(self._trainings[key]))

    def trainings(self) -> Iterable[TrainingRecord]:
        """Return the records of all trainings."""
        return self._trainings.values()

    def training(self, key: Key) -> TrainingRecord | None:
        """Return one training's record."""
        return self._trainings.get(key)

    def jobs(self, training: Ref) -> list[JobRecord]:
        """Return the Jobs that a training controls, by name."""
        known = (self.job(job) for job in self._jobs_of.get(training, ()))
        found = [record for record in known if record is not None]
        return sorted(found, key=lambda record: record.job.name)

    def job(self, job: Ref) -> JobRecord | None:
        """Return one Job, if it is in this namespace."""
        record = self._jobs.get(job.uid)
        return record if record is not None and record.namespace == job.namespace else None

    def pods(self, training: Ref) -> list[PodRecord]:
        """Return the pods of all Jobs of a training, by name, deleted pods of existing Jobs too."""
        jobs = self._jobs_of.get(training, ())
        found = [record for job in jobs for record in self.pods_of(job)]
        return sorted(found, key=lambda record: record.pod.name)

    def pods_of(self, job: Ref) -> list[PodRecord]:
        """Return the pods that a Job controls."""
        return [self._pods[uid] for uid in self._pods_of.get(job, ())]

    def training_of(self, pod: PodRecord) -> Ref | None:
        """Return the training that controls a pod through its Job; None if nothing proves one."""
        return self._trainings_of.get(pod.controller)

    def pod(self, uid: str) -> PodRecord | None:
        """Return one pod."""
        return self._pods.get(uid)

    def sharing(self, folder: str) -> list[TrainingRecord]:
        """Return the trainings with this checkpoint folder, the oldest first.

        Times have whole seconds: of trainings created in the same second, one that has begun comes
        first.
        """
        found = [self._trainings[key] for key in self._folders.get(folder, ())]
        return sorted(found, key=_seniority)

    def versions(self, resource: Resource, namespace: str | None = None) -> dict[str, Version]:
        """Return the version of every object of a kind that is believed to exist, by uid."""
        found: Iterable[TrainingRecord | JobRecord | PodRecord]
        if resource is TRAININGS:
            found = self._trainings.values()
        elif resource is JOBS:
            found = self._jobs.values()
        else:
            found = (record for record in self._pods.values() if not record.gone)
        read = {
            record.version.uid: record.version
            for record in found
            if namespace in (None, record.namespace)
        }
        return read | self.quarantine.versions(resource, namespace)

    # -- changing

    def learn(self, resource: Resource, body: Object) -> None:
        """Store a state that was read, and queue the trainings that it affects.

        The watch reports the same version later, or has a gap: then nothing else would queue them.
        """
        for key in self.apply(resource, body):
            self._on_news(key)

    def apply(self, resource: Resource, body: Object) -> Keys:
        """Store a state of an object; return the keys that it affects.

        An object that cannot be read goes to quarantine, and its older record stays.
        """
        uid = body["metadata"]["uid"]
        if uid in self._deleted:
            return NOTHING
        try:
            keys = self._apply(resource, body)
        except Exception as error:  # noqa: BLE001 - whatever it contains, the others are served
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
            return self._apply_job(ref_of(body), version_of(body), job_record(body))
        return self._apply_pod(version_of(body), pod_record(body))

    def delete(self, resource: Resource, body: Object) -> Keys:
        """Store an object's last state and its deletion."""
        keys = self.apply(resource, body)
        return keys | self.forget(resource, body["metadata"]["uid"])

    def forget(self, resource: Resource, uid: str) -> Keys:
        """Record that the object with this uid no longer exists."""
        self._remember_deletion(uid)
        self.quarantine.release(uid)
        if resource is TRAININGS:
            return self._forget_training(uid)
        if resource is JOBS:
            return self._forget_job(uid)
        return self._forget_pod(uid)

    def drop_ended_orphans(self, seen: Iterable[str]) -> bool:
        """Drop the pods `seen` that are gone together with their Job; return whether any were.

        The reconciler calls this once it has written a decision that used their last state.
        """
        records = [record for uid in seen if (record := self._pods.get(uid))]
        ended = [r for r in records if r.gone and self.job(r.controller) is None]
        for record in ended:
            self._drop_pod(record)
        return bool(ended)

    def drop_past_orphans(self) -> None:
        """Drop the pods that are gone with their Job, of attempts that another has followed.

        A replica that does not lead makes no decisions, so nothing else ever drops them.
        """
        gone = [record for record in self._pods.values() if record.gone]
        for record in [record for record in gone if self.job(record.controller) is None]:
            training = self._training_at(self.training_of(record))
            followed = training is not None and (record.attempt or 0) < (training.attempt or 0)
            if followed:
                self._drop_pod(record)
        self._drop_past_jobs()

    def _apply_training(self, record: TrainingRecord) -> Keys:
        old = self._trainings.get(record.key)
        if old is not None and not old.version.is_before(record.version):
            return NOTHING
        if old is not None:
            self._unindex(old)
        self._trainings[record.key] = record
        self._keys[record.version.uid] = record.key
        recorded = Ref(record.key.namespace, record.job_uid)
        if record.job_uid and self.job(recorded) is None:
            self._assign(recorded, record.ref)
        if record.folder:
            self._folders[record.folder].add(record.key)
        if record.source:
            self._waiters[record.source].add(record.key)
        return self._concerned(record) | (self._concerned(old) if old else NOTHING)

    def _concerned(self, record: TrainingRecord) -> Keys:
        """Return a training, those that use it as source, and those that share its folder."""
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
        for pod in [r for r in self.pods(record.ref) if r.gone]:
            self._drop_pod(pod)
        for job in [job for job in self._jobs_of.get(record.ref, ()) if self.job(job) is None]:
            self._unassign(job)
        return concerned

    def _apply_job(self, job: Ref, version: Version, record: JobRecord | None) -> Keys:
        """Store a Job's state; None: no training controls it, or none does any longer."""
        old = self._jobs.get(job.uid)
        if old is not None and not old.version.is_before(version):
            return NOTHING
        concerned = self._keys_of(job)
        if record is not None:
            self._jobs[job.uid] = record
            self._assign(job, record.controller)
        elif old is not None:
            del self._jobs[job.uid]
            self._unassign(job)
        return concerned | self._keys_of(job)

    def _forget_job(self, uid: str) -> Keys:
        record = self._jobs.get(uid)
        if record is None:
            return NOTHING
        concerned = self._keys_of(record.ref)
        del self._jobs[uid]
        if self._training_at(record.controller) is None:
            self._unassign(record.ref)
        return concerned

    def _apply_pod(self, version: Version, record: PodRecord | None) -> Keys:
        """Store a pod's state; None: no Job controls it, or none does any longer."""
        old = self._pods.get(version.uid)
        if old is not None and not old.version.is_before(version):
            return NOTHING
        concerned = NOTHING
        if old is not None and (record is None or record.controller != old.controller):
            concerned = self._keys_of(old.controller)
            self._drop_pod(old)
        if record is None:
            return concerned
        self._pods[version.uid] = record
        self._pods_of[record.controller].add(version.uid)
        return concerned | self._keys_of(record.controller)

    def _forget_pod(self, uid: str) -> Keys:
        record = self._pods.get(uid)
        if record is None or record.gone:
            return NOTHING
        if self._training_at(self.training_of(record)) is None:
            self._drop_pod(record)
            return NOTHING
        ended = record.pod.phase in (PodPhase.SUCCEEDED, PodPhase.FAILED)
        # It was deleted before a terminal state was seen (by force): nothing of it runs any longer.
        phase = record.pod.phase if ended else PodPhase.FAILED
        self._pods[uid] = replace(
            record, gone=True, pod=replace(record.pod, phase=phase, gone=True)
        )
        return self._keys_of(record.controller)

    def _drop_pod(self, record: PodRecord) -> None:
        self._pods.pop(record.version.uid, None)
        _discard(self._pods_of, record.controller, record.version.uid)

    def _assign(self, job: Ref, training: Ref) -> None:
        """Record which training controls a Job, also for the time after the Job is gone."""
        if self._trainings_of.get(job) != training:
            self._unassign(job)
            self._trainings_of[job] = training
            self._jobs_of[training].add(job)

    def _unassign(self, job: Ref) -> None:
        if (training := self._trainings_of.pop(job, None)) is not None:
            _discard(self._jobs_of, training, job)

    def _drop_past_jobs(self) -> None:
        """Drop the trainings of Jobs that are gone with all their pods, except for the newest."""
        for job, training in list(self._trainings_of.items()):
            if job in self._pods_of or self.job(job) is not None:
                continue
            record = self._training_at(training)
            if record is None or record.job_uid != job.uid:
                self._unassign(job)

    def _training_at(self, training: Ref | None) -> TrainingRecord | None:
        """Return the training with this uid, if it is in this namespace."""
        key = self._keys.get(training.uid) if training is not None else None
        if key is None or training is None or key.namespace != training.namespace:
            return None
        return self._trainings[key]

    def _keys_of(self, job: Ref) -> Keys:
        """Return which training a change of a Job or its pods affects; none if unproven."""
        training = self._training_at(self._trainings_of.get(job))
        if training is not None:
            return frozenset({training.key})
        # The training may not be known yet; the name is one in the Job's own namespace.
        record = self.job(job)
        return frozenset({record.training}) if record is not None else NOTHING

    def _remember_deletion(self, uid: str) -> None:
        """Keep late answers from restoring a deleted object."""
        if uid in self._deleted:
            return
        self._deleted.add(uid)
        self._deleted_order.append(uid)
        if len(self._deleted_order) > REMEMBERED_DELETIONS:
            self._deleted.discard(self._deleted_order.popleft())


def _discard(index: dict[K, set[V]], key: K, value: V) -> None:
    """Remove `value` from the set at `key`, and remove the set when it is empty."""
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
