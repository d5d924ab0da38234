"""The orientation of an image file, from its EXIF or XMP (EXIF 2.32, tag 0x0112).

Viewers rotate the pixels by it; TensorFlow reads them as they are stored. So records contain images
without an orientation, and `predict` rotates its images as viewers do.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import suppress

from PIL import Image
from PIL.Image import Transpose

_TAG = 0x0112
_STORED_UPRIGHT = 1
_SIDES_CHANGE = frozenset({5, 6, 7, 8})
_TO_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_TO_STORED = {**_TO_UPRIGHT, 6: Transpose.ROTATE_90, 8: Transpose.ROTATE_270}
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_FRAME_BYTES = 12
_PNG_CARRIERS = (b"eXIf", b"iTXtXML:com.adobe.xmp\0")
_PNG_RAW_PROFILE = b"Raw profile type "
_JPEG_CARRIERS = (b"Exif\0", b"http://ns.adobe.com/xap/1.0/\0")
_JPEG_APP1, _JPEG_SCAN = 0xE1, 0xDA


def orientation_of(image: Image.Image) -> int:
    """Return the orientation of `image`, 1 to 8; 1 if it is missing or damaged.

    Args:
        image: an opened image; of a TIFF Pillow drops the orientation when it loads the pixels.
    """
    found = None
    # Many programs write EXIF, and viewers ignore it when it is invalid.
    with suppress(OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error):
        # PNG's own `getexif` would decode the pixels to find an EXIF chunk after them.
        found = Image.Image.getexif(image).get(_TAG)
        if found is None and image.format == "PNG":
            exif = Image.Exif()
            exif.load(_png_exif(image))
            found = exif.get(_TAG)
    return found if found in _TO_UPRIGHT else _STORED_UPRIGHT


def stored_size(image: Image.Image, orientation: int) -> tuple[int, int]:
    """Return height and width of the stored pixels."""
    width, height = image.size
    return upright_size(height, width, orientation) if _is_turned(image) else (height, width)


def upright_size(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Return height and width as a viewer shows the image."""
    return (width, height) if orientation in _SIDES_CHANGE else (height, width)


def turn(image: Image.Image, orientation: int, *, upright: bool) -> Image.Image:
    """Load the pixels and return them as a viewer shows them, or as they are stored."""
    image.load()
    if orientation == _STORED_UPRIGHT or upright == _is_turned(image):
        return image
    return image.transpose((_TO_UPRIGHT if upright else _TO_STORED)[orientation])


def without_orientation(encoded: bytes) -> bytes:
    """Return a JPEG or PNG file without its EXIF and XMP; the pixels are not encoded again."""
    if encoded.startswith(_PNG_SIGNATURE):
        return b"".join(_png_parts(encoded))
    return b"".join(_jpeg_parts(encoded))


def _is_turned(image: Image.Image) -> bool:
    """Return whether Pillow itself rotates the pixels: in a TIFF the orientation is a basic tag."""
    return image.format == "TIFF"


def _png_exif(image: Image.Image) -> bytes:
    """Return the content of the file's eXIf chunk, which may follow the pixels."""
    file = getattr(image, "fp", None)
    if file is None:
        return b""
    before = file.tell()
    try:
        file.seek(len(_PNG_SIGNATURE))
        while len(head := file.read(8)) == 8:  # noqa: PLR2004 - length and type
            length = int.from_bytes(head[:4], "big")
            if head[4:] == b"eXIf":
                content: bytes = file.read(length)
                return content
            file.seek(length + 4, os.SEEK_CUR)
    finally:
        file.seek(before)
    return b""


def _png_parts(encoded: bytes) -> Iterator[bytes]:
    yield _PNG_SIGNATURE
    start = len(_PNG_SIGNATURE)
    while start < len(encoded):
        end = start + _PNG_FRAME_BYTES + int.from_bytes(encoded[start : start + 4], "big")
        named = encoded[start + 4 : end]
        is_profile = named[:4] in {b"zTXt", b"tEXt"} and named[4:].startswith(_PNG_RAW_PROFILE)
        if not named.startswith(_PNG_CARRIERS) and not is_profile:
            yield encoded[start:end]
        start = end


def _jpeg_parts(encoded: bytes) -> Iterator[bytes]:
    """Yield each segment before the first scan, then the rest."""
    yield encoded[:2]
    start = 2
    while start + 4 <= len(encoded) and encoded[start] == 0xFF:  # noqa: PLR2004 - begins a marker
        marker = encoded[start + 1]
        if marker == 0xFF:  # noqa: PLR2004 - fills up before a marker
            start += 1
            continue
        if marker == _JPEG_SCAN:
            break
        end = start + 2 + int.from_bytes(encoded[start + 2 : start + 4], "big")
        is_carrier = marker == _JPEG_APP1 and encoded[start + 4 :].startswith(_JPEG_CARRIERS)
        if not is_carrier:
            yield encoded[start:end]
        start = end
    yield encoded[start:]
