"""Reads a text-format message field by field, and records which fields were not read.

A field that no mapping reads is ignored, and its reason is looked up; an unknown field is listed
too. A field that is not repeated but occurs twice is an error, as in protobuf's own parser.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from detection_trainer.contract.protobuf_text import Field, Message

_TRUE, _FALSE = frozenset({"true", "True", "t", "1"}), frozenset({"false", "False", "f", "0"})


class PipelineConfigError(ValueError):
    """The configuration cannot be used; the message states line, field, and what to do."""


@dataclass(slots=True)
class Node:
    """A message in the configuration; a missing one has no fields, so all defaults apply."""

    path: str
    message: Message = field(default_factory=Message)
    line: int = 0
    read: set[str] = field(default_factory=set)
    children: list["Node"] = field(default_factory=list)
    """The child messages that were read, each once."""

    def has(self, name: str) -> bool:
        """Return whether the field occurs, without marking it as read."""
        return any(entry.name == name for entry in self.message.fields)

    def text(self, name: str, default: str = "") -> str:
        """Return a string, or the name of an enum's value."""
        entry = self._last(name)
        if entry is None:
            return default
        if isinstance(entry.value, Message):
            raise self._wrong(entry, "a value", "a message")
        return entry.value

    def number(self, name: str, default: float) -> float:
        """Return a float."""
        entry = self._last(name)
        return default if entry is None else self._number(entry)

    def numbers(self, name: str) -> list[float]:
        """Return a repeated float."""
        return [self._number(entry) for entry in self._all(name)]

    def integer(self, name: str, default: int) -> int:
        """Return an integer."""
        value = self.number(name, default)
        if not float(value).is_integer():
            raise self.error(name, f"expected a whole number; received {value}")
        return int(value)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a bool."""
        entry = self._last(name)
        if entry is None:
            return default
        if entry.value in _TRUE:
            return True
        if entry.value in _FALSE:
            return False
        raise self._wrong(entry, "true or false", repr(entry.value))

    def below(self, name: str) -> "Node":
        """Return a message; an empty one if it is missing."""
        entry = self._last(name)
        return self._child(name, entry) if entry is not None else self._absent(name)

    def each(self, name: str) -> list["Node"]:
        """Return a repeated message."""
        return [self._child(name, entry) for entry in self._all(name)]

    def texts(self, name: str) -> list[str]:
        """Return a repeated string."""
        found = []
        for entry in self._all(name):
            if isinstance(entry.value, Message):
                raise self._wrong(entry, "a value", "a message")
            found.append(entry.value)
        return found

    def choice(self, supported: Sequence[str], what: str) -> tuple[str, "Node"]:
        """Return name and content of the one supported message of a `oneof`.

        Raises:
            PipelineConfigError: it is missing or not supported.
        """
        names = [entry.name for entry in self.message.fields]
        chosen = next((name for name in supported if name in names), None)
        if chosen is None:
            received = ", ".join(dict.fromkeys(names)) or "nothing"
            raise PipelineConfigError(
                f"{self.place()}: {received} is not supported as {what}; expected "
                f"{' or '.join(supported)}"
            )
        return chosen, self.below(chosen)

    def only(self, name: str, expected: str | float | bool, why: str, default: object) -> None:  # noqa: FBT001 - a field's value
        """Require the value `expected`, because another would change the result.

        Raises:
            PipelineConfigError: the value, or the default, is another one.
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
        origin = "" if self.has(name) else " (its default)"
        raise self.error(name, f"expected {shown}; received {received}{origin}: {why}")

    def absent(self, name: str, why: str) -> None:
        """Refuse a field that occurs.

        Raises:
            PipelineConfigError: it occurs.
        """
        if self.has(name):
            raise self.error(name, f"is not supported: {why}")

    def error(self, name: str, problem: str) -> PipelineConfigError:
        """Return the error of one field."""
        entry = next((f for f in self.message.fields if f.name == name), None)
        line = entry.line if entry is not None else self.line
        where = f"line {line}: " if line else ""
        return PipelineConfigError(f"{where}{self._path(name)}: {problem}")

    def place(self) -> str:
        """Return line and path of the message."""
        return f"line {self.line}: {self.path}" if self.line else self.path

    def unread(self) -> Iterator[tuple[str, Field]]:
        """Yield path and field of everything that was not read, here and below."""
        for entry in self.message.fields:
            if entry.name not in self.read:
                yield self._path(entry.name), entry
        for child in self.children:
            yield from child.unread()

    def _all(self, name: str) -> list[Field]:
        self.read.add(name)
        return [entry for entry in self.message.fields if entry.name == name]

    def _last(self, name: str) -> Field | None:
        found = self._all(name)
        if len(found) > 1:
            raise PipelineConfigError(
                f"line {found[1].line}: {self._path(name)}: it is set twice, first on line "
                f"{found[0].line}: keep one"
            )
        return found[0] if found else None

    def _child(self, name: str, entry: Field) -> "Node":
        if not isinstance(entry.value, Message):
            raise self._wrong(entry, "a message { … }", repr(entry.value))
        message = entry.value
        child = next((c for c in self.children if c.message is message), None)
        if child is None:
            child = Node(self._path(name), message, entry.line)
            self.children.append(child)
        return child

    def _absent(self, name: str) -> "Node":
        return Node(self._path(name), line=self.line)

    def _number(self, entry: Field) -> float:
        if isinstance(entry.value, Message):
            raise self._wrong(entry, "a number", "a message")
        try:
            value = float(entry.value.rstrip("fF"))
        except ValueError:
            raise self._wrong(entry, "a number", repr(entry.value)) from None
        if not math.isfinite(value):
            raise self._wrong(entry, "a finite number", repr(entry.value))
        return value

    def _wrong(self, entry: Field, expected: str, received: str) -> PipelineConfigError:
        return PipelineConfigError(
            f"line {entry.line}: {self._path(entry.name)}: expected {expected}; received {received}"
        )

    def _path(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name
