"""Protobuf's text format, read without its schema: label maps and pipeline configurations.

    item { id: 1 name: "tree" }     name: <…>     list: [1, 2]     # comment

(protobuf.dev/reference/protobuf/textformat-spec.) What a scalar is stays open: without a schema
`1`, `RELU_6` and `true` are words, and the reader of a field says what it takes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<word>[A-Za-z0-9_.+-]+)
      | (?P<mark>[{}\[\]<>:;,])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)")
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r"}
_CLOSES = {"{": "}", "<": ">"}


class TextFormatError(ValueError):
    """The text is not protobuf's; the message says the line."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field that was said: a repeated one is said several times."""

    name: str
    value: "str | Message"
    """A scalar's text without its quotes, or a message."""
    line: int


@dataclass(frozen=True, slots=True)
class Message:
    """The fields of a message, in the order in which they stand there."""

    fields: list[Field] = field(default_factory=list)


def parse(text: str) -> Message:
    """Return the message that `text` is.

    Raises:
        TextFormatError: it is none.
    """
    reader = _Reader(list(_tokens(text)))
    return Message(list(reader.fields(None)))


def quoted(text: str) -> str:
    """Return `text` as a string of the format."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


def _tokens(text: str) -> Iterator[_Token]:
    position, line = 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            received = text[position : position + 20].partition("\n")[0]
            raise TextFormatError(f"line {line}: expected protobuf text; received {received!r}")
        if match.lastgroup and match.lastgroup != "space":
            yield _Token(match.lastgroup, match[0], line)
        line += match[0].count("\n")
        position = match.end()
    yield _Token("end", "", line)


class _Reader:
    """Reads tokens one after another."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens, self._position = tokens, 0

    def fields(self, closing: _Token | None) -> Iterator[Field]:
        """Yield the fields up to the end, or to what closes the message that `closing` opened."""
        end = "" if closing is None else _CLOSES[closing.text]
        while (token := self._next()).text != end:
            if token.kind == "end" and closing is not None:
                raise TextFormatError(f"line {closing.line}: the message has no closing brace")
            if token.text in {";", ","}:
                continue
            if token.kind != "word":
                raise TextFormatError(
                    f"line {token.line}: expected a field's name; received {token.text!r}"
                )
            for value in self._values(token):
                yield Field(token.text, value, token.line)

    def _values(self, name: _Token) -> Iterator[str | Message]:
        colon = self._take(":")
        opening = self._peek()
        if opening.text in _CLOSES:
            self._next()
            yield Message(list(self.fields(opening)))
        elif not colon:
            raise TextFormatError(
                f"line {name.line}: expected `:` or `{{` behind {name.text}; received "
                f"{opening.text!r}"
            )
        elif self._take("["):
            while not self._take("]"):
                yield from self._one(name)
                self._take(",")
        else:
            yield self._scalar(name)

    def _one(self, name: _Token) -> Iterator[str | Message]:
        opening = self._peek()
        if opening.text not in _CLOSES:
            yield self._scalar(name)
            return
        self._next()
        yield Message(list(self.fields(opening)))

    def _scalar(self, name: _Token) -> str:
        token = self._next()
        if token.kind == "word":
            return token.text
        if token.kind != "string":
            raise TextFormatError(
                f"line {name.line}: expected a value for {name.text}; received {token.text!r}"
            )
        value = _unquoted(token.text)
        while self._peek().kind == "string":  # Adjacent strings are one.
            value += _unquoted(self._next().text)
        return value

    def _take(self, mark: str) -> bool:
        found = self._peek().text == mark and self._peek().kind == "mark"
        self._position += found
        return found

    def _peek(self) -> _Token:
        return self._tokens[self._position]

    def _next(self) -> _Token:
        token = self._tokens[self._position]
        self._position = min(self._position + 1, len(self._tokens) - 1)
        return token


def _unquoted(text: str) -> str:
    return _ESCAPE.sub(_unescaped, text[1:-1].encode()).decode(errors="replace")


def _unescaped(match: re.Match[bytes]) -> bytes:
    """Return what an escape stands for; protobuf writes other than ASCII as octal bytes."""
    said = match[1]
    return bytes([int(said, 8) & 0xFF]) if said.isdigit() else _ESCAPES.get(said, said)
