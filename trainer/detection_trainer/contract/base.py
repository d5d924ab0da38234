"""The pydantic base of every message and document in the contract."""

import hashlib
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

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
    """Return `model` as JSON-ready data, leaving out what was not said."""
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


def _whole_scheme(schemes: tuple[str, ...]) -> Callable[[str], str]:
    def check(uri: str) -> str:
        if not uri.startswith(schemes):
            expected = ", ".join(schemes)
            msg = f"expected a URI that starts with one of {expected}; received {uri!r}"
            raise ValueError(msg)
        return uri

    return check


EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


def _utc(time: datetime) -> datetime:
    """Return `time` in UTC, where one without a zone is; RFC 3339 has years of four digits."""
    zoned = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    if not EARLIEST <= zoned <= LATEST:
        msg = f"expected a time from {EARLIEST:%Y-%m-%d} to {LATEST:%Y-%m-%d}; received {time}"
        raise ValueError(msg)
    return zoned.astimezone(UTC)


STORAGE_SCHEMES = ("s3://", "gs://", "az://", "file:///")
RESTORE_SCHEMES = (*STORAGE_SCHEMES, "keras://")

StorageUri = Annotated[
    str,
    Field(min_length=6, max_length=1024, pattern=r"^(s3://|gs://|az://|file:///).+$"),
    AfterValidator(_whole_scheme(STORAGE_SCHEMES)),
]
RestoreUri = Annotated[
    str,
    Field(min_length=9, max_length=1024, pattern=r"^(s3://|gs://|az://|file:///|keras://).+$"),
    AfterValidator(_whole_scheme(RESTORE_SCHEMES)),
]
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
