"""When to retry: after a back-off if an attempt made no new checkpoint, at once otherwise.

Only consecutive attempts without a new checkpoint count, whatever ended them: a crash loop ends a
training, and six unrelated failures of a long run do not.
"""

from datetime import timedelta

from detection_operator.api.conditions import Phase, Reason
from detection_operator.api.v1alpha1 import RetryStatus
from detection_operator.core.case import Case, Standing

NONE = RetryStatus()
CLOCKS_APART_S = 60.0
"""The clocks of two replicas may differ by this much."""
MAX_DOUBLINGS = 30
"""Beyond this number every cap is reached; it keeps the power finite."""


def delay_s(count: int, base_s: float, cap_s: float) -> float:
    """Return how long to wait before retry number `count`, which starts at 1."""
    return float(min(base_s * 2.0 ** min(max(count - 1, 0), MAX_DOUBLINGS), cap_s))


def after_end(case: Case, *, made: bool, counts: bool = True) -> RetryStatus:
    """Return the retries after the end of an attempt or a preflight that may be retried.

    A container that never started only waited: it uses no retry (`counts` is False).
    """
    if made:
        return NONE
    count = case.status.retries.count + counts
    settings = case.settings
    delay = delay_s(count, settings.backoff_base_s, settings.backoff_cap_s)
    return RetryStatus(count=count, not_before=case.stamp + timedelta(seconds=delay))


def forgive_edited(case: Case) -> Case:
    """Reset the retries of an older spec: an edited spec is tried at once."""
    tried = [case.attempt.generation] if case.attempt else []
    tried += [case.status.preflight.generation] if case.status.preflight else []
    if not tried or max(tried) == case.generation or case.status.retries == NONE:
        return case
    return case.amended(retries=NONE)


def give_up(case: Case) -> Standing | None:
    """Fail a training that made no checkpoint for too many attempts in a row."""
    count, most = case.status.retries.count, case.spec.retry_policy.max_retries
    if count <= most:
        return None
    message = (
        f"{count} attempts in a row saved no new checkpoint (retryPolicy.maxRetries: {most}). "
        f"{last_failure(case)} Fix the cause, then change the spec (or raise maxRetries) to retry."
    )
    return Standing(Phase.FAILED, Reason.RETRIES_EXHAUSTED, message)


def back_off(case: Case) -> Standing | None:
    """Wait until the next attempt may start.

    A time farther ahead than the longest back-off was written with a wrong clock: it is ignored.
    """
    retries = case.status.retries
    if retries.not_before is None:
        return None
    wait_s = (retries.not_before - case.now).total_seconds()
    if not 0 < wait_s <= case.settings.backoff_cap_s + CLOCKS_APART_S:
        return None
    message = (
        f"{last_failure(case)} Retry {retries.count} of {case.spec.retry_policy.max_retries} "
        f"starts at {retries.not_before:%Y-%m-%dT%H:%M:%SZ}."
    )
    phase = Phase.PREFLIGHT if case.attempt is None else Phase.RETRYING
    return Standing(phase, Reason.BACKING_OFF, message, recheck_after_s=wait_s)


def last_failure(case: Case) -> str:
    """Return the sentence that states what ended last, and why."""
    preflight, attempt = case.status.preflight, case.attempt
    if attempt is not None and attempt.outcome is not None:
        outcome, what = attempt.outcome, f"Attempt {attempt.number}"
    elif preflight is not None and preflight.outcome is not None:
        outcome, what = preflight.outcome, "The preflight check"
    else:
        return "Nothing is recorded about the last attempt."
    return f"{what} ended early ({outcome.reason}): {outcome.message}"
