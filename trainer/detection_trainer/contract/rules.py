"""CEL rules that travel with the models into the generated CustomResourceDefinition."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ConfigDict

from detection_trainer.contract.base import CEL_KEY, Contract, Rule, cel, dump, is_new_start

__all__ = [
    "CEL_KEY",
    "cel",
    "cel_for_new",
    "exactly_one_of",
    "is_new_start",
    "only_with",
    "require_one",
    "require_only_with",
    "require_order",
    "rules_of",
    "with_rules",
]


def cel_for_new(rule: str, message: str, **more: Any) -> Rule:
    """Return a rule that an object may break if the stored one breaks it too.

    For rules that are newer than objects that may be stored: Kubernetes checks an unchanged field
    with no rule, but a rule of the whole spec would also refuse to suspend such an object.

    >>> cel_for_new("self.a < self.b", "a must be below b")["rule"]
    '(self.a < self.b) || oldSelf.optMap(old, !(old.a < old.b)).orValue(false)'
    """
    before = re.sub(r"\bself\.", "old.", rule)
    whole = f"({rule}) || oldSelf.optMap(old, !({before})).orValue(false)"
    return cel(whole, message, optionalOldSelf=True, **more)


def only_with(kind: str, fields: Mapping[str, Sequence[str]]) -> tuple[Rule, ...]:
    """Return rules for optional fields that have an effect only with some values of `kind`.

    >>> only_with("type", {"staircase": ["exponential"]})[0]["message"]
    'staircase is only valid with type exponential: remove it, or correct type'
    """
    return tuple(
        cel_for_new(
            f"!has(self.{field}) || self.{kind} in {list(values)}",
            f"{field} is only valid with {kind} {' or '.join(values)}: remove it, or correct "
            f"{kind}",
        )
        for field, values in fields.items()
    )


def require_only_with(model: Contract, kind: str, fields: Mapping[str, Sequence[str]]) -> None:
    """Do in Python what `only_with` does at admission.

    Raises:
        ValueError: a field has no effect with this value of `kind`.
    """
    given = dump(model)
    for field, values in fields.items():
        if field in given and given[kind] not in values:
            msg = (
                f"expected {field} only with {kind} {' or '.join(values)}; received {field} "
                f"{given[field]} with {kind} {given[kind]}: remove {field}, or correct {kind}"
            )
            raise ValueError(msg)


def with_rules(*rules: Rule) -> ConfigDict:
    """Return a model configuration whose schema carries `rules`."""
    extra: dict[str, Any] = {CEL_KEY: list(rules)}
    return ConfigDict(json_schema_extra=extra)


def exactly_one_of(*names: str) -> ConfigDict:
    """Return a model configuration whose schema demands exactly one of the fields `names`."""
    count = " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in names)
    return with_rules(cel(f"{count} == 1", f"exactly one of {', '.join(names)} must be set"))


def rules_of(config: ConfigDict) -> list[Rule]:
    """Return the rules that the schema of this model configuration carries."""
    extra: Any = config["json_schema_extra"]
    return list(extra[CEL_KEY])


def require_one(model: Contract, what: str, *names: str) -> None:
    """Do in Python what `exactly_one_of` does at admission.

    Raises:
        ValueError: none of `names` is set, or several are.
    """
    given = sorted(set(names) & dump(model).keys())
    if len(given) != 1:
        expected = ", ".join(names)
        received = ", ".join(given) or "none"
        msg = f"{what}: expected exactly one of {expected}; received {received}"
        raise ValueError(msg)


def require_order(what: str, **pair: float) -> None:
    """Do in Python what a rule `low <= high` does at admission.

    Raises:
        ValueError: the first of the two values is above the second.
    """
    (low, first), (high, second) = pair.items()
    if first > second:
        msg = (
            f"{what}: expected {low} at or below {high}; received {low} {first} and {high} "
            f"{second}: lower {low} or raise {high}"
        )
        raise ValueError(msg)
