"""Annotated photographs in the formats that the converters read."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Box = tuple[str, float, float, float, float]
"""Class, xmin, ymin, xmax, ymax in pixels."""


def draw_image(path: Path, width: int, height: int, mode: str = "RGB") -> Path:
    """Write an image whose red is the column, green the row: every crop can be recognised."""
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x % 256, y % 256, np.full_like(x, 7)], axis=2).astype(np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def write_voc(
    path: Path,
    boxes: Sequence[Box],
    *,
    filename: str,
    size: tuple[int, int] | None = None,
    difficult: int = 0,
) -> Path:
    """Write a Pascal VOC annotation; `size` is width and height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    objects = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>"
        f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
        "</bndbox></object>"
        for name, xmin, ymin, xmax, ymax in boxes
    )
    written_size = (
        f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    )
    path.write_text(
        f"<annotation><filename>{filename}</filename>{written_size}{objects}</annotation>"
    )
    return path


def write_coco(path: Path, **fields: Any) -> Path:
    """Write COCO's instances JSON for the image a.png of 40x20; `fields` replace parts."""
    document: dict[str, Any] = {
        "images": [{"id": 7, "file_name": "a.png", "width": 40, "height": 20}],
        "annotations": [{"image_id": 7, "category_id": 18, "bbox": [4, 5, 10, 8], "iscrowd": 0}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}],
    }
    path.write_text(json.dumps(document | fields))
    return path
