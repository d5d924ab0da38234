"""CEL rules that read an absent field as its default.

Objects are stored as their authors wrote them, without defaults. Rules are written as if the
defaults were there, `self.type == 'cosine'`, and become
`self.?type.orValue("cosine") == 'cosine'`. The defaults are those of the schema, which has them
from the models.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]

_PATH = r"\b(?P<of>self|oldSelf|old)\.(?P<path>[A-Za-z]\w*(?:\.[A-Za-z]\w*)*)"
_CHECK = re.compile(rf"\bhas\({_PATH}\)")
_READ = re.compile(rf"(?<!has\()(?<![\w.]){_PATH}(?P<call>\()?")


@dataclass(frozen=True, slots=True)
class Field:
    """A field below an object, and how a rule reads it."""

    names: tuple[str, ...]
    given: int
    """How many of the names are there wherever a rule reads them."""
    default: Any
    """None: the field has none, and a rule that reads it checks first that it is there."""

    @classmethod
    def at(cls, schema: Schema, names: tuple[str, ...]) -> "Field":
        """Return the field that is reached from an object of `schema` by `names`.

        Raises:
            TypeError: the default of an object around it gives it another value than its own.
        """
        given, default, around = len(names), None, None
        for depth, name in enumerate(names):
            schema = schema.get("properties", {}).get(name, {})
            around = around.get(name) if isinstance(around, dict) else None
            default = schema.get("default")
            if around is not None and default is not None and around != default:
                msg = f"{'.'.join(names)}: two defaults, {around!r} and {default!r}"
                raise TypeError(msg)
            default = around if default is None else default
            if default is not None:
                given, around = min(given, depth), default
        return cls(names, given, default)

    def optional(self, of: str) -> str:
        """Return the expression of its optional value.

        >>> Field(("model", "fpn", "minLevel"), 1, 3).optional("self")
        'self.model.?fpn.?minLevel'
        """
        given = "".join(f".{name}" for name in self.names[: self.given])
        return of + given + "".join(f".?{name}" for name in self.names[self.given :])

    def value(self, of: str) -> str:
        """Return the expression of its value.

        >>> Field(("seed",), 0, 0).value("self")
        'self.?seed.orValue(0)'
        """
        if self.default is None or self.is_list:
            return ".".join((of, *self.names))
        return f"{self.optional(of)}.orValue({json.dumps(self.default)})"

    def present(self, of: str) -> str:
        """Return the expression that is true where it is there.

        Raises:
            TypeError: it has a default that rules read, so they need not ask.
        """
        if self.default is not None and not self.is_list:
            msg = f"{'.'.join(self.names)} has a default: has() is not needed"
            raise TypeError(msg)
        # The optional form is for what is around the field: has() asks for the field itself.
        if self.given >= len(self.names) - 1:
            return f"has({'.'.join((of, *self.names))})"
        return f"{self.optional(of)}.hasValue()"

    @property
    def is_list(self) -> bool:
        """Whether a rule asks with has() despite a default.

        The API server knows no bound for the cost of a list that `orValue` returns.
        """
        return isinstance(self.default, list)


def reading_defaults(rule: str, schema: Schema) -> str:
    r"""Return `rule`, which belongs to an object of `schema`, so that it reads defaults.

    >>> schema = {"properties": {"type": {"default": "cosine"}, "steps": {}}}
    >>> reading_defaults("self.type == 'step' || has(self.steps)", schema)
    'self.?type.orValue("cosine") == \'step\' || has(self.steps)'
    """

    def check(match: re.Match[str]) -> str:
        return Field.at(schema, tuple(match["path"].split("."))).present(match["of"])

    def read(match: re.Match[str]) -> str:
        *names, last = match["path"].split(".")
        if not match["call"]:
            return Field.at(schema, (*names, last)).value(match["of"])
        if not names:
            return match[0]
        return f"{Field.at(schema, tuple(names)).value(match['of'])}.{last}("

    return _READ.sub(read, _CHECK.sub(check, rule))


def same(parent: Schema, *names: str) -> str:
    """Return the condition under which a field of the spec is as before; absent equals its default.

    Args:
        parent: the schema of the object that has the field.
        names: the path from the spec to the field.
    """
    schema = parent["properties"][names[-1]]
    if schema["type"] in ("array", "object"):
        return _same_if_present(names)
    path = "".join(f".?{name}" for name in names)
    if "enum" not in schema:
        default = f".orValue({json.dumps(schema['default'])})" if "default" in schema else ""
        return f"self.spec{path}{default} == oldSelf.spec{path}{default}"
    # The API server knows no bound for the cost of comparing two texts that `orValue` returns.
    default = json.dumps(schema.get("default", ""))
    now, before = (f"{of}.spec{path}.orValue({default})" for of in ("self", "oldSelf"))
    values = [json.dumps(value) for value in schema["enum"]]
    return " && ".join(f"({now} == {value}) == ({before} == {value})" for value in values)


def _same_if_present(names: tuple[str, ...]) -> str:
    paths = [".".join(("spec", *names[:depth])) for depth in range(1, len(names) + 1)]
    now, before = (" && ".join(f"has({of}.{path})" for path in paths) for of in ("self", "oldSelf"))
    whole = paths[-1]
    return f"({now}) == ({before}) && (!({now}) || self.{whole} == oldSelf.{whole})"
