"""The document a trainer reads: a DetectionTraining, as `kubectl apply` takes it.

YAML is read as kubectl does: the core schema's booleans and numbers, so that `1e-4` is a number;
a YAML 1.1 `no` stays what kubectl makes of it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, ValidationError

from detection_trainer.contract.base import NEW_START, Contract, dump
from detection_trainer.contract.documents import (
    MAX_DOCUMENT_BYTES,
    DocumentError,
    kind_of,
    parse_yaml,
)
from detection_trainer.contract.pipeline_config.expansion import expand, source_of
from detection_trainer.contract.pipeline_config.mapping import read_pipeline_config
from detection_trainer.contract.pipeline_config.reading import PipelineConfigError
from detection_trainer.contract.spec import KUBERNETES_FIELDS, PipelineConfigSource, TrainingSpec

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

API_VERSION = "detectiontraining.dev/v1alpha1"
KIND = "DetectionTraining"
MAX_EXPLAINED = 20
"""Problems of a document that a message lists."""
_COCO_FIELDS = frozenset({"images", "annotations"})
MAX_SHOWN = 200
"""Characters of a value that a message shows."""

_EXPECTED = {
    "missing": "expected a value for this field",
    "extra_forbidden": "there is no field of this name: correct or remove it",
    "greater_than": "expected more than {gt}",
    "greater_than_equal": "expected at least {ge}",
    "less_than": "expected less than {lt}",
    "less_than_equal": "expected at most {le}",
    "multiple_of": "expected a multiple of {multiple_of}",
    "literal_error": "expected {expected}",
    "enum": "expected {expected}",
    "too_short": "expected at least {min_length} items",
    "too_long": "expected at most {max_length} items",
    "string_too_short": "expected at least {min_length} characters",
    "string_too_long": "expected at most {max_length} characters",
    "finite_number": "expected a finite number",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "expected a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "expected a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "expected true or false"),
    "string_type": "expected text",
    **dict.fromkeys(("list_type", "tuple_type"), "expected a list"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "expected an object"),
}
"""Kinds of pydantic's errors, in the words of this project."""

ReadConfig = Callable[[str], str]
"""Returns the text of the pipeline.config at a URI."""


class InvalidTrainingError(ValueError):
    """The document is not a DetectionTraining that can run; the message names each field."""


class Identity(Contract):
    """Whose run it is; written into the checkpoint folder as its owner."""

    namespace: Annotated[str, Field(max_length=63)] = "default"
    name: Annotated[str, Field(min_length=1, max_length=40)]


class Training(Contract):
    """A DetectionTraining as the trainer sees it."""

    identity: Identity
    spec: TrainingSpec
    uid: str = ""
    """The resource's uid; none by hand. Attempts are numbered within it."""
    set_aside: list[str] = []
    """Spec fields that only Kubernetes reads."""
    notes: tuple[str, ...] = ()
    """The statements of its `pipelineConfig` that are ignored, or done in another way."""
    config_text: str | None = None
    """The text that was read at `pipelineConfig.uri`."""


def read_training(path: Path, read_config: ReadConfig | None = None) -> Training:
    """Read the DetectionTraining in the file at `path`.

    Args:
        path: the file.
        read_config: reads what `pipelineConfig.uri` names; None: such a document is refused.

    Raises:
        InvalidTrainingError: the file is no YAML, another kind, or its spec is invalid.
    """
    try:
        document = parse_yaml(_read_text(path))
    except (OSError, UnicodeDecodeError, DocumentError) as error:
        msg = f"{path}: expected a DetectionTraining in YAML or JSON; reading it failed: {error}"
        raise InvalidTrainingError(msg) from error
    return parse_training(document, str(path), read_config)


def _read_text(path: Path) -> str:
    """Return the text at `path`; of a text that is too large, only enough to report that."""
    with path.open("rb") as file:
        data = file.read(MAX_DOCUMENT_BYTES + 1)
    return data.decode(errors="strict" if len(data) <= MAX_DOCUMENT_BYTES else "replace")


def parse_training(
    document: Any, source: str = "the document", read_config: ReadConfig | None = None
) -> Training:
    """Validate one DetectionTraining document.

    Raises:
        InvalidTrainingError: it is another kind, or its spec is invalid.
    """
    _require_kind(document, source)
    metadata, spec = (_map_at(document, field, source) for field in ("metadata", "spec"))
    set_aside = sorted(KUBERNETES_FIELDS & spec.keys())
    identity = {key: metadata[key] for key in ("namespace", "name") if metadata.get(key)}
    try:
        given = {k: v for k, v in spec.items() if k not in set_aside}
        whole, notes, text = _whole(given, read_config)
        return Training(
            identity=Identity.model_validate(identity),
            uid=metadata.get("uid") or "",
            spec=TrainingSpec.model_validate(whole),
            set_aside=set_aside,
            notes=notes,
            config_text=text,
        )
    except ValidationError as error:
        raise InvalidTrainingError(f"{source}: {explain(error)}") from error
    except PipelineConfigError as error:
        raise InvalidTrainingError(f"{source}: pipelineConfig: {error}") from error


def _require_kind(document: Any, source: str) -> None:
    fields = document if isinstance(document, dict) else {}
    kind, version = fields.get("kind"), fields.get("apiVersion")
    if (kind, version) == (KIND, API_VERSION):
        return
    received = kind_of(document)
    if kind is not None:
        of = "without apiVersion" if version is None else f"of {_shown(version)}"
        received = f"kind {_shown(kind)} {of}"
    advice = ""
    if fields.keys() >= _COCO_FIELDS:
        advice = ". It seems to be COCO's instances JSON: use `detection-trainer convert coco`"
    msg = f"{source}: expected kind {KIND} of {API_VERSION}; received {received}{advice}"
    raise InvalidTrainingError(msg)


def _map_at(document: dict[str, Any], field: str, source: str) -> dict[str, Any]:
    value = document.get(field) or {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        msg = f"{source}: {field}: expected a map with names as keys; received {_shown(value)}"
        raise InvalidTrainingError(msg)
    return dict(value)


def _whole(
    spec: dict[str, Any], read_config: ReadConfig | None
) -> tuple[dict[str, Any], tuple[str, ...], str | None]:
    """Return the spec with the values of its pipelineConfig, what is ignored, and what was read."""
    place = source_of(spec)
    if place is None:
        return spec, (), None
    text = _text_of(place, read_config)
    try:
        config = read_pipeline_config(text)
        whole = expand(spec, config, TrainingSpec)
    except PipelineConfigError as error:
        if place.uri is None:
            raise
        raise InvalidTrainingError(f"pipelineConfig.uri: {place.uri}: {error}") from error
    return whole, config.notes, None if place.uri is None else text


def _text_of(place: PipelineConfigSource, read_config: ReadConfig | None) -> str:
    if place.inline is not None:
        return place.inline
    if place.uri is None:
        raise PipelineConfigError(
            "configMapKeyRef is read by the operator, in a cluster only: use inline or uri, or "
            "`detection-trainer run --pipeline-config FILE`"
        )
    if read_config is None:
        raise PipelineConfigError(
            f"uri: {place.uri} is not read by this command: use pipelineConfig.inline"
        )
    return read_config(place.uri)


def start_problem(spec: TrainingSpec) -> str | None:
    """Return why a training with this spec must not be started; None: it may.

    These checks are newer than trainings that may be stored. One that has started is served as
    before, so its spec is read without them.

    >>> from sandbox.samples.trainings import training
    >>> spec = TrainingSpec.model_validate(training(evaluation={"everySteps": 10})["spec"])
    >>> start_problem(spec)[:60]
    'spec: expected dataset.validation, the data to evaluate on; '
    """
    try:
        type(spec).model_validate(dump(spec), context=NEW_START)
    except ValidationError as error:
        return explain(error)
    return None


def explain(error: ValidationError) -> str:
    """Return what is wrong, field by field: what was expected and what was received."""
    problems = error.errors(include_url=False)
    lines = [_problem(problem) for problem in problems[:MAX_EXPLAINED]]
    hidden = len(problems) - len(lines)
    return "; ".join(lines) + (f"; and {hidden} more" if hidden else "")


def _problem(problem: "ErrorDetails") -> str:
    place = ".".join(str(part) for part in problem["loc"]) or "spec"
    message = problem_words(problem)
    if problem["type"] == "value_error" and "received" in message:
        return f"{place}: {message}"
    return f"{place}: {message} (received {_shown(problem['input'])})"


def problem_words(problem: "ErrorDetails") -> str:
    """Return what one of pydantic's errors means, in words that need no knowledge of this code."""
    words = _EXPECTED.get(problem["type"])
    if words is None:
        return problem["msg"].removeprefix("Value error, ")
    return words.format_map(problem.get("ctx", {}))


def _shown(value: Any) -> str:
    """Return the beginning of `value` as JSON, enough to recognise it."""
    text = ""
    for part in json.JSONEncoder(default=str, skipkeys=True).iterencode(value):
        text += part
        if len(text) > MAX_SHOWN:
            return text[:MAX_SHOWN] + "…"
    return text
