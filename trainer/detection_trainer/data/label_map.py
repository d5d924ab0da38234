"""Label maps: `item { id: 1 name: "tree" }` in protobuf text, ids from 1 without gaps.

(object_detection/protos/string_int_label_map.proto.) Id 0 is the background and never named.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from detection_trainer.contract.protobuf_text import Field, Message, TextFormatError, parse, quoted
from detection_trainer.contract.spec import Dataset
from detection_trainer.errors import DataInvalidError
from detection_trainer.storage import open_parent

_MAX_CLASSES = 1000


def load_classes(dataset: Dataset, credentials: Mapping[str, Path] | None = None) -> list[str]:
    """Return the class names of `dataset`; class i + 1 is at index i.

    Raises:
        NotFoundError: the label map does not exist.
        DataInvalidError: it does not hold, or has more or fewer classes than `numClasses`.
    """
    if dataset.classes is not None:
        return list(dataset.classes)
    place = dataset.label_map
    if place is None:
        raise DataInvalidError("dataset names neither classes nor a labelMap: name one")
    folder, name = open_parent(place.uri, credentials)
    classes = parse_label_map(folder.read(name), place.uri)
    try:
        dataset.require_count(classes, place.uri)
    except ValueError as error:
        raise DataInvalidError(str(error)) from error
    return classes


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
    for item in _items(text, place):
        identifier, name = _read_item(item, place)
        if identifier in names:
            msg = f"{place}, line {item.line}: id {identifier} is given twice: number items from 1"
            raise DataInvalidError(msg)
        names[identifier] = name
    _require_whole(names, place)
    return [names[identifier] for identifier in sorted(names)]


def format_label_map(classes: Sequence[str]) -> str:
    """Return the text of a label map with `classes` from id 1."""
    return "".join(
        f"item {{\n  id: {identifier}\n  name: {quoted(name)}\n}}\n"
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


def _items(text: str, place: str) -> Iterator[Field]:
    try:
        fields = parse(text).fields
    except TextFormatError as error:
        raise DataInvalidError(f"{place}, {error}") from error
    for field in fields:
        if field.name != "item" or isinstance(field.value, str):
            msg = f"{place}, line {field.line}: expected `item {{ … }}`; received {field.name!r}"
            raise DataInvalidError(msg)
        yield field


def _read_item(item: Field, place: str) -> tuple[int, str]:
    """Nested messages (keypoints, …) are passed over."""
    inner = item.value.fields if isinstance(item.value, Message) else []
    said = {field.name: field.value for field in inner if isinstance(field.value, str)}
    name = said.get("name") or said.get("display_name") or ""
    identifier = said.get("id", "")
    if not re.fullmatch(r"[0-9]{1,9}", identifier) or not name:
        received = ", ".join(f"{k}: {v!r}" for k, v in said.items()) or "nothing"
        msg = f"{place}, line {item.line}: expected an item with id and name; received {received}"
        raise DataInvalidError(msg)
    return int(identifier), name


def _shortened(values: Sequence[int]) -> str:
    shown = ", ".join(map(str, values[:8]))
    return shown + (", …" if len(values) > 8 else "")  # noqa: PLR2004 - enough to see what is meant
