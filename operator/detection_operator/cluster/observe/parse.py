"""Pure functions from Kubernetes objects to what `plan` is given (core/state.py)."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from detection_operator import names
from detection_operator.api.times import read_time
from detection_operator.api.v1alpha1 import PipelineConfigStatus, Spec, Status
from detection_operator.cluster.api.resources import Key, Object
from detection_operator.cluster.observe.configs import read_config
from detection_operator.core.case import end_is_recorded
from detection_operator.core.state import (
    Identity,
    Job,
    Training,
    UnreadSpec,
)
from detection_operator.errors import UnreadableError
from detection_trainer.contract.base import dump, text_digest
from detection_trainer.contract.pipeline_config.expansion import expand, source_of
from detection_trainer.contract.pipeline_config.reading import PipelineConfigError
from detection_trainer.contract.spec import PipelineConfigSource
from detection_trainer.contract.training import explain

logger = logging.getLogger(__name__)

MAX_REMOVALS = 100
MAX_NOTES, MAX_NOTE = 200, 1024
BORN = datetime.min.replace(tzinfo=UTC)
"""Replaces a missing time."""


def parse_time(text: str | None) -> datetime | None:
    """Return a metav1.Time or MicroTime as an aware datetime.

    Raises:
        ValueError: it is not a time.
    """
    return read_time(str(text)) if text else None


def text_of(value: Any) -> str:
    """Return a text; None becomes an empty one.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    msg = f"expected a text; received {json.dumps(value)[:64]}"
    raise TypeError(msg)


def whole_number(value: Any, at_least: int = 0) -> int:
    """Return a whole number of 64 bits that is not below `at_least`.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(value, int) and not isinstance(value, bool) and at_least <= value < 2**63:
        return value
    msg = f"expected a whole number of at least {at_least}; received {json.dumps(value)[:64]}"
    raise TypeError(msg)


def key_of(body: Object) -> Key:
    """Return the key of a DetectionTraining."""
    return Key(body["metadata"]["namespace"], body["metadata"]["name"])


def parse_training(body: Object, found: str | None = None) -> Training:
    """Return a DetectionTraining; an invalid spec becomes `invalid`, never an error.

    Raises:
        UnreadableError: the status is invalid; nothing may be decided without it.
    """
    metadata, status = body["metadata"], _readable_status(body)
    stored, generation = body.get("spec") or {}, whole_number(metadata.get("generation", 0))
    labels = metadata.get("labels") or {}
    spec, invalid, config = parse_any_spec(stored, status, generation, found)
    return Training(
        identity=Identity(metadata["namespace"], metadata["name"], metadata["uid"]),
        generation=generation,
        resource_version=metadata["resourceVersion"],
        created_at=parse_time(metadata.get("creationTimestamp")) or BORN,
        deleting="deletionTimestamp" in metadata,
        spec=spec,
        status=status,
        invalid=invalid,
        pipeline_config=config,
        labels={name: text_of(value) for name, value in labels.items()},
    )


def parse_spec(spec: Object) -> tuple[Spec | None, str]:
    """Return the spec, or None and what is wrong with it."""
    try:
        return Spec.model_validate(spec), ""
    except ValidationError as error:
        return None, explain(error)


def parse_any_spec(
    spec: Object, status: Status, generation: int, found: str | None
) -> tuple[Spec | None, str, PipelineConfigStatus | None]:
    """Return the spec, completed by its pipelineConfig if it has one, or what is wrong with it.

    A spec whose configuration is at a URI that no pod has read yet is an UnreadSpec.
    """
    try:
        return _whole_spec(spec, status, generation, found)
    except ValidationError as error:
        return None, explain(error), None
    except PipelineConfigError as error:
        return None, f"pipelineConfig: {error}.", None
    except Exception as error:
        # Whatever the configuration contains: this training is refused, and the others are served.
        logger.exception("a spec could not be read")
        return None, f"it cannot be read: {type(error).__name__}: {error}.", None


def _whole_spec(
    spec: Object, status: Status, generation: int, found: str | None
) -> tuple[Spec | None, str, PipelineConfigStatus | None]:
    place = source_of(spec)
    if place is None:
        return *parse_spec(spec), None
    text = _config_text(place, status, generation, found)
    if text is None and place.uri is not None:
        return UnreadSpec.model_validate(spec), "", None
    if text is None:
        return None, "pipelineConfig: its ConfigMap has not been read yet.", None
    config = read_config(text)
    whole = Spec.model_validate(expand(spec, config, Spec))
    notes = [note[:MAX_NOTE] for note in config.notes[:MAX_NOTES]]
    config_status = PipelineConfigStatus(
        digest=text_digest(text), text=text, uri=place.uri, passed_over=notes
    )
    return whole, "", config_status


def _config_text(
    place: PipelineConfigSource, status: Status, generation: int, found: str | None
) -> str | None:
    """Return the pipeline.config to use; a training with a checkpoint keeps the one it began with.

    None: nobody has read it yet.
    """
    pinned = status.pipeline_config.text if status.pipeline_config else None
    if status.latest_checkpoint is not None and pinned is not None:
        return pinned
    if place.uri is not None:
        return pinned if _is_read(place.uri, status, generation) else None
    return place.inline or found or pinned


def _is_read(uri: str, status: Status, generation: int) -> bool:
    """Return whether the text in the status is that of `uri` as an attempt or preflight read it."""
    pinned, attempt, check = status.pipeline_config, status.current_attempt, status.preflight
    if pinned is None or pinned.uri != uri:
        return False
    if attempt is not None and not end_is_recorded(attempt):
        return True
    if check is None or check.outcome is None:
        return False
    return check.outcome.exit_code == 0 and check.generation == generation


def _readable_status(body: Object) -> Status:
    try:
        return parse_status(body.get("status") or {})
    except ValidationError as error:
        msg = (
            f"The status of {key_of(body)} cannot be read: {explain(error)}. Correct the fields "
            "named (kubectl edit --subresource=status); nothing is decided until then."
        )
        raise UnreadableError(msg) from error


def parse_status(status: Object) -> Status:
    """Return the status, without what this version does not know (a newer one wrote it).

    If a condition has an unknown reason, all conditions are left out: each decision writes them
    again.

    Raises:
        pydantic.ValidationError: another field that is known is invalid.
    """
    try:
        return Status.model_validate(status)
    except ValidationError as error:
        problems = error.errors()
        unknown = [p["loc"] for p in problems if p["type"] == "extra_forbidden"]
        if any(p["loc"][0] == "conditions" for p in problems):
            unknown = [loc for loc in unknown if loc[0] != "conditions"] + [("conditions",)]
        elif len(unknown) < len(problems):
            raise
        return Status.model_validate(_without(status, unknown[:MAX_REMOVALS]))


def _without(document: Object, paths: list[tuple[int | str, ...]]) -> Object:
    result: Object = json.loads(json.dumps(document))
    for *parents, last in paths:
        place: Any = result
        for parent in parents:
            place = place[parent]
        place.pop(last, None)
    return result


def render_status(status: Status) -> Object:
    """Return the status as it is written: without fields that are empty or not known."""
    rendered: Object = _prune(dump(status))
    return rendered


def _prune(value: Any) -> Any:
    if isinstance(value, dict):
        pruned = {key: _prune(item) for key, item in value.items()}
        return {key: item for key, item in pruned.items() if item not in ({}, [], None)}
    if isinstance(value, list):
        return [_prune(item) for item in value]
    return value


def parse_job(body: Object) -> Job:
    """Return a Job, without its pods."""
    metadata, status = body["metadata"], body.get("status") or {}
    listed = status.get("conditions") or []
    conditions = {text_of(c["type"]): c for c in listed if c["status"] == "True"}
    failure = conditions.get("Failed") or (_UNRECORDED if _is_exhausted(body, conditions) else {})
    ended = failure or conditions.get("Complete") or {}
    return Job(
        name=metadata["name"],
        uid=metadata["uid"],
        created_at=parse_time(metadata.get("creationTimestamp")) or BORN,
        workers=whole_number(body.get("spec", {}).get("parallelism") or 1),
        attempt=parse_attempt(metadata.get("labels") or {}),
        complete="Complete" in conditions,
        failed=bool(failure),
        failure_reason=text_of(failure.get("reason")),
        failure_message=text_of(failure.get("message")),
        suspended=bool(body.get("spec", {}).get("suspend")),
        deleting="deletionTimestamp" in metadata,
        finished_at=parse_time(ended.get("lastTransitionTime")),
    )


_UNRECORDED: Object = {
    "reason": "BackoffLimitExceeded",
    "message": "A pod of the Job failed; the Job controller has not recorded the Job's end.",
}
_ENDING = frozenset({"Complete", "Failed", "FailureTarget", "SuccessCriteriaMet"})


def _is_exhausted(body: Object, conditions: Object) -> bool:
    """Return whether a pod of the Job has failed, none is left, and no end is being recorded.

    Such a Job makes no other pod, since it has no retries (backoffLimit 0), and the Job controller
    is about to mark it as failed. A controller whose watches broke meanwhile never does.
    """
    status, spec = body.get("status") or {}, body.get("spec") or {}
    uncounted = status.get("uncountedTerminatedPods") or {}
    left = status.get("active") or status.get("terminating") or any(uncounted.values())
    may_continue = spec.get("backoffLimit") != 0 or spec.get("suspend") or left
    return bool(status.get("failed")) and not may_continue and not _ENDING & conditions.keys()


def parse_attempt(labels: Object) -> int | None:
    """Return the attempt's number from an object's labels; None on a preflight's."""
    text = str(labels.get(names.LABEL_ATTEMPT, ""))
    return int(text) if text.isdigit() else None


def parse_index(labels: Object) -> int:
    """Return the worker's index of a pod; 0 if it has none."""
    text = str(labels.get(names.LABEL_INDEX, ""))
    return int(text) if text.isdigit() else 0
