"""Later attempts run the image of the first one, even if its tag has changed."""

import pytest

from detection_operator.api.v1alpha1 import Status
from detection_operator.core.actions import StartAttempt, StartPreflight
from detection_operator.core.plan import plan
from detection_operator.core.policies.image import pullable_digest
from tests.support.operator.observations import (
    NOW,
    SETTINGS,
    Story,
    ago,
    job,
    observed,
    pending_pod,
    pod,
    spec,
    training_attempt,
    under_way,
    waiting,
)

RAN = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
LOADED = "sha256:" + "c" * 64
IMAGE = "registry.example/trainer:1"
PINNED = f"registry.example/trainer@{RAN}"


@pytest.mark.parametrize(
    ("image", "image_id", "digest"),
    [
        (IMAGE, PINNED, RAN),
        ("trainer:1", f"docker.io/library/trainer@{RAN}", RAN),
        ("team/trainer", f"docker.io/team/trainer@{RAN}", RAN),
        ("docker.io/trainer:1", f"docker.io/library/trainer@{RAN}", RAN),
        ("localhost:5000/trainer:1", f"localhost:5000/trainer@{RAN}", RAN),
        (f"registry.example/trainer:1@{RAN}", PINNED, RAN),
        (IMAGE, f"docker-pullable://{PINNED}", RAN),
        (IMAGE, LOADED, None),
        (IMAGE, f"docker://{LOADED}", None),
        (IMAGE, f"docker.io/library/import-2026-11-24@{RAN}", None),
        (IMAGE, "registry.example/trainer@md5:00", None),
        (IMAGE, "", None),
    ],
    ids=[
        "pulled from a registry",
        "a short name is Docker Hub's library",
        "a name with one slash is Docker Hub's",
        "the library may be left out",
        "a registry with a port",
        "requested by digest",
        "as Docker reports it",
        "loaded into the node: its id is the node's own",
        "loaded into a node with Docker",
        "loaded under another name",
        "another kind of digest",
        "not known",
    ],
)
def test_pullable_digest(image: str, image_id: str, digest: str | None) -> None:
    assert pullable_digest(image, image_id) == digest


def test_the_next_attempt_runs_what_the_first_ran() -> None:
    story = Story(spec(), Status())
    story.start()
    story.jobs = (job(pod(image_id=PINNED, running_since=story.now), created_at=story.now),)
    story.report(40, 40)
    story.plan()
    assert story.status.current_attempt is not None
    assert story.status.current_attempt.image_id == PINNED
    assert (story.status.image, story.status.image_digest) == (IMAGE, RAN)
    story.end(137)
    again = story.start()
    assert (again.number, again.image) == (2, PINNED)
    assert story.status.current_attempt.image == PINNED
    story.plan()
    assert (story.status.image, story.status.image_digest) == (IMAGE, RAN), "kept"


def test_a_check_after_the_first_attempt_runs_it_too() -> None:
    status = Status(image=IMAGE, image_digest=RAN)
    (check,) = plan(observed(spec(preflight="Always"), status), SETTINGS, NOW).actions
    assert isinstance(check, StartPreflight)
    assert check.image == PINNED


@pytest.mark.parametrize(
    ("asked", "used", "digest"),
    [(None, PINNED, RAN), (IMAGE, PINNED, RAN), ("mine:2", "mine:2", None)],
    ids=["the operator's", "the same is requested", "another is requested"],
)
def test_the_pin_is_kept_until_another_image_is_requested(
    asked: str | None, used: str, digest: str | None
) -> None:
    status = Status(image=IMAGE, image_digest=RAN)
    decided = plan(observed(spec(image=asked), status), SETTINGS, NOW)
    (start,) = decided.actions
    assert isinstance(start, StartAttempt)
    assert (start.image, decided.status.image_digest) == (used, digest)


def test_what_a_moved_tag_has_become_does_not_move_the_pin() -> None:
    """An attempt that runs by tag though a digest is known was made by an older operator."""
    attempt = training_attempt(image="registry.example/trainer:2")
    status = under_way(attempt, image=IMAGE, image_digest=RAN)
    running = job(pod(image_id=f"registry.example/trainer@{OTHER}"))
    after = plan(observed(spec(), status, running), SETTINGS, NOW).status
    assert after.image_digest == RAN


def test_an_image_that_was_loaded_into_the_node_is_reported_and_not_pinned() -> None:
    after = plan(observed(spec(), under_way(), job(pod(image_id=LOADED))), SETTINGS, NOW).status
    assert after.current_attempt is not None
    assert after.current_attempt.image_id == LOADED
    assert after.image_digest is None


def test_a_digest_that_its_registry_lost_is_reported_with_a_remedy() -> None:
    status = under_way(training_attempt(image=PINNED, started_at=None), image_digest=RAN)
    held = pending_pod(waiting=waiting("ErrImagePull", "not found", since=ago(700)))
    after = plan(observed(spec(), status, job(held)), SETTINGS, NOW).status
    ready = next(c for c in after.conditions if c.type == "Ready")
    assert ready.reason == "ImagePullFailed"
    assert "name another tag in spec.image" in ready.message
