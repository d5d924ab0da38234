"""Log lines: one JSON object or one line of text, each with its training."""

import json
import logging

import pytest

from detection_operator.cluster.api.resources import Key
from detection_operator.core.state import Identity
from detection_operator.logs import JsonFormatter, TextFormatter, about, configure


def record(message: str = "made %s", *, error: bool = False, **extra: object) -> logging.LogRecord:
    raised = ValueError("oops")
    info = (ValueError, raised, None) if error else None
    made = logging.LogRecord("operator", logging.INFO, "f.py", 1, message, ("it",), info)
    made.__dict__.update(extra)
    made.created = 0.0
    return made


def test_a_json_line_has_time_message_and_object() -> None:
    extra = about(Identity("vision", "trees", "u1"), attempt=3)
    line = json.loads(JsonFormatter().format(record(**extra)))
    assert line == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "level": "info",
        "logger": "operator",
        "message": "made it",
        "namespace": "vision",
        "name": "trees",
        "uid": "u1",
        "attempt": 3,
    }


def test_an_error_is_logged_with_its_traceback() -> None:
    assert "ValueError: oops" in json.loads(JsonFormatter().format(record(error=True)))["error"]
    assert "ValueError: oops" in TextFormatter().format(record(error=True))


def test_references_to_objects_by_kopf_are_understood() -> None:
    reference = {"namespace": "vision", "name": "trees", "uid": "u1", "kind": "DetectionTraining"}
    line = json.loads(JsonFormatter().format(record(k8s_ref=reference)))
    assert (line["namespace"], line["name"], line["uid"]) == ("vision", "trees", "u1")


def test_a_text_line_is_for_people() -> None:
    line = TextFormatter().format(record(**about(Key("vision", "trees"), attempt=2)))
    assert line == "00:00:00 INFO    vision/trees#2 made it"
    assert TextFormatter().format(record()) == "00:00:00 INFO    made it"


@pytest.mark.parametrize("form", ["json", "text"])
def test_logs_are_written_to_standard_error_once(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        configure(form)
        logging.getLogger("here").info("hello")
        logging.getLogger("kopf.objects").info("each event of each watch")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "hello" in lines[0]
