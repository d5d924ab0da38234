"""Reads the audit log of a cluster: one request per line, in the order of the answers."""

from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from detection_operator.cluster.api.decode import decode

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One write that the API server made."""

    time: str
    verb: str
    resource: str
    """The plural with its subresource, for example `jobs/status`."""
    namespace: str
    name: str
    agent: str
    body: Object
    """The object after the write, if the policy keeps it; else empty."""


def read_audit(path: Path) -> Iterator[Entry]:
    """Return the writes that succeeded, in the order of their answers."""
    with path.open("rb") as lines:
        for line in lines:
            event = decode(line)
            code = (event.get("responseStatus") or {}).get("code", 0)
            if event["stage"] == "ResponseComplete" and code < HTTPStatus.BAD_REQUEST:
                yield _entry(event)


def _entry(event: Object) -> Entry:
    about = event.get("objectRef") or {}
    body = event.get("responseObject") or {}
    resource = about.get("resource", "")
    if sub := about.get("subresource"):
        resource += f"/{sub}"
    # Only the answer may have the name of a created object.
    name = about.get("name") or (body.get("metadata") or {}).get("name", "")
    return Entry(
        time=event["requestReceivedTimestamp"],
        verb=event["verb"],
        resource=resource,
        namespace=about.get("namespace", ""),
        name=name,
        agent=event.get("userAgent", ""),
        body=body,
    )
