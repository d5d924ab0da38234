"""Encodes windows of a photograph as JPEG or PNG, for TensorFlow."""

import io
from collections.abc import Iterator, Sequence
from typing import Literal

from PIL import Image

from detection_trainer.data.convert.image_files import opened_image
from detection_trainer.data.convert.tiles import Tile
from detection_trainer.data.depth import depth_problem
from detection_trainer.data.orientation import orientation_of, turn, without_orientation
from detection_trainer.errors import DataInvalidError

JPEG_QUALITY = 95
_AS_THEY_ARE = {("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGB"), ("PNG", "L")}

ImageFormat = Literal["jpeg", "png"]


def encode_tiles(tiles: Sequence[Tile], form: ImageFormat) -> Iterator[bytes]:
    """Yield the image of each of `tiles`, all of one photograph, which is decoded once.

    A whole image keeps the bytes of its file if TensorFlow reads them correctly. JPEG is written
    with quality 95 and full colour, PNG without loss. No output has an EXIF orientation.

    Raises:
        DataInvalidError: the image cannot be decoded, or has more than 8 bits per channel.
    """
    photograph = tiles[0].photograph
    tiled = not any(tile.is_whole for tile in tiles)
    with opened_image(photograph.path, tiled=tiled) as image:
        problem = depth_problem(image)
        if problem is not None:
            raise DataInvalidError(f"{photograph.path}: {problem}")
        orientation = orientation_of(image)
        pixels = turn(image, orientation, upright=photograph.upright)
        kept = (image.format, image.mode) in _AS_THEY_ARE and pixels is image
        for tile in tiles:
            if tile.is_whole and kept:
                encoded = photograph.path.read_bytes()
                yield encoded if orientation == 1 else without_orientation(encoded)
                continue
            window = tile.window
            box = (window.left, window.top, window.right, window.bottom)
            yield _encode(pixels.crop(box).convert("RGB"), form)


def _encode(image: Image.Image, form: ImageFormat) -> bytes:
    buffer = io.BytesIO()
    if form == "png":
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()
