"""The preflight: on CPUs and without TensorFlow, so that no GPU is reserved in vain."""

from dataclasses import replace

from detection_operator import names
from detection_operator.api.conditions import Phase, Reason
from detection_operator.api.v1alpha1 import (
    OutcomeStatus,
    PipelineConfigStatus,
    PreflightStatus,
    Spec,
)
from detection_operator.core import outcomes
from detection_operator.core.actions import Action, DeleteJob, RestoreFrom, StartPreflight
from detection_operator.core.case import Case, Standing, has_run, newest_step
from detection_operator.core.policies import image_pull, pod_waits, retry
from detection_operator.core.policies.attempt_end import is_lost
from detection_operator.core.policies.image import pinned_image
from detection_operator.core.state import Pod
from detection_trainer.contract.base import text_digest
from detection_trainer.contract.exit_codes import Verdict


def is_wanted(case: Case) -> bool:
    """Return whether this spec must be checked before an attempt starts."""
    if case.is_unread:
        return True
    if newest_step(case.status) is not None or case.spec.preflight == "Never":
        return False
    return case.spec.preflight == "Always" or requests_device(case.spec) or restores_uri(case.spec)


def requests_device(spec: Spec) -> bool:
    """Return whether `spec` requests an extended resource: its name has a domain."""
    resources = spec.resources
    requested = {**resources.requests, **resources.limits}
    return any("/" in name and str(quantity) != "0" for name, quantity in requested.items())


def restores_uri(spec: Spec) -> bool:
    """Return whether weights come from a URI whose content only the storage knows."""
    source = spec.restore.from_ if spec.restore is not None else spec.continue_from
    return source is not None and source.uri is not None


def record_preflight(case: Case) -> Case:
    """Return `case` with the preflight's outcome, once its pod ended."""
    preflight = case.status.preflight
    if preflight is None or preflight.outcome is not None:
        return case
    outcome = _outcome_of(case, preflight)
    if outcome is None:
        return case
    if case.is_unread and preflight.generation == case.generation:
        case, outcome = _record_config(case, preflight, outcome)
    finished_at = (outcome.finished_at or case.stamp).replace(microsecond=0)
    outcome = outcome.model_copy(update={"finished_at": finished_at})
    again = outcomes.verdict(outcome) in {Verdict.RETRYABLE, Verdict.SAVED}
    counts = outcome.exit_code is not None or any(map(has_run, case.pods(preflight.job_name)))
    return case.amended(
        preflight=preflight.model_copy(update={"outcome": outcome}),
        retries=retry.after_end(case, made=False, counts=counts) if again else retry.NONE,
    )


def _record_config(
    case: Case, preflight: PreflightStatus, outcome: OutcomeStatus
) -> tuple[Case, OutcomeStatus]:
    """Return `case` with the pipeline.config that the pod read; without it the preflight failed."""
    if outcomes.verdict(outcome) is not Verdict.COMPLETE:
        return case, outcome
    ends = [pod.termination for pod in case.pods(preflight.job_name) if pod.termination]
    texts = (outcomes.parse_config(end.message) for end in ends)
    text = next((text for text in texts if text is not None), None)
    if text is None:
        return case, OutcomeStatus(reason=Reason.REPORT_MISSING, message=_CONFIG_MISSING)
    config = PipelineConfigStatus(digest=text_digest(text), text=text, uri=_config_uri(case))
    return case.amended(pipeline_config=config), outcome


def _config_uri(case: Case) -> str | None:
    return case.spec.pipeline_config.uri if case.spec.pipeline_config is not None else None


def check(case: Case, source: RestoreFrom | None) -> Standing | None:
    """Run the preflight, wait for it or refuse its result; None once it passed or is not wanted."""
    if not is_wanted(case):
        return None
    preflight = case.status.preflight
    if preflight is None or preflight.generation != case.generation:
        return _start(case, source)
    if preflight.outcome is None:
        return _describe(case, preflight, source)
    match outcomes.verdict(preflight.outcome):
        case Verdict.COMPLETE:
            return _read(case) if case.is_unread else None
        case Verdict.PERMANENT:
            return refuse(preflight.outcome)
        case Verdict.RETRYABLE | Verdict.SAVED:
            return _try_again(case, preflight, source)


def refuse(outcome: OutcomeStatus) -> Standing:
    """Refuse the spec for what the preflight found, until it changes."""
    message = outcomes.explain(outcome, "Change the spec to check it again.")
    return Standing(Phase.REFUSED, outcomes.reason_of(outcome.reason), message)


def _outcome_of(case: Case, preflight: PreflightStatus) -> OutcomeStatus | None:
    job, its_pods = case.job(preflight.job_name), case.pods(preflight.job_name)
    alive = pod_waits.first_alive(its_pods)
    if alive is not None:
        return _given_up(case, alive)
    if its_pods:
        return outcomes.outcome_of_pod(its_pods[0], case.stamp)
    if job is not None and (job.complete or job.failed):
        return outcomes.outcome_of_job(job, case.stamp)
    return None


def _given_up(case: Case, pod: Pod) -> OutcomeStatus | None:
    if is_lost(case, pod):
        message = f"Node {pod.node or 'unknown'} was lost while the check ran."
        return OutcomeStatus(reason=Reason.NODE_LOST, message=message, finished_at=case.stamp)
    problem = image_pull.give_up(pod, pinned_image(case), case.settings, case.now)
    if problem is not None:
        reason = Reason.IMAGE_PULL_FAILED
        return OutcomeStatus(reason=reason, message=problem, finished_at=case.stamp)
    left_s = _seconds_left(case, pod)
    if left_s is None or left_s > 0:
        return None
    message = f"The check did not end within {case.settings.preflight_deadline_s} s."
    reason = Reason.DEADLINE_EXCEEDED
    return OutcomeStatus(reason=reason, message=message, finished_at=case.stamp)


def _seconds_left(case: Case, pod: Pod) -> float | None:
    """Return how long the preflight may still run; None before its container has started."""
    if pod.running_since is None:
        return None
    ran_s = (case.now - pod.running_since).total_seconds()
    return max(case.settings.preflight_deadline_s - ran_s, 0.0)


def _start(case: Case, source: RestoreFrom | None) -> Standing:
    name = names.preflight_name(case.identity.name, case.identity.uid, case.generation)
    preflight = PreflightStatus(job_name=name, created_at=case.stamp, generation=case.generation)
    return _made(case, preflight, source)


def _made(case: Case, preflight: PreflightStatus, source: RestoreFrom | None) -> Standing:
    make = StartPreflight(preflight.job_name, pinned_image(case), source)
    changes: tuple[tuple[str, object], ...] = (("preflight", preflight),)
    if case.is_unread:
        changes += (("pipeline_config", None),)
    return Standing(
        Phase.PREFLIGHT, Reason.PREFLIGHT_RUNNING, _running(case), (make,), changes=changes
    )


def _describe(case: Case, preflight: PreflightStatus, source: RestoreFrom | None) -> Standing:
    job, its_pods = case.job(preflight.job_name), case.pods(preflight.job_name)
    if job is None:
        return _made(case, preflight, source)
    pod = pod_waits.first_alive(its_pods)
    wait = pod_waits.wait_of(case, job, pod)
    if wait is not None:
        return pod_waits.standing_of(Phase.PREFLIGHT, wait)
    left_s = _seconds_left(case, pod) if pod is not None else None
    return Standing(Phase.PREFLIGHT, Reason.PREFLIGHT_RUNNING, _running(case), (), left_s)


def _try_again(case: Case, preflight: PreflightStatus, source: RestoreFrom | None) -> Standing:
    """Wait for the back-off; the name has the generation, so delete the old Job first."""
    job, waiting = case.job(preflight.job_name), retry.back_off(case)
    if job is not None:
        actions: tuple[Action, ...] = ()
        if not job.deleting:
            actions = (DeleteJob(job.name, job.uid, "The check runs again."),)
        running = Standing(Phase.PREFLIGHT, Reason.PREFLIGHT_RUNNING, _running(case))
        standing = waiting or running
        return replace(standing, actions=actions)
    return waiting or _start(case, source)


def _read(case: Case) -> Standing:
    """Report that the configuration was read: with it in the status the spec is complete."""
    message = f"The pipeline.config at {_config_uri(case)} was read, and the check has passed."
    return Standing(Phase.PREFLIGHT, Reason.PREFLIGHT_RUNNING, message)


def _running(case: Case) -> str:
    first = f"reads the pipeline.config at {_config_uri(case)}, then " if case.is_unread else ""
    what = "data, restore source and checkpoint folder"
    return f"A CPU pod {first}checks {what} before a GPU is allocated."


_CONFIG_MISSING = (
    "The check passed, but its pod was deleted together with the pipeline.config that it read."
)
