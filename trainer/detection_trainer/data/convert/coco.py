"""Reads COCO's instances JSON: boxes as x, y, width, height in pixels.

(cocodataset.org/#format-data) Category ids may have gaps; the label map numbers their names again
from 1, in the order of the ids. Roboflow's root category, which no box has, is left out.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from detection_trainer.contract.documents import kind_of
from detection_trainer.contract.training import explain
from detection_trainer.data.convert.findings import Annotations, BoxUnits, ExifRule, Findings
from detection_trainer.data.convert.image_files import ImageFolder
from detection_trainer.data.convert.photographs import Photograph
from detection_trainer.errors import DataInvalidError, NotFoundError

_EXPLAINED = 1000
_SHOWN = 8


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Image(_Record):
    id: int
    file_name: Annotated[str, Field(min_length=1)]
    height: int | None = None
    width: int | None = None


class _Object(_Record):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0
    difficult: int = 0
    """Not COCO's: as `convert to-coco` writes it."""


class _Category(_Record):
    id: int
    name: Annotated[str, Field(min_length=1, max_length=128)]
    supercategory: str | None = None


class _Instances(_Record):
    images: list[_Image]
    annotations: list[_Object]
    categories: Annotated[list[_Category], Field(min_length=1)]


def read_coco(  # noqa: PLR0913 - all but two are named
    file: Path,
    images: Path | None = None,
    *,
    classes: Sequence[str] | None = None,
    drop_bad_boxes: bool = False,
    exif: ExifRule | None = None,
    box_units: BoxUnits | None = None,
) -> Annotations:
    """Read the JSON `file`.

    Args:
        file: `images`, `annotations` and `categories`; other fields are ignored.
        images: the folder that `file_name` is relative to; by default the JSON's own.
        classes: the names that are wanted; categories with the same name are then one class.
        drop_bad_boxes: leave out boxes without area inside the image instead of refusing.
        exif: whether EXIF orientations hold, where the annotated size does not decide.
        box_units: what boxes are given in; None: pixels, and what looks otherwise is refused.

    Raises:
        NotFoundError: the file or an image is missing.
        DataInvalidError: the JSON is invalid, does not fit its images, or leaves a question.
    """
    instances = _read(file)
    findings = Findings(drop_bad_boxes, exif, box_units)
    names = _category_names(instances, file, classes, findings)
    objects = _objects_by_image(instances, names, file)
    places = ImageFolder(images or file.parent)
    reading, photographs = _Reading(file, names, places, findings), []
    for image in sorted(instances.images, key=lambda entry: entry.id):
        with findings.collecting():
            photographs.append(reading.photograph(image, objects[image.id]))
    findings.refuse(photographs)
    unnamed = places.count_others(photograph.path for photograph in photographs)
    findings.left_out["imagesWithoutEntry"] = unnamed
    return Annotations(photographs, list(dict.fromkeys(names.values())), findings)


def _read(file: Path) -> _Instances:
    try:
        document: Any = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise NotFoundError(f"{file} does not exist: expected COCO's instances JSON") from error
    except (ValueError, OSError) as error:
        msg = f"{file}: expected COCO's instances JSON; reading it failed: {error}"
        raise DataInvalidError(msg) from error
    if not isinstance(document, dict):
        raise DataInvalidError(
            f"{file}: expected a JSON object with images, annotations and categories; received "
            f"{kind_of(document)}: check that this is COCO's instances JSON, not its results or "
            "captions"
        )
    try:
        return _Instances.model_validate(document)
    except ValidationError as error:
        msg = f"{file}: expected COCO's instances JSON: {explain(error)[:_EXPLAINED]}"
        raise DataInvalidError(msg) from error


def _category_names(
    instances: _Instances, file: Path, classes: Sequence[str] | None, findings: Findings
) -> dict[int, str]:
    """Return names by id, ascending.

    Raises:
        DataInvalidError: ids repeat, or names do and `classes` does not select among them.
    """
    _require_ids([category.id for category in instances.categories], "category", file)
    roots = _roots(instances, classes or ())
    if roots:
        findings.left_out["rootCategories"] = [category.name for category in roots]
    names = {c.id: c.name for c in instances.categories if c not in roots}
    repeated = [name for name, count in Counter(names.values()).items() if count > 1]
    if repeated and classes is None:
        ids = ", ".join(str(identifier) for identifier, n in names.items() if n == repeated[0])
        msg = (
            f"{file}: the categories {ids} all have the name {repeated[0]!r}: rename them, or make "
            "them one class by naming all classes: --classes A,B"
        )
        raise DataInvalidError(msg)
    return dict(sorted(names.items()))


def _roots(instances: _Instances, wanted: Sequence[str]) -> list[_Category]:
    """Return the category of id 0 that only stands above all others: Roboflow exports have one."""
    used = {entry.category_id for entry in instances.annotations}
    return [
        category
        for category in instances.categories
        if category.id == 0
        and category.id not in used
        and category.name not in wanted
        and _is_above_others(category, instances.categories)
    ]


def _is_above_others(category: _Category, categories: Sequence[_Category]) -> bool:
    others = [other for other in categories if other is not category]
    return bool(others) and all(other.supercategory == category.name for other in others)


def _require_ids(ids: Sequence[int], what: str, file: Path) -> None:
    repeated = [str(identifier) for identifier, count in Counter(ids).items() if count > 1]
    if repeated:
        shown = ", ".join(repeated[:_SHOWN]) + (", …" if len(repeated) > _SHOWN else "")
        msg = f"{file}: each {what} needs an id of its own; given more than once: {shown}"
        raise DataInvalidError(msg)


def _objects_by_image(
    instances: _Instances, names: dict[int, str], file: Path
) -> defaultdict[int, list[_Object]]:
    _require_ids([image.id for image in instances.images], "image", file)
    ids = {image.id for image in instances.images}
    objects: defaultdict[int, list[_Object]] = defaultdict(list)
    for number, entry in enumerate(instances.annotations):
        for known, received, what in (
            (ids, entry.image_id, "image_id"),
            (names.keys(), entry.category_id, "category_id"),
        ):
            if received not in known:
                msg = f"{file}: annotations[{number}] has {what} {received}, which does not exist"
                raise DataInvalidError(msg)
        objects[entry.image_id].append(entry)
    return objects


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the entries of one file refer to."""

    file: Path
    names: dict[int, str]
    """Categories by id."""
    images: ImageFolder
    findings: Findings

    def photograph(self, image: _Image, objects: list[_Object]) -> Photograph:
        """Return the image with its objects, compared with the file that it names."""
        source = f"{self.file}: image {image.id}"
        path = self._path(image, source)
        stated = (image.height, image.width)
        height, width, upright = self.findings.fit(path, stated, source, has_boxes=bool(objects))
        x, y, w, h = np.asarray([o.bbox for o in objects], np.float64).reshape(-1, 4).T
        photograph = Photograph(
            path=path,
            height=height,
            width=width,
            boxes=np.stack([y, x, y + h, x + w], axis=1),
            names=tuple(self.names[entry.category_id] for entry in objects),
            difficult=tuple(bool(entry.difficult) for entry in objects),
            crowd=tuple(bool(entry.iscrowd) for entry in objects),
            source=source,
            upright=upright,
        )
        return self.findings.clip(photograph)

    def _path(self, image: _Image, source: str) -> Path:
        """Return the image's file; it may be named as on Windows, or encoded as in a URL."""
        slashes = image.file_name.replace("\\", "/")
        names = dict.fromkeys([image.file_name, slashes, unquote(slashes)])
        root = self.images.root.resolve()
        paths = [(root / name).resolve() for name in names]
        if not all(path.is_relative_to(root) for path in paths):
            msg = f"{source} is {image.file_name!r}: expected a path below {self.images.root}"
            raise DataInvalidError(msg)
        found = self.images.find(path.relative_to(root).as_posix() for path in paths)
        if found is None:
            msg = f"{source}: {paths[-1]}: the annotated image does not exist: check --images"
            raise NotFoundError(msg)
        return found.resolve()
