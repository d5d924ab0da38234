"""CEL rules that travel with the models into the generated CustomResourceDefinition."""

from typing import Any

from pydantic import ConfigDict

from detection_trainer.contract.base import CEL_KEY, Contract, cel, dump

__all__ = [
    "CEL_KEY",
    "cel",
    "exactly_one_of",
    "require_one",
    "require_order",
    "rules_of",
    "with_rules",
]


def with_rules(*rules: dict[str, str]) -> ConfigDict:
    """Return a model configuration whose schema carries `rules`."""
    extra: dict[str, Any] = {CEL_KEY: list(rules)}
    return ConfigDict(json_schema_extra=extra)


def exactly_one_of(*names: str) -> ConfigDict:
    """Return a model configuration whose schema demands exactly one of the fields `names`."""
    count = " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in names)
    return with_rules(cel(f"{count} == 1", f"exactly one of {', '.join(names)} must be set"))


def rules_of(config: ConfigDict) -> list[dict[str, str]]:
    """Return the rules that the schema of this model configuration carries."""
    extra: Any = config["json_schema_extra"]
    return list(extra[CEL_KEY])


def require_one(model: Contract, what: str, *names: str) -> None:
    """Do in Python what `exactly_one_of` does at admission.

    Raises:
        ValueError: none of `names` is said, or several.
    """
    said = sorted(set(names) & dump(model).keys())
    if len(said) != 1:
        expected = ", ".join(names)
        received = ", ".join(said) or "none"
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
