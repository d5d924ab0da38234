"""Label maps: `item { id: 1 name: "tree" }` in protobuf text, ids from 1 without gaps.

(object_detection/protos/string_int_label_map.proto.) Id 0 is the background and never named.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from detection_trainer.contract.spec import Dataset
from detection_trainer.errors import DataInvalidError
from detection_trainer.storage import open_parent

_MAX_CLASSES = 1000
_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<word>[A-Za-z0-9_.+-]+)
      | (?P<mark>[{}\[\]<>:;,])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)")
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r"}

Token = tuple[str, str, int]
"""Kind, text and line."""


def load_classes(dataset: Dataset, credentials: Mapping[str, Path] | None = None) -> list[str]:
    """Return the class names of `dataset`; class i + 1 is at index i.

    Raises:
        NotFoundError: the label map does not exist.
        DataInvalidError: it does not hold.
    """
    if dataset.classes is not None:
        return list(dataset.classes)
    place = dataset.label_map
    if place is None:
        raise DataInvalidError("dataset names neither classes nor a labelMap: name one")
    folder, name = open_parent(place.uri, credentials)
    return parse_label_map(folder.read(name), place.uri)


def parse_label_map(data: bytes, place: str) -> list[str]:
    """Return the class names in a label map, in the order of their ids.

    Raises:
        DataInvalidError: it is no label map, or ids or names repeat or leave gaps.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise DataInvalidError(f"{place}: expected a label map in UTF-8: {error}") from error
    names: dict[int, str] = {}
    for fields, line in _items(list(_tokens(text, place)), place):
        identifier, name = _read_item(fields, line, place)
        if identifier in names:
            msg = f"{place}, line {line}: id {identifier} is given twice: number items from 1"
            raise DataInvalidError(msg)
        names[identifier] = name
    _require_whole(names, place)
    return [names[identifier] for identifier in sorted(names)]


def format_label_map(classes: Sequence[str]) -> str:
    """Return the text of a label map with `classes` from id 1."""
    return "".join(
        f'item {{\n  id: {identifier}\n  name: "{_escaped(name)}"\n}}\n'
        for identifier, name in enumerate(classes, start=1)
    )


def _require_whole(names: Mapping[int, str], place: str) -> None:
    if not names:
        msg = f'{place}: expected items such as `item {{ id: 1 name: "tree" }}`; there is none'
        raise DataInvalidError(msg)
    if len(names) > _MAX_CLASSES:
        msg = f"{place}: {len(names)} classes; at most {_MAX_CLASSES} can be trained"
        raise DataInvalidError(msg)
    if sorted(names) != list(range(1, len(names) + 1)):
        missing = sorted(set(range(1, len(names) + 1)) - names.keys())
        msg = (
            f"{place}: expected the ids 1 to {len(names)} without gaps (0 is the background); "
            f"received {_shortened(sorted(names))}, without {_shortened(missing)}: number again"
        )
        raise DataInvalidError(msg)
    repeated = sorted({n for n in names.values() if list(names.values()).count(n) > 1})
    if repeated:
        raise DataInvalidError(f"{place}: several items have the name {repeated[0]!r}")


def _read_item(fields: Mapping[str, str], line: int, place: str) -> tuple[int, str]:
    name = fields.get("name") or fields.get("display_name") or ""
    identifier = fields.get("id", "")
    if not re.fullmatch(r"[0-9]{1,9}", identifier) or not name:
        received = ", ".join(f"{k}: {v!r}" for k, v in fields.items()) or "nothing"
        msg = f"{place}, line {line}: expected an item with id and name; received {received}"
        raise DataInvalidError(msg)
    return int(identifier), name


def _items(tokens: list[Token], place: str) -> Iterator[tuple[dict[str, str], int]]:
    """Yield the scalar fields of each `item` at the top, and its line."""
    position = 0
    while position < len(tokens):
        kind, text, line = tokens[position]
        if text in {";", ","}:
            position += 1
            continue
        if kind != "word" or text != "item":
            raise DataInvalidError(f"{place}, line {line}: expected `item`; received {text!r}")
        position += 1
        if position < len(tokens) and tokens[position][1] == ":":
            position += 1
        if position == len(tokens) or tokens[position][1] not in {"{", "<"}:
            raise DataInvalidError(f"{place}, line {line}: expected `{{` behind `item`")
        fields, position = _block(tokens, position + 1, place)
        yield fields, line


def _block(tokens: list[Token], position: int, place: str) -> tuple[dict[str, str], int]:
    """Read fields up to the closing brace; nested messages (keypoints, …) are passed over."""
    fields: dict[str, str] = {}
    key, depth = "", 1
    for index in range(position, len(tokens)):
        kind, text, _ = tokens[index]
        if kind == "mark":
            depth += (text in {"{", "<", "["}) - (text in {"}", ">", "]"})
            if not depth:
                return fields, index + 1
        elif depth == 1 and index + 1 < len(tokens) and tokens[index + 1][1] in {":", "{", "<"}:
            key = text
        elif depth == 1 and key:
            fields[key] = fields.get(key, "") + _value(kind, text)
            if index + 1 < len(tokens) and tokens[index + 1][0] != "string":
                key = ""
    line = tokens[position - 1][2]
    raise DataInvalidError(f"{place}, line {line}: the item has no closing brace")


def _tokens(text: str, place: str) -> Iterator[Token]:
    position, line = 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            received = text[position : position + 20].partition("\n")[0]
            msg = f"{place}, line {line}: expected protobuf text; received {received!r}"
            raise DataInvalidError(msg)
        if match.lastgroup and match.lastgroup != "space":
            yield match.lastgroup, match[0], line
        line += match[0].count("\n")
        position = match.end()


def _value(kind: str, text: str) -> str:
    if kind != "string":
        return text
    return _ESCAPE.sub(_unescaped, text[1:-1].encode()).decode(errors="replace")


def _unescaped(match: re.Match[bytes]) -> bytes:
    """Return what an escape stands for; protobuf writes other than ASCII as octal bytes."""
    said = match[1]
    return bytes([int(said, 8) & 0xFF]) if said.isdigit() else _ESCAPES.get(said, said)


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _shortened(values: Sequence[int]) -> str:
    shown = ", ".join(map(str, values[:8]))
    return shown + (", …" if len(values) > 8 else "")  # noqa: PLR2004 - enough to see what is meant
