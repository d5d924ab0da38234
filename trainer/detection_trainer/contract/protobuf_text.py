"""Parses protobuf's text format without a schema: label maps and pipeline configurations.

    item { id: 1 name: "tree" }     name: <…>     list: [1, 2]     # comment

(protobuf.dev/reference/protobuf/textformat-spec.) Scalars are not typed: without a schema `1`,
`RELU_6` and `true` are words, and the reader of a field decides what it accepts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_DEPTH = 64
"""Limit of nested messages; a pipeline.config has about 10."""
_SPACE = re.compile(r"(?:[ \t\r\n\f\v]+|\#[^\n]*)+")
_TOKEN = re.compile(
    r"""(?P<word>[A-Za-z0-9_.+-]+)
      | (?P<mark>[{}\[\]<>:;,])
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')""",
    re.VERBOSE,
)
_ESCAPE = re.compile(
    rb"\\(?:(?P<octal>[0-7]{1,3})|[xX](?P<hex>[0-9a-fA-F]{1,2})"
    rb"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|(?P<other>[\xc0-\xff][\x80-\xbf]*|(?s:.)))"
)
_ESCAPES = dict(zip(b"abfnrtv\\?'\"", b"\a\b\f\n\r\t\v\\?'\"", strict=True))
_CLOSES = {"{": "}", "<": ">"}


class TextFormatError(ValueError):
    """The text is not protobuf's; the message names the line."""


@dataclass(frozen=True, slots=True)
class Field:
    """One occurrence of a field; a repeated field has several."""

    name: str
    value: "str | Message"
    """A scalar's text without its quotes, or a message."""
    line: int


@dataclass(frozen=True, slots=True)
class Message:
    """The fields of a message, in the order of the text."""

    fields: list[Field] = field(default_factory=list)


def parse(text: str) -> Message:
    """Return `text` as a message.

    >>> [(f.name, f.value) for f in parse('id: 1 name: "tree"').fields]
    [('id', '1'), ('name', 'tree')]

    Raises:
        TextFormatError: it is not valid.
    """
    return Message(list(_Reader(text).fields(None)))


def quoted(text: str) -> str:
    r"""Return `text` as a string of the format.

    >>> print(quoted('a "b"'))
    "a \"b\""
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


class _Reader:
    """Reads tokens, with one token of look-ahead."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._ahead = next(self._tokens)
        self._depth = 0

    def fields(self, closing: _Token | None) -> Iterator[Field]:
        """Yield the fields up to the end, or to the mark that closes the message of `closing`."""
        end = "" if closing is None else _CLOSES[closing.text]
        while (token := self._next()).text != end:
            if token.kind == "end" and closing is not None:
                raise TextFormatError(f"line {closing.line}: the message has no closing brace")
            if token.text in {";", ","}:
                continue
            if token.kind != "word":
                raise TextFormatError(
                    f"line {token.line}: expected a field's name; received {_shown(token.text)}"
                )
            for value in self._values(token):
                yield Field(token.text, value, token.line)

    def _values(self, name: _Token) -> Iterator[str | Message]:
        colon = self._take(":")
        opening = self._ahead
        if opening.text in _CLOSES:
            yield self._message()
        elif not colon:
            raise TextFormatError(
                f"line {name.line}: expected `:` or `{{` behind {name.text[:_SHOWN]}; received "
                f"{_shown(opening.text)}"
            )
        elif self._take("["):
            while not self._take("]"):
                yield self._message() if self._ahead.text in _CLOSES else self._scalar(name)
                self._take(",")
        else:
            yield self._scalar(name)

    def _message(self) -> Message:
        opening = self._next()
        if self._depth >= MAX_DEPTH:
            raise TextFormatError(
                f"line {opening.line}: expected messages at most {MAX_DEPTH} levels deep; received "
                "a deeper one: check that this is the right file"
            )
        self._depth += 1
        message = Message(list(self.fields(opening)))
        self._depth -= 1
        return message

    def _scalar(self, name: _Token) -> str:
        token = self._next()
        if token.kind == "word":
            return token.text
        if token.kind != "string":
            raise TextFormatError(
                f"line {name.line}: expected a value for {name.text[:_SHOWN]}; received "
                f"{_shown(token.text)}"
            )
        parts = [_unquoted(token)]
        while self._ahead.kind == "string":  # Adjacent strings are one value.
            parts.append(_unquoted(self._next()))
        try:
            return b"".join(parts).decode()
        except UnicodeDecodeError as error:
            raise TextFormatError(
                f"line {token.line}: expected UTF-8 in the string of {name.text[:_SHOWN]}; its "
                f"escapes make other bytes: {error}"
            ) from None

    def _take(self, mark: str) -> bool:
        found = self._ahead.kind == "mark" and self._ahead.text == mark
        if found:
            self._next()
        return found

    def _next(self) -> _Token:
        token = self._ahead
        self._ahead = next(self._tokens, token)  # At the end the last token stays.
        return token


_SHOWN = 80
"""How many characters of a token a message shows."""


def _tokens(text: str) -> Iterator[_Token]:
    position, line, length = 0, 1, len(text)
    while True:
        if space := _SPACE.match(text, position):
            position = space.end()
            line += text.count("\n", space.start(), position)
        if position == length:
            yield _Token("end", "", line)
            return
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            received = text[position : position + 20].partition("\n")[0]
            raise TextFormatError(f"line {line}: expected protobuf text; received {received!r}")
        yield _Token(match.lastgroup, match[0], line)
        position = match.end()


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _unquoted(token: _Token) -> bytes:
    """Return a string's bytes, with escapes decoded as protobuf decodes them.

    Raises:
        TextFormatError: protobuf has no such escape.
    """
    text = token.text[1:-1].encode(errors="surrogatepass")
    if b"\\" not in text:
        return text
    try:
        return _SURROGATES.sub(_pair, _ESCAPE.sub(_unescaped, text))
    except ValueError as error:
        raise TextFormatError(f"line {token.line}: {error}") from None


_SURROGATES = re.compile(rb"\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf]")
"""The bytes of `\ud83d\ude00`: two halves of one character, each encoded by itself."""


def _pair(match: re.Match[bytes]) -> bytes:
    halves = match[0].decode(errors="surrogatepass")
    return halves.encode("utf-16", "surrogatepass").decode("utf-16").encode()


def _unescaped(match: re.Match[bytes]) -> bytes:
    octal, hexadecimal, short, long, other = match.groups()
    if octal or hexadecimal:
        value = int(octal, 8) if octal else int(hexadecimal, 16)
        if value > 0xFF:  # noqa: PLR2004 - a byte
            raise ValueError(f"the escape \\{octal.decode()} is not a byte: the largest is \\377")
        return bytes([value])
    if short or long:
        value = int(short or long, 16)
        if value > 0x10FFFF:  # noqa: PLR2004 - Unicode's last character
            raise ValueError(
                f"the escape \\U{long.decode()} is not a character: the largest is \\U0010ffff"
            )
        return chr(value).encode(errors="surrogatepass")
    if (value := _ESCAPES.get(other[0], -1)) < 0:
        received = match[0].decode(errors="replace")
        raise ValueError(
            f'unknown escape {received} in a string: protobuf knows \\n, \\t, \\", \\\\, \\u677e '
            "and the like; write a backslash itself as \\\\"
        )
    return bytes([value])
