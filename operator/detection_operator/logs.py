"""Logs as JSON lines (or text), each with the training that it concerns."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Protocol


class Named(Protocol):
    """What identifies a training: a Key or an Identity."""

    @property
    def namespace(self) -> str:
        """metadata.namespace."""

    @property
    def name(self) -> str:
        """metadata.name."""


def about(training: Named, *, attempt: int | None = None) -> dict[str, Any]:
    """Return the `extra` of a log call: the training, and which attempt of it."""
    fields = {
        "namespace": training.namespace,
        "name": training.name,
        "uid": getattr(training, "uid", None),
        "attempt": attempt,
    }
    return {"about": {key: value for key, value in fields.items() if value is not None}}


def about_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the training that a record concerns; Kopf's records have an attribute of their own."""
    ours: dict[str, Any] = getattr(record, "about", {})
    reference = getattr(record, "k8s_ref", None) or {}
    theirs = {key: reference[key] for key in ("namespace", "name", "uid") if reference.get(key)}
    return ours or theirs


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **about_of(record),
        }
        if decision := getattr(record, "decision", None):
            line["decision"] = decision
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """One line of text for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line."""
        when = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        who = about_of(record)
        place = f" {who['namespace']}/{who['name']}" if {"namespace", "name"} <= who.keys() else ""
        number = f"#{who['attempt']}" if "attempt" in who else ""
        text = f"{when} {record.levelname:<7}{place}{number} {record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def configure(log_format: str, level: int = logging.INFO) -> None:
    """Send all logs to standard error, as `json` or `text`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Hide one line for each event of each watch.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    # Hide one line for each endless retry: cluster/observe/watches.py logs a failure once.
    logging.getLogger("kopf._cogs.clients.watching").setLevel(logging.CRITICAL)
