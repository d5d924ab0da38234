"""What an administrator sets on the pods of all trainings: the chart's values under `trainer`.

A wrong value would make every Job of every training fail. The operator therefore checks the values
when it starts, as far as it can without the cluster. `values.schema.json` checks the same.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from detection_operator.api.pod_template import EnvVariable, LocalReference, Toleration
from detection_operator.api.v1alpha1 import GROUP
from detection_trainer.contract import runtime
from detection_trainer.contract.base import Contract

RESERVED_VARIABLES = ("TF_CONFIG", "WORKER_INDEX")
"""Set by the operator for several workers, beside those that begin with runtime.PREFIX."""
_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_WORD = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"


def _require(kind: str, pattern: str, text: str) -> str:
    if not re.fullmatch(pattern, text):
        msg = f"expected {kind}; received {text!r}"
        raise ValueError(msg)
    return text


def _key(text: str) -> str:
    kind = "a key such as `team` or `example.com/team`"
    return _require(kind, rf"({_SUBDOMAIN}/)?{_WORD}", text)


def _own_key(text: str) -> str:
    if text.startswith(f"{GROUP}/"):
        msg = f"keys that begin with {GROUP}/ are the operator's own; received {text!r}: remove it"
        raise ValueError(msg)
    return _key(text)


def _label_value(text: str) -> str:
    kind = "a label's value (at most 63 letters, digits, `-`, `_`, `.`)"
    return _require(kind, rf"({_WORD})?", text)


def _name(text: str) -> str:
    return _require("the name of an object (an RFC 1123 subdomain)", rf"({_SUBDOMAIN})?", text)


LabelKey = Annotated[str, Field(max_length=317), AfterValidator(_own_key)]
NodeKey = Annotated[str, Field(max_length=317), AfterValidator(_key)]
LabelValue = Annotated[str, AfterValidator(_label_value)]
AnnotationValue = Annotated[str, Field(max_length=4096)]
Name = Annotated[str, Field(max_length=253), AfterValidator(_name)]
"""Of an object; empty: none."""


class DefaultVariable(EnvVariable):
    """core/v1 EnvVar, checked as the API server checks it."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _require(
            "a variable's name (letters, digits and `_`)", r"[A-Za-z_][A-Za-z0-9_]*", self.name
        )
        if self.name.startswith(runtime.PREFIX) or self.name in RESERVED_VARIABLES:
            msg = f"the operator sets {self.name} itself: remove it"
            raise ValueError(msg)
        sources = self.value_from.model_fields_set if self.value_from is not None else ()
        if (self.value is not None) + len(sources) > 1:
            msg = f"expected one of value and valueFrom for {self.name}; received several"
            raise ValueError(msg)
        return self


class DefaultReference(LocalReference):
    """core/v1 LocalObjectReference, with a name."""

    name: Annotated[str, Field(min_length=1, max_length=253), AfterValidator(_name)]


class DefaultToleration(Toleration):
    """core/v1 Toleration, checked as the API server checks it."""

    key: NodeKey | None = None
    operator: Literal["Exists", "Equal"] | None = None
    value: LabelValue | None = None
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.operator == "Exists":
            if self.value:
                msg = f"operator Exists takes no value; received {self.value!r}: remove it"
                raise ValueError(msg)
        elif not self.key:
            msg = "expected a key, or operator Exists, which tolerates all taints"
            raise ValueError(msg)
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            msg = f"tolerationSeconds requires effect NoExecute; received {self.effect!r}"
            raise ValueError(msg)
        return self


class PodDefaults(Contract):
    """Defaults of trainers' pods; the `podTemplate` of a training has precedence."""

    image_pull_secrets: Annotated[list[DefaultReference], Field(max_length=16)] = []
    pod_labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=64)] = {}
    pod_annotations: Annotated[dict[LabelKey, AnnotationValue], Field(max_length=64)] = {}
    node_selector: Annotated[dict[NodeKey, LabelValue], Field(max_length=64)] = {}
    tolerations: Annotated[list[DefaultToleration], Field(max_length=32)] = []
    priority_class_name: Name = ""
    runtime_class_name: Name = ""
    env: Annotated[list[DefaultVariable], Field(max_length=64)] = []
