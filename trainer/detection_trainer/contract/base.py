"""The pydantic base of every message and document in the contract."""

import hashlib
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

DIGEST_PREFIX = "sha256:"


class Contract(BaseModel):
    """A camelCase document; unknown fields, NaN and infinity are errors."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


def dump(model: BaseModel) -> dict[str, Any]:
    """Return `model` as JSON-ready data, without the fields that were not set."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def canonical_digest(value: Any) -> str:
    """Return `sha256:<hex>` over the canonical JSON of `value`."""
    return text_digest(json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False))


def text_digest(text: str) -> str:
    """Return `sha256:<hex>` of `text` in UTF-8."""
    return bytes_digest([text.encode()])


def bytes_digest(pieces: Iterable[bytes | memoryview]) -> str:
    """Return `sha256:<hex>` of all `pieces` one after the other."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return written_digest(digest)


def written_digest(digest: "hashlib._Hash") -> str:
    """Return the state of a SHA-256 as documents, manifests and messages write it.

    >>> written_digest(hashlib.sha256())[:19]
    'sha256:e3b0c44298fc'
    """
    return f"{DIGEST_PREFIX}{digest.hexdigest()}"


CEL_KEY = "x-kubernetes-validations"


Rule = dict[str, Any]
"""One rule of `x-kubernetes-validations`."""

NEW_START = "newStart"
"""The validation context of a spec that is about to be started for the first time."""


def is_new_start(info: ValidationInfo) -> bool:
    """Return whether the checks of a first start apply.

    A stored training may have started before a check existed: it must still be served.
    """
    return info.context == NEW_START


def cel(rule: str, message: str, **more: Any) -> Rule:
    """Return one rule of `x-kubernetes-validations`."""
    return {"rule": rule, "message": message, **more}


def text_rule(
    pattern: str, expected: str, stored: str | None = None
) -> tuple[FieldInfo, AfterValidator]:
    """Return the annotations of a text that matches `pattern`, at admission and in Python.

    The API server would print a `pattern` of the schema; of this rule it prints `expected`.

    Args:
        pattern: what the text must match.
        expected: the rule in words.
        stored: what the text of a training that has started must match, if that is less.

    >>> from pydantic import TypeAdapter
    >>> field = Annotated[str, *text_rule("^a+$", "expected the letter a")]
    >>> TypeAdapter(field).validate_python("aa")
    'aa'
    """
    new, old = re.compile(pattern), re.compile(stored or pattern)

    def check(text: str, info: ValidationInfo) -> str:
        if not (new if is_new_start(info) else old).search(text):
            msg = f"{expected}; received {text!r}"
            raise ValueError(msg)
        return text

    rule = cel(f"self.matches({json.dumps(pattern)})", expected)
    extra: dict[str, Any] = {CEL_KEY: [rule]}
    return Field(json_schema_extra=extra), AfterValidator(check)


EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


def _utc(time: datetime) -> datetime:
    """Return `time` in UTC, where one without a zone is; RFC 3339 has years of four digits."""
    zoned = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    if not EARLIEST <= zoned <= LATEST:
        msg = f"expected a time from {EARLIEST:%Y-%m-%d} to {LATEST:%Y-%m-%d}; received {time}"
        raise ValueError(msg)
    return zoned.astimezone(UTC)


STORAGE_SCHEMES = ("s3://", "gs://", "az://", "file:///")
StorageUri = Annotated[
    str, Field(min_length=6, max_length=1024, pattern=r"^(s3://|gs://|az://|file:///).+$")
]
"""Where something is stored, as reports and manifests have it."""
RestoreUri = Annotated[
    str, Field(min_length=6, max_length=1024, pattern=r"^(s3://|gs://|az://|file:///|keras://).+$")
]
"""Where weights came from, as reports and manifests have it."""
_BUCKET = "(s3|gs)://[a-zA-Z0-9][a-zA-Z0-9._:-]{2,254}|az://[a-zA-Z0-9$][a-zA-Z0-9._-]{2,62}"
_PLACES = f"({_BUCKET})(/|$)|file:///."
_BUCKET_RULE = (
    "a bucket's name has 3 to 255 characters (az: 63): letters, digits, dots, hyphens and "
    "underscores"
)
STORAGE_RULE = (
    "expected s3://BUCKET/PATH, gs://BUCKET/PATH, az://CONTAINER/PATH or file:///PATH, where "
    f"{_BUCKET_RULE}"
)
RESTORE_RULE = (
    "expected s3://BUCKET/PATH, gs://BUCKET/PATH, az://CONTAINER/PATH, file:///PATH or "
    f"keras://MODEL/WEIGHTS, where {_BUCKET_RULE}"
)
SpecStorageUri = Annotated[
    str,
    Field(max_length=1024),
    *text_rule(f"^({_PLACES})", STORAGE_RULE, stored="^(s3://|gs://|az://|file:///)."),
]
"""Where something is stored, as a person writes it into a spec."""
SpecRestoreUri = Annotated[
    str,
    Field(max_length=1024),
    *text_rule(
        f"^({_PLACES}|keras://.)",
        RESTORE_RULE,
        stored="^(s3://|gs://|az://|file:///|keras://).",
    ),
]
"""Where weights come from, as a person writes it into a spec."""
MAX_COUNT = 2**53 - 1
"""The largest integer that every reader of JSON takes as it is; Kubernetes refuses from 2**63."""
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Time = Annotated[datetime, AfterValidator(_utc)]
Positive = Annotated[int, Field(ge=1, le=2**31 - 1)]
Name = Annotated[str, Field(min_length=1, max_length=253)]
MAX_CLASS_NAME = 128
ClassName = Annotated[str, Field(min_length=1, max_length=MAX_CLASS_NAME)]
Digest = Annotated[str, Field(max_length=80, pattern=rf"^{DIGEST_PREFIX}[0-9a-f]{{64}}$")]
Text = Annotated[str, Field(max_length=1024)]
Message = Annotated[str, Field(max_length=16384)]
