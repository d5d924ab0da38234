"""The rule for images of more than 8 bits per channel, shared by convert, training and predict.

Such an image is refused. TensorFlow and Pillow would keep the upper byte of each value, so 12-bit
values in a 16-bit file would become black. Only the user knows which values matter.
"""

import re

from PIL import Image

_EIGHT_BITS = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "La", "RGBa"}
_TRUNCATED = re.compile(r"(?!BGR).*;(16|12|32|64)[A-Z]*")
"""Pillow's names of layouts that it truncates to 8 bits; BMP's BGR;16 has 5 bits per channel."""


def depth_problem(image: Image.Image) -> str | None:
    """Return what is wrong with the bit depth of `image`, or None for 8 bits per channel.

    Args:
        image: an opened image whose pixels are not loaded yet.
    """
    if image.mode in _EIGHT_BITS and _truncated_mode(image) is None:
        return None
    mode = _truncated_mode(image) or image.mode
    return (
        f"has pixels of mode {mode}: expected 8 bits a channel; scale it to that and write it "
        "again, since which values are black and white only you know"
    )


def _truncated_mode(image: Image.Image) -> str | None:
    """Return the file's layout of values if Pillow would truncate them to 8 bits."""
    if image.mode not in _EIGHT_BITS:
        return None
    return next(filter(_TRUNCATED.fullmatch, _raw_modes(image)), None)


def _raw_modes(image: Image.Image) -> list[str]:
    """Return the file's layouts of values; Pillow drops them when it loads the pixels."""
    found = []
    for tile in getattr(image, "tile", []):
        arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        found += [value for value in arguments if isinstance(value, str)]
    return found
