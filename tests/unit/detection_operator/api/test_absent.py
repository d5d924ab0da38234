"""Rules read an absent field as its default, and compare it so."""

from typing import Any

import pytest

from detection_operator.api.absent import Field, reading_defaults, same

Schema = dict[str, Any]

SCHEDULE: Schema = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "enum": ["step", "cosine"], "default": "cosine"},
        "warmup": {"type": "string", "enum": ["Linear"]},
        "holdSteps": {"type": "integer"},
        "boundaries": {"type": "array", "default": []},
    },
    "default": {"type": "cosine", "boundaries": []},
}
SPEC: Schema = {
    "type": "object",
    "properties": {
        "steps": {"type": "integer"},
        "workers": {"type": "integer", "default": 1},
        "seed": {"type": "integer", "default": 0},
        "loss": {"type": "number", "default": 0.25},
        "deterministic": {"type": "boolean", "default": False},
        "schedule": SCHEDULE,
    },
}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        pytest.param("self.steps > 0", "self.steps > 0", id="no default"),
        pytest.param("self.workers == 1", "self.?workers.orValue(1) == 1", id="an integer"),
        pytest.param("self.loss > 0.0", "self.?loss.orValue(0.25) > 0.0", id="a number"),
        pytest.param("!self.deterministic", "!self.?deterministic.orValue(false)", id="a boolean"),
        pytest.param(
            "self.schedule.type == 'step'",
            "self.?schedule.?type.orValue(\"cosine\") == 'step'",
            id="below an object that has a default",
        ),
        pytest.param("has(self.steps)", "has(self.steps)", id="a check"),
        pytest.param(
            "has(self.schedule.holdSteps) && self.schedule.holdSteps > 1",
            "self.?schedule.?holdSteps.hasValue() && self.schedule.holdSteps > 1",
            id="a check below an object that has a default",
        ),
        pytest.param(
            "self.seed == oldSelf.seed",
            "self.?seed.orValue(0) == oldSelf.?seed.orValue(0)",
            id="the object before",
        ),
        pytest.param("self.matches('a.b')", "self.matches('a.b')", id="a function of the object"),
        pytest.param(
            "size(self.metadata.name) < 4", "size(self.metadata.name) < 4", id="an unknown field"
        ),
        pytest.param(
            "has(self.schedule.boundaries)",
            "self.?schedule.?boundaries.hasValue()",
            id="a check of a list, despite its default",
        ),
    ],
)
def test_a_rule_reads_defaults(rule: str, expected: str) -> None:
    assert reading_defaults(rule, SPEC) == expected


def test_a_check_of_a_field_with_a_default_is_refused() -> None:
    with pytest.raises(TypeError, match="workers has a default"):
        reading_defaults("has(self.workers)", SPEC)


def test_two_defaults_of_one_field_are_refused() -> None:
    around: Schema = {"properties": {"schedule": {**SCHEDULE, "default": {"type": "step"}}}}
    with pytest.raises(TypeError, match=r"schedule\.type: two defaults, 'step' and 'cosine'"):
        Field.at(around, ("schedule", "type"))


@pytest.mark.parametrize(
    ("parent", "names", "expected"),
    [
        pytest.param(
            SPEC,
            ("seed",),
            "self.spec.?seed.orValue(0) == oldSelf.spec.?seed.orValue(0)",
            id="a default",
        ),
        pytest.param(SPEC, ("steps",), "self.spec.?steps == oldSelf.spec.?steps", id="no default"),
        pytest.param(
            SCHEDULE,
            ("schedule", "warmup"),
            '(self.spec.?schedule.?warmup.orValue("") == "Linear") == '
            '(oldSelf.spec.?schedule.?warmup.orValue("") == "Linear")',
            id="one of some texts",
        ),
        pytest.param(
            SCHEDULE,
            ("schedule", "boundaries"),
            "(has(self.spec.schedule) && has(self.spec.schedule.boundaries)) == "
            "(has(oldSelf.spec.schedule) && has(oldSelf.spec.schedule.boundaries)) && "
            "(!(has(self.spec.schedule) && has(self.spec.schedule.boundaries)) || "
            "self.spec.schedule.boundaries == oldSelf.spec.schedule.boundaries)",
            id="a list",
        ),
    ],
)
def test_a_field_is_compared(parent: Schema, names: tuple[str, ...], expected: str) -> None:
    assert same(parent, *names) == expected
