"""The picture sheet: held-out tiles with the truth, what was found before, and what after."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from demo.photographs import TREES, trees_plan
from detection_trainer.checkpoint import Checkpoint, open_checkpoint
from detection_trainer.data.convert.tiles import Tile
from detection_trainer.data.convert.voc import read_voc
from detection_trainer.data.convert.writer import plan_sets
from detection_trainer.inference import find_objects, load_detector
from sandbox.object_store import ObjectStore

SHOWN = 4
SCALE = 2
GAP = 12
HEADER = 46
MIN_SCORE = 0.35
TRUTH, FOUND = (64, 255, 64), (255, 196, 0)
Boxes = Sequence[Sequence[float]]


def draw_sheet(photographs: Path, store: ObjectStore, uris: Sequence[str], path: Path) -> None:
    """Draw the sheet to `path`: a row a tile; the truth, then a column a checkpoint."""
    checkpoints = [open_checkpoint(store.folder(uri)) for uri in uris]
    tiles = _most_crowded(photographs)
    images = [_crop(tile) for tile in tiles]
    columns = [("ground truth", [_truth(tile) for tile in tiles], TRUTH)]
    columns += [
        (f"found at step {checkpoint.step}", _found(checkpoint, images), FOUND)
        for checkpoint in checkpoints
    ]
    side = images[0].width * SCALE
    size = (GAP + len(columns) * (side + GAP), HEADER + SHOWN * (side + GAP))
    sheet = Image.new("RGB", size, (24, 24, 28))
    font = ImageFont.load_default(20)
    for x, (title, rows, colour) in enumerate(columns):
        left = GAP + x * (side + GAP)
        count = sum(map(len, rows))
        ImageDraw.Draw(sheet).text((left, 12), f"{title}: {count}", fill=colour, font=font)
        for y, (image, boxes) in enumerate(zip(images, rows, strict=True)):
            sheet.paste(_framed(image, boxes, colour), (left, HEADER + y * (side + GAP)))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def _most_crowded(photographs: Path) -> list[Tile]:
    annotations = read_voc(photographs, names=TREES)
    tiles = plan_sets(annotations.photographs, trees_plan())["validation"]
    whole = [t for t in tiles if t.window.width == t.window.height]
    apart: list[Tile] = []
    for tile in sorted(whole, key=lambda t: -len(t.photograph.boxes)):
        # Tiles overlap by half: two that show the same trees say little.
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


def _truth(tile: Tile) -> Boxes:
    boxes: Boxes = np.asarray(tile.photograph.boxes).tolist()
    return boxes


def _found(checkpoint: Checkpoint, images: Sequence[Image.Image]) -> list[Boxes]:
    detector = load_detector(checkpoint)
    classes = checkpoint.manifest.classes
    return [
        [finding.box for finding in find_objects(detector, image, classes, MIN_SCORE)]
        for image in images
    ]


def _framed(image: Image.Image, boxes: Boxes, colour: tuple[int, int, int]) -> Image.Image:
    picture = image.resize((image.width * SCALE, image.height * SCALE))
    draw = ImageDraw.Draw(picture)
    for ymin, xmin, ymax, xmax in boxes:
        frame = (xmin * SCALE, ymin * SCALE, xmax * SCALE, ymax * SCALE)
        draw.rectangle(frame, outline=colour, width=2)
    return picture
