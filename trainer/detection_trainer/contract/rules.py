"""CEL rules that travel with the models into the generated CustomResourceDefinition."""

from typing import Any

from pydantic import ConfigDict

CEL_KEY = "x-kubernetes-validations"


def cel(rule: str, message: str, **more: str) -> dict[str, str]:
    """Return one rule of `x-kubernetes-validations`."""
    return {"rule": rule, "message": message, **more}


def exactly_one_of(*names: str) -> ConfigDict:
    """Return a model configuration whose schema demands exactly one of the fields `names`."""
    count = " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in names)
    message = f"exactly one of {', '.join(names)} must be set"
    rules: dict[str, Any] = {CEL_KEY: [cel(f"{count} == 1", message)]}
    return ConfigDict(json_schema_extra=rules)
