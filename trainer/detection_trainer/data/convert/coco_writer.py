"""Writes a dataset as COCO's instances JSON beside its images.

    images/a.jpg …    the images of the records
    instances.json    written last

(cocodataset.org/#format-data) Categories have the label map's ids. COCO has no `difficult`; here it
is a field of its own, written if it is true and read back by `convert coco`.
"""

import json
from typing import Any

from detection_trainer.data.convert.pictures import (
    DECIMALS,
    Picture,
    require_empty,
    take_pictures,
)
from detection_trainer.data.dataset import Dataset
from detection_trainer.storage import Folder

INSTANCES_FILE = "instances.json"


def write_coco(dataset: Dataset, folder: Folder) -> dict[str, Any]:
    """Write `dataset` into the empty `folder`; return the counts of what was written.

    Raises:
        InvalidConfigError: the folder is not empty.
    """
    require_empty(folder)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for picture in take_pictures(dataset):
        path = f"images/{picture.file_name}"
        folder.write(path, picture.encoded)
        number = len(images) + 1
        size = {"height": picture.height, "width": picture.width}
        images.append({"id": number, "file_name": path, **size})
        for index in range(len(picture.names)):
            identity = {"id": len(annotations) + 1, "image_id": number}
            annotations.append({**identity, **_annotation(picture, index, dataset)})
    categories = [{"id": i, "name": name} for i, name in enumerate(dataset.classes, start=1)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    folder.write(INSTANCES_FILE, json.dumps(document, ensure_ascii=False).encode())
    about = {"images": len(images), "boxes": len(annotations)}
    return {"instances": folder.uri_of(INSTANCES_FILE), **about}


def _annotation(picture: Picture, index: int, dataset: Dataset) -> dict[str, Any]:
    ymin, xmin, ymax, xmax = picture.boxes[index].tolist()
    width, height = round(xmax - xmin, DECIMALS), round(ymax - ymin, DECIMALS)
    annotation: dict[str, Any] = {
        "category_id": list(dataset.classes).index(picture.names[index]) + 1,
        "bbox": [xmin, ymin, width, height],
        "area": round(width * height, DECIMALS),
        "iscrowd": int(picture.crowd[index]),
        "segmentation": [],
    }
    return {**annotation, "difficult": 1} if picture.difficult[index] else annotation
