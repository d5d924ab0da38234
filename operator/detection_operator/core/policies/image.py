"""Which trainer image the next pod runs: the same that the first attempt ran.

A tag can be pushed again, and a run that resumes with another program is not the same run. So the
digest that a node reports for the first attempt's container pins the image of later ones, until
`spec.image` names another image.
"""

from detection_operator.core.case import Case

DOCKER_HUB = "docker.io"
SCHEMES = ("docker-pullable://", "docker://")
"""Prefixes of an image's id on nodes whose runtime is Docker."""


def pinned_image(case: Case) -> str:
    """Return the image for the next pod: with its digest, once an attempt ran it."""
    digest = pinned_digest(case)
    return case.image if digest is None else f"{_without_tag(case.image)}@{digest}"


def pinned_digest(case: Case) -> str | None:
    """Return the pinned digest; None if the spec names another image than the one that ran."""
    return case.status.image_digest if case.status.image == case.image else None


def record_image(case: Case) -> Case:
    """Return `case` with the image that a node reports for the attempt's container."""
    attempt = case.attempt
    if attempt is None or attempt.image_id is not None:
        return case
    ids = (pod.image_id for pod in case.pods(attempt.job_name) if pod.image_id)
    if (found := next(ids, None)) is None:
        return case
    case = case.amended(current_attempt=attempt.model_copy(update={"image_id": found}))
    digest = pullable_digest(attempt.image, found)
    if digest is None or attempt.image != case.status.image:
        return case
    return case.amended(image_digest=digest)


def pullable_digest(image: str, image_id: str) -> str | None:
    """Return the digest by which a node can pull `image` again, from the id that it reports.

    None if the id is local to the node (an image that was loaded, not pulled) or names another
    repository.
    """
    for scheme in SCHEMES:
        image_id = image_id.removeprefix(scheme)
    name, at, digest = image_id.partition("@")
    known = at and digest.startswith("sha256:") and _repository(name) == _repository(image)
    return digest if known else None


def _without_tag(image: str) -> str:
    name = image.partition("@")[0]
    path, slash, last = name.rpartition("/")
    return f"{path}{slash}{last.partition(':')[0]}"


def _repository(image: str) -> str:
    """Return the full name, as runtimes complete it: `trainer:1` is docker.io/library/trainer."""
    name = _without_tag(image)
    host, slash, rest = name.partition("/")
    if not slash or not (host == "localhost" or "." in host or ":" in host):
        host, rest = DOCKER_HUB, name
    if host == DOCKER_HUB and "/" not in rest:
        rest = f"library/{rest}"
    return f"{host}/{rest}"
