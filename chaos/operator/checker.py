"""Judges a storm by the API server's audit log alone: which promises were broken, and when.

The log shows the plan (an annotation of each training), what each trainer reported (an annotation
that its pod gets before the operator receives the report), and every state that the operator wrote.
If etcd fails in between, a write may be stored although its answer is an error: so the state in the
answer to any later write counts too, and the storm's last writes show all trainings.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from detection_operator import names
from sandbox.simulation.audit import Entry

Object = dict[str, Any]
PLANNED_END = "simulation/planned-end"
REPORTED = "simulation/report"
SEEN = "simulation/seen-at-the-end"
JOB_NAME = "batch.kubernetes.io/job-name"
ENDED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Violation:
    """One promise that was broken."""

    rule: str
    training: str
    time: str
    what: str

    def __str__(self) -> str:
        """Return the violation in one line."""
        return f"{self.time} {self.training}: {self.rule}: {self.what}"


@dataclass(slots=True)
class Job:
    """A training's Job as the log shows it."""

    name: str
    pods: dict[str, bool] = field(default_factory=dict)
    """By name: whether the pod has ended."""
    over: bool = False

    @property
    def is_live(self) -> bool:
        """Whether a trainer of the Job runs, or may still start."""
        if self.pods:
            return not all(self.pods.values())
        return not self.over


@dataclass(slots=True)
class Story:
    """What is known of one training."""

    planned: str = ""
    jobs: dict[str, Job] = field(default_factory=dict)
    reported: dict[int, int] = field(default_factory=lambda: defaultdict(lambda: -1))
    """The largest reported step, by attempt."""
    saved: int = -1
    completed: bool = False
    attempt: int = 0
    step: int = 0
    resumed: bool = False
    """Whether a trainer of the attempt has reported where it resumed."""
    checkpoint: int = -1
    phase: str = ""
    version: int = 0
    deleted: bool = False


def check(entries: Iterable[Entry]) -> list[Violation]:
    """Return every violation that `entries` prove, in the order of the requests."""
    judge = Judge()
    for entry in sorted(entries, key=lambda entry: entry.time):
        judge.take(entry)
    return [*judge.violations, *judge.wrong_ends()]


class Judge:
    """Follows all trainings at once."""

    def __init__(self) -> None:
        """Begin without entries."""
        self.stories: defaultdict[str, Story] = defaultdict(Story)
        self.violations: list[Violation] = []
        self._training_of_job: dict[str, str] = {}
        self._job_of_pod: dict[str, str] = {}

    def take(self, entry: Entry) -> None:
        """Process one write."""
        match entry.resource.split("/")[0]:
            case "detectiontrainings":
                self._take_training(entry)
            case "jobs":
                self._take_job(entry)
            case "pods":
                self._take_pod(entry)

    def wrong_ends(self) -> list[Violation]:
        """Return the trainings that did not end as their plan states."""
        return [
            Violation(
                "an end that was not planned",
                key,
                "at the end",
                f"{story.phase or 'none'} instead of {story.planned}",
            )
            for key, story in self.stories.items()
            if story.planned and not story.deleted and story.phase != story.planned
        ]

    def _broken(self, rule: str, key: str, entry: Entry, what: str) -> None:
        self.violations.append(Violation(rule, key, entry.time, what))

    def _take_training(self, entry: Entry) -> None:
        key = f"{entry.namespace}/{entry.name}"
        story, metadata = self.stories[key], entry.body.get("metadata") or {}
        story.planned = (metadata.get("annotations") or {}).get(PLANNED_END, story.planned)
        if entry.verb == "delete":
            story.deleted = True
        elif "status" in entry.body and int(metadata["resourceVersion"]) > story.version:
            story.version = int(metadata["resourceVersion"])
            self._take_status(key, story, entry)

    def _take_status(self, key: str, story: Story, entry: Entry) -> None:
        status: Object = entry.body.get("status") or {}
        attempt = status.get("currentAttempt") or {}
        number, step = attempt.get("number", 0), status.get("step", 0)
        checkpoint = (status.get("latestCheckpoint") or {}).get("step", -1)
        if number < story.attempt:
            what = f"{number} after {story.attempt}"
            self._broken("an attempt that goes backwards", key, entry, what)
        # Until a trainer reports where it resumed, the step is that of the attempt before.
        resumed = "resumedFromStep" in attempt
        if number == story.attempt and story.resumed and step < story.step:
            what = f"{step} after {story.step} in attempt {number}"
            self._broken("a step that goes backwards", key, entry, what)
        if checkpoint < story.checkpoint:
            what = f"{checkpoint} after {story.checkpoint}"
            self._broken("a checkpoint that goes backwards", key, entry, what)
        # Once a trainer of the attempt has reported where it resumed, only its own reports count.
        steps = [story.reported[number]] if resumed else story.reported.values()
        if step > max([0, *steps]):
            self._broken("a step that no trainer reported", key, entry, f"{step}")
        if checkpoint > story.saved:
            self._broken("a checkpoint that no trainer reported", key, entry, f"{checkpoint}")
        story.phase = status.get("phase", "")
        if story.phase == "Complete" and not story.completed:
            self._broken("a completion that no trainer reported", key, entry, f"step {step}")
        story.attempt, story.step, story.resumed = max(number, story.attempt), step, resumed
        story.checkpoint = max(checkpoint, story.checkpoint)

    def _take_job(self, entry: Entry) -> None:
        name = f"{entry.namespace}/{entry.name}"
        if name not in self._training_of_job and entry.verb != "delete":
            self._take_new_job(name, entry)
        if name in self._training_of_job:
            job = self.stories[self._training_of_job[name]].jobs[name]
            job.over = job.over or entry.verb == "delete" or _has_finished(entry.body)

    def _take_new_job(self, name: str, entry: Entry) -> None:
        labels = (entry.body.get("metadata") or {}).get("labels") or {}
        if labels.get(names.LABEL_ROLE) != names.ROLE_TRAINER:
            return
        key = f"{entry.namespace}/{labels[names.LABEL_TRAINING]}"
        story = self.stories[key]
        if alive := [job.name for job in story.jobs.values() if job.is_live and job.name != name]:
            self._broken("two live Jobs", key, entry, f"{name} beside {', '.join(alive)}")
        if story.planned == "Refused":
            self._broken("a Job for a refused training", key, entry, name)
        story.jobs[name] = Job(name)
        self._training_of_job[name] = key

    def _take_pod(self, entry: Entry) -> None:
        metadata, pod = entry.body.get("metadata") or {}, f"{entry.namespace}/{entry.name}"
        if job_name := (metadata.get("labels") or {}).get(JOB_NAME):
            self._job_of_pod[pod] = f"{entry.namespace}/{job_name}"
        name = self._job_of_pod.get(pod, "")
        key = self._training_of_job.get(name)
        if key is None:
            return
        story = self.stories[key]
        pods = story.jobs[name].pods
        phase = (entry.body.get("status") or {}).get("phase")
        gone = entry.verb == "delete" and metadata.get("deletionGracePeriodSeconds", 0) == 0
        pods[pod] = pods.get(pod, False) or phase in ENDED or gone
        if report := (metadata.get("annotations") or {}).get(REPORTED):
            self._take_report(story, json.loads(report))

    def _take_report(self, story: Story, report: Object) -> None:
        number = report["attempt"]
        story.reported[number] = max(story.reported[number], report["step"])
        story.saved = max(story.saved, report["checkpoint"])
        story.completed = story.completed or report["completed"]


def _has_finished(body: Object) -> bool:
    conditions = (body.get("status") or {}).get("conditions") or []
    return any(c["type"] in {"Complete", "Failed"} and c["status"] == "True" for c in conditions)
