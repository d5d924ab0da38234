"""The picture sheet: held-out tiles with the true boxes, and the detections before and after."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from detection_trainer.checkpoints.format import Checkpoint, open_checkpoint
from detection_trainer.data.convert.tiles import Tile
from detection_trainer.data.convert.voc import read_voc
from detection_trainer.data.convert.writer import plan_sets
from detection_trainer.data.samples import SAMPLES
from detection_trainer.evaluation.inference import find_objects, load_detector
from sandbox.site.object_store import ObjectStore

SHOWN = 4
SCALE = 2
GAP = 12
HEADER = 46
MATCH_IOU = 0.5
TRUTH, RIGHT, WRONG = (255, 255, 255), (64, 255, 64), (255, 150, 0)
Box = Sequence[float]
Colour = tuple[int, int, int]
Framed = list[tuple[Box, Colour]]
"""Boxes ymin, xmin, ymax, xmax in pixels of a tile, each with the colour of its frame."""


def draw_sheet(photographs: Path, store: ObjectStore, uris: Sequence[str], path: Path) -> None:
    """Draw the sheet to `path`: one row per tile; the truth, then one column per checkpoint.

    Each tile shows as many detections as it has trees, those with the highest score first; green
    ones match a tree (IoU at least 0.5).
    """
    tiles = _most_crowded(photographs)
    images = [_crop(tile) for tile in tiles]
    truths = [np.asarray(tile.photograph.boxes).tolist() for tile in tiles]
    total = sum(map(len, truths))
    columns: list[tuple[str, list[Framed]]] = [
        (f"ground truth: {total} trees", [[(box, TRUTH) for box in truth] for truth in truths])
    ]
    for uri in uris:
        checkpoint = open_checkpoint(store.folder(uri))
        found = _found(checkpoint, images, truths)
        right = sum(colour == RIGHT for boxes in found for _, colour in boxes)
        columns.append((f"step {checkpoint.step}: {right} of {total} met", found))
    path.parent.mkdir(parents=True, exist_ok=True)
    _compose(images, columns).save(path)


def _compose(
    images: Sequence[Image.Image], columns: Sequence[tuple[str, list[Framed]]]
) -> Image.Image:
    side = images[0].width * SCALE
    size = (GAP + len(columns) * (side + GAP), HEADER + len(images) * (side + GAP))
    sheet = Image.new("RGB", size, (24, 24, 28))
    font = ImageFont.load_default(20)
    for x, (title, rows) in enumerate(columns):
        left = GAP + x * (side + GAP)
        ImageDraw.Draw(sheet).text((left, 12), title, fill=TRUTH, font=font)
        for y, (image, boxes) in enumerate(zip(images, rows, strict=True)):
            sheet.paste(_framed(image, boxes), (left, HEADER + y * (side + GAP)))
    return sheet


def _most_crowded(photographs: Path) -> list[Tile]:
    sample = SAMPLES["trees"]
    annotations = read_voc(photographs, names=sample.photographs)
    tiles = plan_sets(annotations.photographs, sample.plan())["validation"]
    whole = [t for t in tiles if t.window.width == t.window.height]
    apart: list[Tile] = []
    for tile in sorted(whole, key=lambda t: -len(t.photograph.boxes)):
        # Tiles overlap by half: two tiles with the same trees show little more than one.
        if all(not _overlap(tile, other) for other in apart):
            apart.append(tile)
    return apart[:SHOWN]


def _overlap(one: Tile, other: Tile) -> bool:
    a, b = one.window, other.window
    return (
        one.photograph.path == other.photograph.path
        and min(a.right, b.right) > max(a.left, b.left)
        and min(a.bottom, b.bottom) > max(a.top, b.top)
    )


def _crop(tile: Tile) -> Image.Image:
    window = tile.window
    with Image.open(tile.photograph.path) as image:
        return image.convert("RGB").crop((window.left, window.top, window.right, window.bottom))


def _found(
    checkpoint: Checkpoint, images: Sequence[Image.Image], truths: Sequence[Sequence[Box]]
) -> list[Framed]:
    detector = load_detector(checkpoint)
    classes = checkpoint.manifest.classes
    rows = []
    for image, truth in zip(images, truths, strict=True):
        findings = find_objects(detector, image, classes, min_score=0.0)[: len(truth)]
        rows.append(_judged([finding.box for finding in findings], truth))
    return rows


def _judged(found: Sequence[Box], truth: Sequence[Box]) -> Framed:
    """Colour each detection: correct if it matches a tree that no higher score has matched."""
    left = list(truth)
    judged: Framed = []
    for box in found:
        best = max(left, key=lambda tree: _iou(box, tree), default=None)
        is_right = best is not None and _iou(box, best) >= MATCH_IOU
        if best is not None and is_right:
            left.remove(best)
        judged.append((box, RIGHT if is_right else WRONG))
    return judged


def _iou(a: Box, b: Box) -> float:
    height = max(min(a[2], b[2]) - max(a[0], b[0]), 0.0)
    width = max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)
    shared = height * width
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return shared / (areas - shared)


def _framed(image: Image.Image, boxes: Framed) -> Image.Image:
    picture = image.resize((image.width * SCALE, image.height * SCALE))
    draw = ImageDraw.Draw(picture)
    for (ymin, xmin, ymax, xmax), colour in boxes:
        frame = (xmin * SCALE, ymin * SCALE, xmax * SCALE, ymax * SCALE)
        draw.rectangle(frame, outline=colour, width=2)
    return picture
