"""Reads COCO's instances JSON: boxes as x, y, width, height in pixels.

(cocodataset.org/#format-data) Category ids may have gaps; the label map numbers their names anew
from 1, in the order of the ids.
"""

import json
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from detection_trainer.contract.training import explain
from detection_trainer.data.convert.photographs import (
    Annotations,
    Findings,
    Photograph,
    require_size,
)
from detection_trainer.errors import DataInvalidError, NotFoundError

_EXPLAINED = 1000


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


class _Instances(_Record):
    images: list[_Image]
    annotations: list[_Object]
    categories: Annotated[list[_Category], Field(min_length=1)]


def read_coco(
    file: Path, images: Path | None = None, *, drop_bad_boxes: bool = False
) -> Annotations:
    """Read the JSON `file`.

    Args:
        file: `images`, `annotations` and `categories`; other fields are passed over.
        images: the folder that `file_name` is relative to; by default the JSON's own.
        drop_bad_boxes: leave out boxes without area inside the image instead of refusing.

    Raises:
        NotFoundError: the file or an image is missing.
        DataInvalidError: the JSON does not hold, or does not fit its images.
    """
    instances = _read(file)
    names = _category_names(instances, file)
    objects = _objects_by_image(instances, names, file)
    findings = Findings(drop_bad_boxes)
    photographs = []
    for image in sorted(instances.images, key=lambda entry: entry.id):
        photograph = _photograph(image, objects[image.id], names, images or file.parent, file)
        photographs.append(findings.clip(photograph, f"{file}: image {image.id}"))
    findings.refuse()
    return Annotations(photographs, list(names.values()), findings)


def _read(file: Path) -> _Instances:
    try:
        document: Any = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise NotFoundError(f"{file} does not exist: expected COCO's instances JSON") from error
    except (ValueError, OSError) as error:
        msg = f"{file}: expected COCO's instances JSON; reading it failed: {error}"
        raise DataInvalidError(msg) from error
    try:
        return _Instances.model_validate(document)
    except ValidationError as error:
        msg = f"{file}: expected COCO's instances JSON: {explain(error)[:_EXPLAINED]}"
        raise DataInvalidError(msg) from error


def _category_names(instances: _Instances, file: Path) -> dict[int, str]:
    """Return names by id, ascending."""
    names = {category.id: category.name for category in instances.categories}
    if len(set(names.values())) != len(instances.categories):
        msg = f"{file}: expected categories with ids and names of their own; some are given twice"
        raise DataInvalidError(msg)
    return dict(sorted(names.items()))


def _objects_by_image(
    instances: _Instances, names: dict[int, str], file: Path
) -> defaultdict[int, list[_Object]]:
    ids = {image.id for image in instances.images}
    if len(ids) != len(instances.images):
        raise DataInvalidError(
            f"{file}: expected images with ids of their own; some are given twice"
        )
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


def _photograph(
    image: _Image, objects: list[_Object], names: dict[int, str], folder: Path, file: Path
) -> Photograph:
    path = (folder / image.file_name).resolve()
    if not path.is_relative_to(folder.resolve()):
        msg = f"{file}: image {image.id} is {image.file_name!r}: expected a path below {folder}"
        raise DataInvalidError(msg)
    source = f"{file}: image {image.id}"
    height, width = require_size(path, (image.height, image.width), source)
    x, y, w, h = np.asarray([o.bbox for o in objects], np.float64).reshape(-1, 4).T
    return Photograph(
        path=path,
        height=height,
        width=width,
        boxes=np.stack([y, x, y + h, x + w], axis=1),
        names=tuple(names[entry.category_id] for entry in objects),
        difficult=tuple(bool(entry.difficult) for entry in objects),
        crowd=tuple(bool(entry.iscrowd) for entry in objects),
    )
