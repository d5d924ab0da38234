"""Image files that cameras and scanners make: turned by EXIF, or with 16 bits a channel."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[Any]
ORIENTATION = 0x0112
STORED: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.rot90(upright, 2).transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}
"""EXIF orientation -> what a camera stores of a scene that is upright."""


def draw_scene(height: int, width: int) -> Pixels:
    """Return pixels [H, W, 3] of which each is different: red the column, green the row."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 5, y * 5, np.full_like(x, 7)], axis=2).astype(np.uint8)


def write_turned(path: Path, upright: Pixels, orientation: int) -> Path:
    """Write an image that viewers show as `upright`, stored with this `orientation`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    is_jpeg = path.suffix in {".jpg", ".jpeg"}
    options: dict[str, Any] = {"quality": 100, "subsampling": 0} if is_jpeg else {}
    image.save(path, exif=exif, **options)
    return path


def png_of_16_bits(values: Pixels) -> bytes:
    """Return a PNG of `values` [H, W, C], whose channels decide on colour and alpha."""
    height, width, channels = values.shape
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    chunks = (b"IHDR" + header, b"IDAT" + zlib.compress(rows), b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(png_chunk, chunks))


def png_chunk(content: bytes) -> bytes:
    """Return the chunk whose type and data are `content`."""
    length = struct.pack(">I", len(content) - 4)
    return length + content + struct.pack(">I", zlib.crc32(content))
