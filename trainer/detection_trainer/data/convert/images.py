"""Encodes what a window of a photograph shows: JPEG or PNG, as TensorFlow decodes them."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from PIL import Image

from detection_trainer.data.convert.tiles import Tile
from detection_trainer.errors import DataInvalidError

JPEG_QUALITY = 95
_AS_THEY_ARE = {("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGB"), ("PNG", "L")}
_EIGHT_BITS = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "La", "RGBa"}

ImageFormat = Literal["jpeg", "png"]


def encode_tiles(path: Path, tiles: Sequence[Tile], form: ImageFormat) -> Iterator[bytes]:
    """Yield the image of each of `tiles`, all of the photograph at `path`, decoded once.

    A whole image keeps its file's bytes where TensorFlow reads them; JPEG is written with quality
    95 and full colour, PNG without loss.

    Raises:
        DataInvalidError: the image cannot be decoded, or has more than 8 bits a channel.
    """
    with _opened(path) as image:
        as_it_is = (image.format, image.mode) in _AS_THEY_ARE
        for tile in tiles:
            if tile.is_whole and as_it_is:
                yield path.read_bytes()
                continue
            window = tile.window
            box = (window.left, window.top, window.right, window.bottom)
            yield _encode(image.crop(box).convert("RGB"), form)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            if image.mode not in _EIGHT_BITS:
                msg = (
                    f"{path}: has pixels of mode {image.mode}: expected 8 bits a channel; scale it "
                    "to that, since which values matter only you know"
                )
                raise DataInvalidError(msg)
            image.load()
            yield image
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataInvalidError(f"{path}: decoding the image failed: {error}") from error


def _encode(image: Image.Image, form: ImageFormat) -> bytes:
    buffer = io.BytesIO()
    if form == "png":
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()
