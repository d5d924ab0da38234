"""What the operator may observe, made by hand: trainings, Jobs and pods at one fixed moment."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from detection_operator.api.conditions import Reason
from detection_operator.api.v1alpha1 import (
    AttemptStatus,
    CheckpointStatus,
    OutcomeStatus,
    PreflightStatus,
    Spec,
    Status,
)
from detection_operator.core.actions import Plan, StartAttempt
from detection_operator.core.plan import plan
from detection_operator.core.reports import apply_report
from detection_operator.core.state import (
    Identity,
    Job,
    Observed,
    Obstacle,
    Pod,
    PodPhase,
    PolicySettings,
    Termination,
    Training,
    UnreadSpec,
    Waiting,
)
from detection_trainer.contract.report import CheckpointRecord, Outcome, Report
from sandbox.samples.trainings import training as document

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
CREATED = NOW - timedelta(hours=2)
UID = "5f2c8a1b-0000-4000-8000-000000000001"
JOB = "trees-5f2c8a1b-1"
CHECK = "trees-5f2c8a1b-check-1"
CONFIG_URI = "s3://models/pipeline.config"
DIGEST = "sha256:" + "0" * 64
SETTINGS = PolicySettings(
    default_image="registry.example/trainer:1", report_url="http://detection-operator.system:8080"
)


def ago(seconds: float) -> datetime:
    """Return the time this many seconds before NOW."""
    return NOW - timedelta(seconds=seconds)


def spec(**fields: Any) -> Spec:
    """Return a valid spec with top fields replaced (camelCase)."""
    return Spec.model_validate(document(**fields)["spec"])


def unread(uri: str = CONFIG_URI, **fields: Any) -> UnreadSpec:
    """Return a spec whose pipeline.config is at a URI and was not read yet."""
    fields |= {"model": None, "dataset": None, "steps": None, "pipelineConfig": {"uri": uri}}
    return UnreadSpec.model_validate(document(**fields)["spec"])


def training(
    made: Spec | None, status: Status | None = None, generation: int = 1, **fields: Any
) -> Training:
    """Return the training `trees` in namespace `vision`."""
    return Training(
        identity=Identity("vision", "trees", UID),
        generation=generation,
        resource_version="7",
        created_at=fields.pop("created_at", CREATED),
        deleting=fields.pop("deleting", False),
        spec=made,
        status=status or Status(),
        **fields,
    )


def observed(
    made: Spec | None = None,
    status: Status | None = None,
    *jobs: Job,
    generation: int = 1,
    **fields: Any,
) -> Observed:
    """Return what is observed of one training."""
    owner = training(made or spec(), status, generation)
    return Observed(owner, jobs, **fields)


def checkpoint(step: int, uri: str | None = None) -> CheckpointStatus:
    """Return a recorded checkpoint."""
    return CheckpointStatus(
        step=step, uri=uri or f"s3://runs/trees/step-{step}", digest=DIGEST, saved_at=ago(60)
    )


def attempt(**fields: Any) -> AttemptStatus:
    """Return attempt 1 as just made; fields by their Python names."""
    made: dict[str, Any] = {
        "number": 1,
        "job_name": JOB,
        "image": "registry.example/trainer:1",
        "created_at": ago(600),
        "generation": 1,
        "target_steps": 100,
    }
    return AttemptStatus(**{**made, **fields})


def training_attempt(**fields: Any) -> AttemptStatus:
    """Return attempt 1 whose trainer reported step 50."""
    made: dict[str, Any] = {
        "started_at": ago(500),
        "resumed_from_step": 0,
        "sequence": 5,
        "last_step": 50,
    }
    return attempt(**{**made, **fields})


def under_way(made: AttemptStatus | None = None, **fields: Any) -> Status:
    """Return the status of a training with an attempt, and a checkpoint of step 40."""
    saved = [checkpoint(40)]
    made_fields: dict[str, Any] = {
        "current_attempt": made or training_attempt(),
        "attempt_count": 1,
        "step": 50,
        "checkpoints": saved,
        "checkpoint_count": 1,
        "latest_checkpoint": saved[0],
        "image": "registry.example/trainer:1",
        "start_time": ago(600),
    }
    return Status(**{**made_fields, **fields})


def outcome(code: int | None, reason: str, message: str = "It ended.", **fields: Any) -> Any:
    """Return an outcome as the status keeps it, settled by default."""
    fields = {"finished_at": ago(10), **fields}
    return OutcomeStatus(exit_code=code, reason=reason, message=message, **fields)


def preflight(result: OutcomeStatus | None = None, generation: int = 1) -> PreflightStatus:
    """Return the record of a preflight."""
    return PreflightStatus(
        job_name=f"trees-5f2c8a1b-check-{generation}",
        created_at=ago(60),
        generation=generation,
        outcome=result,
    )


def pod(name: str = JOB, **fields: Any) -> Pod:
    """Return a running pod of the Job `name`."""
    made: dict[str, Any] = {
        "name": f"{name}-abcde",
        "uid": "pod-uid",
        "job_name": name,
        "phase": PodPhase.RUNNING,
        "node": "node-1",
        "running_since": ago(500),
    }
    return Pod(**{**made, **fields})


def pending_pod(name: str = JOB, **fields: Any) -> Pod:
    """Return a pod whose container has not started."""
    return pod(name, **{"phase": PodPhase.PENDING, "running_since": None, **fields})


def deleted_pod(name: str = JOB, **fields: Any) -> Pod:
    """Return a pod that was deleted before its container started."""
    made = {"phase": PodPhase.FAILED, "running_since": None, "deleting_since": ago(5), "gone": True}
    return pod(name, **{**made, **fields})


def ended_pod(code: int, message: str = "", reason: str = "Error", **fields: Any) -> Pod:
    """Return a pod whose container ended 20 seconds ago."""
    phase = PodPhase.SUCCEEDED if code == 0 else PodPhase.FAILED
    name = fields.pop("name", JOB)
    return pod(
        name,
        **{"phase": phase, "termination": Termination(code, reason, message, ago(20)), **fields},
    )


def job(*pods: Pod, **fields: Any) -> Job:
    """Return the Job of attempt 1 with its pods; it has ended if all of them have."""
    made: dict[str, Any] = {"name": JOB, "uid": "job-uid", "created_at": ago(600), "attempt": 1}
    codes = [pod.termination.exit_code for pod in pods if pod.termination]
    if len(codes) == fields.get("workers", 1) and not fields.get("suspended"):
        made |= {"complete": not any(codes), "failed": any(codes)}
    return Job(pods=pods, **{**made, **fields})


def check_job(*pods: Pod, **fields: Any) -> Job:
    """Return the Job of the preflight of generation 1."""
    return job(*pods, **{"name": CHECK, "uid": "check-uid", "attempt": None, **fields})


def waiting(reason: str, message: str = "as reported", since: datetime | None = None) -> Waiting:
    """Return why something waits."""
    return Waiting(reason, message, since)


def refusal(
    message: str,
    *,
    reason: Reason = Reason.JOB_REJECTED,
    since: datetime = NOW,
    is_invalid: bool = False,
    generation: int = 1,
) -> Obstacle:
    """Return that the API server refuses a creation; its last refusal was just now."""
    return Obstacle(reason, message, since, NOW, is_invalid=is_invalid, generation=generation)


def termination_message(code: int, reason: str, message: str = "as reported", **fields: Any) -> str:
    """Return a termination message as a trainer writes it."""
    outcome = Outcome(exit_code=code, reason=reason, message=message, **fields)
    return outcome.model_dump_json(by_alias=True)


def record(step: int, **metrics: float) -> CheckpointRecord:
    """Return a committed checkpoint as a trainer reports it."""
    return CheckpointRecord(
        step=step,
        uri=f"s3://runs/trees/step-{step}",
        digest=DIGEST,
        saved_at=ago(1),
        metrics=metrics,
    )


def report(step: int, sequence: int = 6, **fields: Any) -> Report:
    """Return a report of attempt 1, which started at step 0."""
    made: dict[str, Any] = {
        "attempt": 1,
        "sequence": sequence,
        "time": NOW,
        "step": step,
        "target_steps": 100,
        "resumed_from_step": 0,
    }
    return Report(**{**made, **fields})


@dataclass
class Story:
    """One training over time: the test plays the cluster, the operator plans."""

    spec: Spec
    status: Status
    jobs: tuple[Job, ...] = ()
    orphans: tuple[Pod, ...] = ()
    now: datetime = NOW
    generation: int = 1

    def plan(self) -> Plan:
        """Let the operator decide, and keep the status that it writes."""
        owner = training(self.spec, self.status, self.generation)
        decided = plan(Observed(owner, self.jobs, self.orphans), SETTINGS, self.now)
        self.status = decided.status
        return decided

    def start(self) -> StartAttempt:
        """Plan, and run what was planned: the Job exists and its pod runs."""
        action = next(a for a in self.plan().actions if isinstance(a, StartAttempt))
        running = pod(action.job_name, running_since=self.now)
        made = job(running, name=action.job_name, attempt=action.number, created_at=self.now)
        self.jobs = (*self.jobs, made)
        return action

    def report(self, step: int, *saved: int, resumed: int = 0, end: Outcome | None = None) -> None:
        """Have the trainer of the current attempt report."""
        current = self.status.current_attempt
        assert current is not None
        received = Report(
            attempt=current.number,
            sequence=(current.sequence or 0) + 1,
            time=self.now,
            step=step,
            target_steps=current.target_steps,
            resumed_from_step=resumed,
            checkpoints=[record(s) for s in sorted(saved, reverse=True)],
            checkpoint_count=len(saved),
            outcome=end,
        )
        self.status = apply_report(self.status, received, self.now)

    def end(self, code: int, message: str = "", **fields: Any) -> None:
        """End the newest Job's pod."""
        *before, last = self.jobs
        made = ended_pod(
            code,
            name=last.name,
            running_since=last.pods[0].running_since,
            termination=Termination(code, "Error", message, self.now),
            **fields,
        )
        self.jobs = (*before, replace(last, pods=(made,), complete=code == 0, failed=code != 0))

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    def edit(self, **fields: Any) -> None:
        """Change the spec, as a user does."""
        self.spec = self.spec.model_copy(update=fields)
        self.generation += 1
