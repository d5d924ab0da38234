"""`plan` accepts any observation, settles, and never writes what the API would refuse."""

from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from detection_operator.api.v1alpha1 import (
    AttemptStatus,
    OutcomeStatus,
    PreflightStatus,
    RetryStatus,
    Spec,
    Status,
)
from detection_operator.core.actions import DeleteJob
from detection_operator.core.plan import plan
from detection_operator.core.state import (
    Job,
    Observed,
    Pod,
    PodPhase,
    Source,
    Termination,
    Waiting,
)
from detection_trainer.contract.base import dump
from detection_trainer.contract.packing import pack
from tests.support.operator.observations import (
    CHECK,
    JOB,
    NOW,
    SETTINGS,
    ago,
    checkpoint,
    spec,
    termination_message,
    training,
    unread,
)
from tests.support.operator.situations_before import restoring


def model(kind: type[BaseModel], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Build a model by its Python names: its signature has camelCase."""
    return st.fixed_dictionaries(fields).map(lambda values: kind(**values))


NAMES = [JOB, "trees-5f2c8a1b-2", "trees-5f2c8a1b-3", CHECK, "trees-5f2c8a1b-check-2"]
SPECS = [
    spec(),
    spec(suspend=True, preflight="Always"),
    spec(steps=200, activeDeadlineSeconds=400, preflight="Always"),
    spec(steps=30, retryPolicy={"maxRetries": 0}, ttlSecondsAfterFinished=0),
    spec(workers=2, ttlSecondsAfterFinished=10**15),
    spec(checkpoints={"storage": {"volumeClaim": {"size": "1Gi"}}}),
    restoring(),
    restoring("full", ref={"step": 40}),
    spec(continueFrom={"trainingRef": {"name": "coco"}}, preflight="Always"),
    unread(workers=2, ttlSecondsAfterFinished=0),
    unread(restore={"mode": "full", "from": {"trainingRef": {"name": "coco"}}}),
]
MOMENTS = st.integers(-400, 1000).map(ago)
TEXTS = st.sampled_from(
    ["", "Evicted", "ImagePullBackOff", "exit code 51", "exit code 999", "{", "[" * 5000]
)
CODES = st.sampled_from([0, 1, 40, 51, 63, 71, 72, 127, 137, 143, 255])
MESSAGES = (
    TEXTS
    | CODES.filter(lambda c: c in {0, 40, 51, 71, 72}).map(
        lambda code: termination_message(code, "Saved" if code else "Completed")
    )
    | st.sampled_from(["", "no packed text"]).map(
        lambda packed: termination_message(
            0, "Completed", pipeline_config=packed or pack("model { }")
        )
    )
)
WAITS = st.none() | st.builds(Waiting, TEXTS, TEXTS, st.none() | MOMENTS)
PODS = st.builds(
    Pod,
    name=st.just("p"),
    uid=st.just("u"),
    job_name=st.sampled_from(NAMES),
    phase=st.sampled_from(PodPhase),
    deleting_since=st.none() | MOMENTS,
    unschedulable=WAITS,
    waiting=WAITS,
    disruption=WAITS,
    pod_reason=TEXTS,
    running_since=st.none() | MOMENTS,
    termination=st.none() | st.builds(Termination, CODES, TEXTS, MESSAGES, st.none() | MOMENTS),
)
JOBS = st.builds(
    Job,
    name=st.just(""),
    uid=st.just("j"),
    created_at=MOMENTS,
    attempt=st.none(),
    complete=st.booleans(),
    failed=st.booleans(),
    failure_reason=TEXTS,
    failure_message=TEXTS,
    suspended=st.booleans(),
    deleting=st.booleans(),
    finished_at=st.none() | MOMENTS,
    rejected=TEXTS,
    pods=st.lists(PODS, max_size=2).map(tuple),
)
OUTCOMES = st.none() | model(
    OutcomeStatus,
    exit_code=st.none() | CODES,
    reason=st.sampled_from(["Saved", "Completed", "ImagePullFailed", "Odd"]),
    message=st.just("m"),
    finished_at=st.none() | MOMENTS,
)
STEPS = st.integers(0, 200)
ATTEMPTS = st.none() | st.integers(1, 2).flatmap(
    lambda number: model(
        AttemptStatus,
        number=st.just(number),
        job_name=st.just(NAMES[number - 1]),
        image=st.just("i"),
        created_at=MOMENTS,
        started_at=st.none() | MOMENTS,
        start_step=st.none() | STEPS,
        resumed_from_step=st.none() | STEPS,
        sequence=st.none() | STEPS,
        last_step=STEPS,
        generation=st.integers(0, 2),
        target_steps=st.sampled_from([30, 100, 200]),
        outcome=OUTCOMES,
    )
)
PREFLIGHTS = st.none() | st.integers(1, 2).flatmap(
    lambda generation: model(
        PreflightStatus,
        job_name=st.just(NAMES[2 + generation]),
        created_at=MOMENTS,
        generation=st.just(generation),
        outcome=OUTCOMES,
    )
)
CHECKPOINTS = st.none() | STEPS.map(checkpoint)
STATUSES = model(
    Status,
    phase=st.sampled_from(["Pending", "Running", "Complete", "Failed", "Unheard"]),
    step=STEPS,
    latest_checkpoint=CHECKPOINTS,
    attempt_count=st.integers(0, 2),
    current_attempt=ATTEMPTS,
    preflight=PREFLIGHTS,
    retries=model(RetryStatus, count=st.integers(0, 2000), not_before=st.none() | MOMENTS),
    active_seconds=st.integers(0, 500),
)
SOURCES = st.none() | st.builds(
    Source,
    name=st.just("coco"),
    found=st.booleans(),
    spec=st.none() | st.sampled_from(SPECS),
    status=st.none() | STATUSES,
)


@st.composite
def observations(draw: st.DrawFn) -> Observed:
    made: Spec | None = draw(st.sampled_from([*SPECS, None]))
    jobs = []
    for position, name in enumerate(NAMES):
        if draw(st.integers(0, 2)) == 0:
            built = draw(JOBS)
            number = position + 1 if position < 3 else None
            jobs.append(
                Job(
                    **{
                        field: getattr(built, field)
                        for field in Job.__slots__
                        if field not in {"name", "attempt"}
                    },
                    name=name,
                    attempt=number,
                )
            )
    owner = training(made, draw(STATUSES), draw(st.integers(1, 2)), deleting=draw(st.booleans()))
    orphans = tuple(draw(st.lists(PODS, max_size=1)))
    return Observed(owner, tuple(jobs), orphans, draw(SOURCES), draw(st.none() | st.just("a/b")))


@settings(max_examples=150, deadline=None)
@given(observations())
def test_any_observation_is_answered_and_settles(given_then: Observed) -> None:
    status, seen = given_then.training.status, []
    for _ in range(8):
        owner = training(
            given_then.training.spec,
            status,
            given_then.training.generation,
            deleting=given_then.training.deleting,
        )
        decided = plan(
            Observed(
                owner,
                given_then.jobs,
                given_then.orphans,
                given_then.source,
                given_then.folder_owner,
            ),
            SETTINGS,
            NOW + timedelta(microseconds=5),
        )
        assert Status.model_validate(dump(decided.status)) == decided.status
        deleted = [action.name for action in decided.actions if isinstance(action, DeleteJob)]
        assert len(deleted) == len(set(deleted))
        assert decided.recheck_after_s is None or decided.recheck_after_s >= 0
        seen.append(decided)
        if decided.status == status:
            assert decided.events == ()
            return
        status = decided.status
    raise AssertionError(f"never settles: {[d.status.phase for d in seen]}")
