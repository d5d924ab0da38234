"""Reads a text-format message field by field, and keeps in mind what nobody asked for.

A field of the OD API's messages that no mapping reads is ignored, and the reason is looked up; one
that nobody knows is kept and listed too. A field that is not repeated and said twice is an error,
as in protobuf's own parser.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from detection_trainer.contract.protobuf_text import Field, Message

_TRUE, _FALSE = frozenset({"true", "True", "t", "1"}), frozenset({"false", "False", "f", "0"})


class PipelineConfigError(ValueError):
    """The configuration cannot be used; one sentence says the line, the field, and what to do."""


@dataclass(slots=True)
class Node:
    """A message within the configuration; an absent one has no fields, so that defaults hold."""

    path: str
    message: Message = field(default_factory=Message)
    line: int = 0
    read: set[str] = field(default_factory=set)
    children: list["Node"] = field(default_factory=list)
    """The messages that were asked for: each once, however often it is asked for."""

    def has(self, name: str) -> bool:
        """Tell whether the field was said, without reading it."""
        return any(said.name == name for said in self.message.fields)

    def text(self, name: str, default: str = "") -> str:
        """Return a string or an enum's word."""
        said = self._last(name)
        if said is None:
            return default
        if isinstance(said.value, Message):
            raise self._wrong(said, "a value", "a message")
        return said.value

    def number(self, name: str, default: float) -> float:
        """Return a float."""
        said = self._last(name)
        return default if said is None else self._number(said)

    def numbers(self, name: str) -> list[float]:
        """Return a repeated float."""
        return [self._number(said) for said in self._all(name)]

    def integer(self, name: str, default: int) -> int:
        """Return an integer."""
        value = self.number(name, default)
        if not float(value).is_integer():
            raise self.error(name, f"expected a whole number; received {value}")
        return int(value)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a bool."""
        said = self._last(name)
        if said is None:
            return default
        if said.value in _TRUE:
            return True
        if said.value in _FALSE:
            return False
        raise self._wrong(said, "true or false", repr(said.value))

    def below(self, name: str) -> "Node":
        """Return a message; an empty one where it is absent."""
        said = self._last(name)
        return self._child(name, said) if said is not None else self._absent(name)

    def each(self, name: str) -> list["Node"]:
        """Return a repeated message."""
        return [self._child(name, said) for said in self._all(name)]

    def texts(self, name: str) -> list[str]:
        """Return a repeated string."""
        found = []
        for said in self._all(name):
            if isinstance(said.value, Message):
                raise self._wrong(said, "a value", "a message")
            found.append(said.value)
        return found

    def choice(self, supported: Sequence[str], what: str) -> tuple[str, "Node"]:
        """Return the one message of a `oneof` that is there and supported.

        Raises:
            PipelineConfigError: none is, or another.
        """
        names = [said.name for said in self.message.fields]
        chosen = next((name for name in supported if name in names), None)
        if chosen is None:
            received = ", ".join(dict.fromkeys(names)) or "nothing"
            raise PipelineConfigError(
                f"{self.place()}: {received} is not supported as {what}; expected "
                f"{' or '.join(supported)}"
            )
        return chosen, self.below(chosen)

    def only(self, name: str, expected: str | float | bool, why: str, default: object) -> None:  # noqa: FBT001 - a field's value
        """Demand a value, where another would change the result and cannot be had.

        Raises:
            PipelineConfigError: another was said, or is the default.
        """
        value: object
        if isinstance(expected, bool):
            value = self.flag(name, default=bool(default))
        elif isinstance(expected, str):
            value = self.text(name, str(default))
        else:
            value = self.number(name, float(str(default)))
        if value == expected:
            return
        shown = str(expected).lower() if isinstance(expected, bool) else expected
        received = str(value).lower() if isinstance(value, bool) else value
        said = "" if self.has(name) else " (its default)"
        raise self.error(name, f"expected {shown}; received {received}{said}: {why}")

    def absent(self, name: str, why: str) -> None:
        """Refuse a field that was said.

        Raises:
            PipelineConfigError: it was.
        """
        if self.has(name):
            raise self.error(name, f"is not supported: {why}")

    def error(self, name: str, problem: str) -> PipelineConfigError:
        """Return the error of one field."""
        said = next((f for f in self.message.fields if f.name == name), None)
        line = said.line if said is not None else self.line
        where = f"line {line}: " if line else ""
        return PipelineConfigError(f"{where}{self._path(name)}: {problem}")

    def place(self) -> str:
        """Return where the message stands."""
        return f"line {self.line}: {self.path}" if self.line else self.path

    def unread(self) -> Iterator[tuple[str, Field]]:
        """Yield path and field of all that was said and not read, here and below."""
        for said in self.message.fields:
            if said.name not in self.read:
                yield self._path(said.name), said
        for child in self.children:
            yield from child.unread()

    def _all(self, name: str) -> list[Field]:
        self.read.add(name)
        return [said for said in self.message.fields if said.name == name]

    def _last(self, name: str) -> Field | None:
        found = self._all(name)
        if len(found) > 1:
            raise PipelineConfigError(
                f"line {found[1].line}: {self._path(name)}: it is set twice, first on line "
                f"{found[0].line}: keep one"
            )
        return found[0] if found else None

    def _child(self, name: str, said: Field) -> "Node":
        if not isinstance(said.value, Message):
            raise self._wrong(said, "a message { … }", repr(said.value))
        message = said.value
        child = next((c for c in self.children if c.message is message), None)
        if child is None:
            child = Node(self._path(name), message, said.line)
            self.children.append(child)
        return child

    def _absent(self, name: str) -> "Node":
        return Node(self._path(name), line=self.line)

    def _number(self, said: Field) -> float:
        if isinstance(said.value, Message):
            raise self._wrong(said, "a number", "a message")
        try:
            value = float(said.value.rstrip("fF"))
        except ValueError:
            raise self._wrong(said, "a number", repr(said.value)) from None
        if not math.isfinite(value):
            raise self._wrong(said, "a finite number", repr(said.value))
        return value

    def _wrong(self, said: Field, expected: str, received: str) -> PipelineConfigError:
        return PipelineConfigError(
            f"line {said.line}: {self._path(said.name)}: expected {expected}; received {received}"
        )

    def _path(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name
