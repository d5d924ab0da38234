"""JSON and YAML from anybody: each text has limits on size, depth and expansion.

A reader that fails raises `DocumentError`, whatever the text is: no RecursionError, no MemoryError,
and no text that takes minutes. Both programs read by these functions.
"""

import json
import re
from typing import Any

import yaml

MAX_DOCUMENT_BYTES = 1 << 20
"""Of a DetectionTraining: the API server keeps objects of at most 1.5 MB."""
MAX_DEPTH = 64
MAX_NUMBER_CHARACTERS = 128
_NAMES_SHOWN, _NAME_SHOWN = 5, 40
MAX_YAML_NODES = 20_000
"""Scalars, lists and maps, those of aliases counted each time; PyYAML reads 30,000 a second."""


class DocumentError(ValueError):
    """The text is not the document that it should be, or is beyond a limit."""


def parse_json(data: bytes | str) -> Any:
    """Return the JSON value that `data` is.

    Raises:
        DocumentError: it is none, holds NaN or infinity, or is nested too deeply.
    """
    try:
        value = json.loads(data, parse_constant=_refuse_constant)
    except RecursionError:
        raise DocumentError(_too_deep()) from None
    except ValueError as error:
        raise DocumentError(f"expected JSON: {error}") from error
    _require_shallow(value)
    return value


def parse_yaml(text: str) -> Any:
    """Return the one YAML document (JSON is YAML) that `text` is, read as kubectl does.

    Raises:
        DocumentError: it is none, is too large, is nested too deeply, or expands too far.
    """
    size = len(text.encode(errors="replace"))
    if size > MAX_DOCUMENT_BYTES:
        raise DocumentError(
            f"expected a document of at most {MAX_DOCUMENT_BYTES} bytes; received {size}: check "
            "that this is the right file"
        )
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - derives from SafeLoader
    except yaml.YAMLError as error:
        raise DocumentError(f"expected YAML or JSON: {error}") from error
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        if isinstance(error, DocumentError):
            raise
        # PyYAML's constructors raise these at values that do not fit their tag.
        raise DocumentError(
            f"expected YAML or JSON; a value does not fit its tag: {error}"
        ) from error


def kind_of(value: Any) -> str:
    """Return what a value of JSON or YAML is, for a message.

    >>> kind_of([1, 2]), kind_of({"kind": 1}), kind_of(None), kind_of("x")
    ('a list of 2', 'an object with kind', 'nothing', "the text 'x'")
    """
    match value:
        case None:
            return "nothing"
        case list():
            return f"a list of {len(value)}"
        case dict():
            names = ", ".join(str(name)[:_NAME_SHOWN] for name in list(value)[:_NAMES_SHOWN])
            more = ", …" if len(value) > _NAMES_SHOWN else ""
            return f"an object with {names}{more}" if value else "an empty object"
        case str():
            return f"the text {value[:_NAME_SHOWN]!r}"
        case _:
            return f"the value {json.dumps(value, default=str)[:_NAME_SHOWN]}"


_NUMBER_TAGS = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with kubectl's idea of a float (`1e-4` needs no dot), and limits."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._count = 0
        self._sizes: dict[int, int] = {}
        """Nodes of each composed node, by its identity."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node while the document is within its limits; see `MAX_YAML_NODES`."""
        if self._depth >= MAX_DEPTH:
            raise DocumentError(_too_deep())
        is_alias = self.check_event(yaml.AliasEvent)
        before = self._count
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        self._count += self._size_of_alias(node) if is_alias else 1
        if self._count > MAX_YAML_NODES:
            raise DocumentError(
                f"expected a document of at most {MAX_YAML_NODES} values, with those of aliases "
                "counted each time; received more: write a smaller document without nested "
                "aliases"
            )
        self._sizes[id(node)] = self._count - before
        _require_short_number(node)
        return node

    def _size_of_alias(self, node: Any) -> int:
        size = self._sizes.get(id(node))
        if size is None:
            raise DocumentError("an alias refers to the value that contains it: write it out")
        return size


_Loader.yaml_implicit_resolvers = {
    key: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for key, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?([0-9][0-9_]*(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


def _require_short_number(node: yaml.Node | None) -> None:
    """Raise for a number that takes long to convert: PyYAML knows base 60, `1:1:1:…`."""
    if not isinstance(node, yaml.ScalarNode) or node.tag not in _NUMBER_TAGS:
        return
    if len(node.value) > MAX_NUMBER_CHARACTERS:
        raise DocumentError(
            f"expected numbers of at most {MAX_NUMBER_CHARACTERS} characters; received one of "
            f"{len(node.value)}: correct it, or quote it if it is text"
        )


def _require_shallow(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [inner for outer in level for inner in _inner(outer)]
        if not level:
            return
    raise DocumentError(_too_deep())


def _inner(value: Any) -> list[Any]:
    """Return the lists and maps directly within `value`."""
    match value:
        case dict():
            values = list(value.values())
        case list():
            values = value
        case _:
            return []
    return [inner for inner in values if isinstance(inner, dict | list)]


def _refuse_constant(name: str) -> None:
    raise DocumentError(f"expected finite numbers; received {name}")


def _too_deep() -> str:
    return (
        f"expected lists and maps at most {MAX_DEPTH} levels deep; received deeper ones: check "
        "that this is the right file"
    )
