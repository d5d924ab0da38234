"""Logs the inputs and the result of a decision, which answers "why did it do that".

Only a decision that acts or changes the status is logged.
"""

import logging
from datetime import datetime
from typing import Any

from detection_operator.api.conditions import ConditionType
from detection_operator.api.v1alpha1 import Status
from detection_operator.core.actions import Action, Plan
from detection_operator.core.case import has_ended, newest_step
from detection_operator.core.state import Job, Observed, Pod
from detection_operator.logs import about

logger = logging.getLogger(__name__)


def log_decision(observed: Observed, plan: Plan) -> None:
    """Log a decision that was written, unless it changes nothing."""
    before, attempt = observed.training.status, plan.status.current_attempt
    if not changes_anything(before, plan):
        return
    phase, reason, message = summary_of(plan.status)
    extra = about(observed.training.identity, attempt=attempt.number if attempt else None)
    extra["decision"] = decision_of(observed, plan)
    logger.info("%s -> %s; %s: %s", before.phase, phase, reason, message, extra=extra)


def summary_of(status: Status) -> tuple[str, str, str]:
    """Return phase, reason and message of a status; empty strings if it has none yet."""
    ready = status.condition(ConditionType.READY)
    return (status.phase, ready.reason, ready.message) if ready else (status.phase, "", "")


def changes_anything(before: Status, plan: Plan) -> bool:
    """Return whether a plan has actions or changes the status."""
    return bool(plan.actions) or summary_of(before) != summary_of(plan.status)


def decision_of(observed: Observed, plan: Plan) -> dict[str, Any]:
    """Return the inputs of a decision in short, its actions, and when it is made again."""
    training, (phase, reason, _) = observed.training, summary_of(plan.status)
    spec, status = training.spec, training.status
    attempt = status.current_attempt
    inputs = {
        "generation": training.generation,
        "phase": status.phase,
        "step": status.step,
        "checkpoint": newest_step(status),
        "retries": status.retries.count or None,
        "notBefore": _stamp(status.retries.not_before),
        "activeSeconds": status.active_seconds or None,
        "startedAt": _stamp(attempt.started_at) if attempt else None,
        "outcome": attempt.outcome.reason if attempt and attempt.outcome else None,
        "steps": spec.steps if spec else None,
        "suspend": spec.suspend if spec else None,
        "invalid": training.invalid or None,
        "jobs": [_of_job(job) for job in observed.jobs],
        "orphans": [_of_pod(pod) for pod in observed.orphans],
        "source": observed.source.name if observed.source else None,
        "folderOwner": observed.folder_owner,
        "obstacle": observed.obstacle.message if observed.obstacle else None,
    }
    return {
        "inputs": {key: value for key, value in inputs.items() if value not in (None, [], "")},
        "phase": phase,
        "reason": reason,
        "actions": [_of_action(action) for action in plan.actions],
        "recheckAfterSeconds": plan.recheck_after_s,
    }


def _stamp(time: datetime | None) -> str | None:
    return time.isoformat() if time is not None else None


def _of_job(job: Job) -> str:
    flags = ("complete", "failed", "suspended", "deleting", "rejected")
    shown = [flag for flag in flags if getattr(job, flag)] or ["under way"]
    return f"{job.name}: {', '.join([*shown, *map(_of_pod, job.pods)])}"


def _of_pod(pod: Pod) -> str:
    parts = [f"pod {pod.name} {pod.phase.value}"]
    waits = pod.unschedulable or pod.waiting
    parts += [f"waits for {waits.reason}"] if waits and not has_ended(pod) else []
    parts += [f"disrupted by {pod.disruption.reason}"] if pod.disruption else []
    parts += [f"exit code {pod.termination.exit_code}"] if pod.termination else []
    parts += ["deleting"] if pod.deleting_since else []
    return " ".join([*parts, *(["gone"] if pod.gone else [])])


def _of_action(action: Action) -> str:
    name = getattr(action, "job_name", None) or getattr(action, "name", "")
    why = getattr(action, "why", "")
    return f"{type(action).__name__} {name}" + (f": {why}" if why else "")
