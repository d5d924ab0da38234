"""Label maps: `item { id: 1 name: "tree" }` in protobuf text, read as the OD API reads them.

(object_detection/protos/string_int_label_map.proto, utils/label_map_util.py.) Id 0 is the
`background`. Ids may have gaps: an id without an item keeps its place, and its number is its name.
A record may use the text of `name` or of `display_name`.
"""

import re
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from detection_trainer.contract.base import MAX_CLASS_NAME
from detection_trainer.contract.dataset import Dataset
from detection_trainer.contract.protobuf_text import Field, Message, TextFormatError, parse, quoted
from detection_trainer.errors import DataInvalidError, TooLargeError
from detection_trainer.storage import Folder, open_parent

MAX_LABEL_MAP_BYTES = 1 << 20
"""A thousand classes with keypoints need a third of it."""
_BACKGROUND = "background"
_MAX_CLASSES = 1000


def load_classes(dataset: Dataset, credentials: Mapping[str, Path] | None = None) -> list[str]:
    """Return the class names of `dataset`; class i + 1 is at index i.

    Raises:
        NotFoundError: the label map does not exist.
        DataInvalidError: it is invalid, or has more or fewer classes than `numClasses`.
    """
    if dataset.classes is not None:
        return list(dataset.classes)
    place = dataset.label_map
    if place is None:
        raise DataInvalidError("dataset names neither classes nor a labelMap: name one")
    folder, name = open_parent(place.uri, credentials)
    classes = read_label_map(folder, name)
    try:
        dataset.require_count(classes, place.uri)
    except ValueError as error:
        raise DataInvalidError(str(error)) from error
    return classes


class ClassNames(list[str]):
    """Names in the order of their ids, from id 1; also the texts that records may use for a class.

    It is a list, because most of the program needs only the names.
    """

    def __init__(self, items: Mapping[int, "_Item"]) -> None:
        """Create the names from the items of a label map, by id."""
        last = max(items, default=0)
        super().__init__(items[i].name if i in items else str(i) for i in range(1, last + 1))
        self.gaps = frozenset(range(1, last + 1)) - items.keys()
        """Ids without an item."""
        self.texts = {i: {item.name, item.display_name} - {""} for i, item in items.items()}
        """Id -> the texts that records may use for its class."""
        self.ids = _ids_by_text(items)
        """Text -> id, for each `name` or `display_name` that identifies one class."""


def class_ids(classes: Sequence[str]) -> Mapping[str, int]:
    """Return text -> id, for each text that a record may use for a class."""
    if isinstance(classes, ClassNames):
        return classes.ids
    return {name: identifier for identifier, name in enumerate(classes, start=1)}


def class_gaps(classes: Sequence[str]) -> frozenset[int]:
    """Return the ids without an item in the label map."""
    return classes.gaps if isinstance(classes, ClassNames) else frozenset()


def class_texts(classes: Sequence[str], label: int) -> Container[str]:
    """Return the texts that a record may use for the class `label`."""
    if isinstance(classes, ClassNames):
        return classes.texts.get(label, ())
    return (classes[label - 1],)


def read_label_map(folder: Folder, name: str) -> ClassNames:
    """Return the class names of the label map `name`; see `parse_label_map`.

    Raises:
        NotFoundError: there is none.
        DataInvalidError: it is invalid, or too large.
    """
    try:
        data = folder.read_small(name, MAX_LABEL_MAP_BYTES)
    except TooLargeError as error:
        raise DataInvalidError(f"label map {error}") from error
    return parse_label_map(data, folder.uri_of(name))


def parse_label_map(data: bytes, place: str) -> ClassNames:
    """Return the class names of a label map, in the order of their ids.

    Raises:
        DataInvalidError: it is not a label map, or ids or names repeat.
    """
    if len(data) > MAX_LABEL_MAP_BYTES:
        raise DataInvalidError(
            f"{place}: expected a label map of at most {MAX_LABEL_MAP_BYTES} bytes; received "
            f"{len(data)}: check that this is the right file"
        )
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise DataInvalidError(f"{place}: expected a label map in UTF-8: {error}") from error
    items: dict[int, _Item] = {}
    for field in _items(text, place):
        identifier, item = _read_item(field, place)
        if identifier in items:
            raise DataInvalidError(
                f"{place}, line {field.line}: id {identifier} has two items, {item.name!r} and "
                f"{items[identifier].name!r}: keep the one that the records were made with"
            )
        items[identifier] = item
    _drop_background(items, place)
    _require_usable(items, place)
    return ClassNames(items)


def format_label_map(classes: Sequence[str]) -> str:
    """Return a label map with `classes` from id 1, as text."""
    return "".join(
        f"item {{\n  id: {identifier}\n  name: {quoted(name)}\n}}\n"
        for identifier, name in enumerate(classes, start=1)
    )


@dataclass(frozen=True, slots=True)
class _Item:
    name: str
    display_name: str = ""


def _ids_by_text(items: Mapping[int, _Item]) -> dict[str, int]:
    """Return text -> id; a display name that is not unique, or is another's name, is left out."""
    shown = Counter(item.display_name for item in items.values())
    displayed = {
        item.display_name: identifier
        for identifier, item in items.items()
        if item.display_name and shown[item.display_name] == 1
    }
    return displayed | {item.name: identifier for identifier, item in items.items()}


def _drop_background(items: dict[int, _Item], place: str) -> None:
    background = items.pop(0, None)
    if background and _BACKGROUND not in {background.name, background.display_name}:
        raise DataInvalidError(
            f"{place}: id 0 is {background.name!r}; expected {_BACKGROUND!r} or no item with id 0, "
            "which no box can have: take the label map that the records were made with, or make "
            "the records again with ids from 1"
        )


def _require_usable(items: Mapping[int, _Item], place: str) -> None:
    if not items:
        msg = f'{place}: expected items such as `item {{ id: 1 name: "tree" }}`; there is none'
        raise DataInvalidError(msg)
    last = max(items)
    if last > _MAX_CLASSES:
        received = f"{last} classes" if len(items) == last else f"the id {last}"
        msg = f"{place}: received {received}; at most {_MAX_CLASSES} can be trained"
        raise DataInvalidError(msg)
    names = {identifier: item.name for identifier, item in items.items()}
    gaps = {i: str(i) for i in range(1, last + 1) if i not in items}
    repeated = Counter((names | gaps).values())
    for name in names.values():
        if repeated[name] > 1:
            others = [i for i, other in (names | gaps).items() if other == name]
            raise DataInvalidError(
                f"{place}: the ids {_shortened(sorted(others))} have the name {name!r}: expected a "
                "name of its own for each id (an id without an item is named by its number)"
            )


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


def _read_item(field: Field, place: str) -> tuple[int, _Item]:
    """Return id and item; nested messages (keypoints, …) are ignored."""
    inner = field.value.fields if isinstance(field.value, Message) else []
    values = {each.name: each.value for each in inner if isinstance(each.value, str)}
    shown = values.get("display_name", "")
    name = values.get("name") or shown
    identifier = values.get("id", "")
    if not re.fullmatch(r"[0-9]{1,9}", identifier, re.ASCII) or not name:
        received = ", ".join(f"{k}: {v[:80]!r}" for k, v in list(values.items())[:8]) or "nothing"
        msg = f"{place}, line {field.line}: expected an item with id and name; received {received}"
        raise DataInvalidError(msg)
    if len(name) > MAX_CLASS_NAME:
        raise DataInvalidError(
            f"{place}, line {field.line}: expected a name of at most {MAX_CLASS_NAME} characters; "
            f"received {len(name)}: shorten it in the label map and in the records"
        )
    return int(identifier), _Item(name, shown)


def _shortened(values: Sequence[int]) -> str:
    shown = ", ".join(map(str, values[:8]))
    return shown + (", …" if len(values) > 8 else "")  # noqa: PLR2004 - enough to see what is meant
