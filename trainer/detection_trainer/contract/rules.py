"""CEL rules that travel with the models into the generated CustomResourceDefinition."""

from typing import Any

from pydantic import ConfigDict

from detection_trainer.contract.base import Contract, dump

CEL_KEY = "x-kubernetes-validations"


def cel(rule: str, message: str, **more: str) -> dict[str, str]:
    """Return one rule of `x-kubernetes-validations`."""
    return {"rule": rule, "message": message, **more}


def with_rules(*rules: dict[str, str]) -> ConfigDict:
    """Return a model configuration whose schema carries `rules`."""
    extra: dict[str, Any] = {CEL_KEY: list(rules)}
    return ConfigDict(json_schema_extra=extra)


def exactly_one_of(*names: str) -> ConfigDict:
    """Return a model configuration whose schema demands exactly one of the fields `names`."""
    count = " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in names)
    return with_rules(cel(f"{count} == 1", f"exactly one of {', '.join(names)} must be set"))


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
