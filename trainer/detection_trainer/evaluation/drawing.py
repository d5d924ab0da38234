"""Draws detections on images: a frame and a label, with one colour per class."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

_GOLDEN_RATIO = 0.618
"""Hues at this distance differ clearly from one another, for any number of classes."""
_BRIGHT = 127
_SMALLEST_FONT, _LONGEST_SIDE_IN_LINES = 11, 55

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Finding:
    """One object found in an image."""

    class_name: str
    score: float
    box: tuple[float, float, float, float]
    """ymin, xmin, ymax, xmax in pixels of the image."""


def draw_findings(
    image: Image.Image, findings: Sequence[Finding], classes: Sequence[str]
) -> Image.Image:
    """Return a copy of `image` with frames, then labels, the highest score on top."""
    picture = image.convert("RGB")
    draw = ImageDraw.Draw(picture)
    side = max(picture.size)
    font = ImageFont.load_default(max(_SMALLEST_FONT, side // _LONGEST_SIDE_IN_LINES))
    rising = sorted(findings, key=lambda finding: finding.score)
    colours = [_colour(classes.index(finding.class_name)) for finding in rising]
    for finding, colour in zip(rising, colours, strict=True):
        ymin, xmin, ymax, xmax = finding.box
        draw.rectangle((xmin, ymin, xmax, ymax), outline=colour, width=max(2, side // 400))
    for finding, colour in zip(rising, colours, strict=True):
        text = f"{finding.class_name} {finding.score:.2f}"
        _label(draw, text, (finding.box[1], finding.box[0]), font, colour)
    return picture


def _label(
    draw: ImageDraw.ImageDraw,
    text: str,
    corner: tuple[float, float],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    colour: Colour,
) -> None:
    """Write `text` on a filled box above the frame, within the image."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    width, height = right - left + 4, bottom - top + 4
    image_width, image_height = draw.im.size
    x = min(max(corner[0], 0), max(image_width - width, 0))
    y = corner[1] - height
    if y < 0:
        y = min(corner[1], image_height - height)
    draw.rectangle((x, y, x + width, y + height), fill=colour)
    ink = (0, 0, 0) if _brightness(colour) > _BRIGHT else (255, 255, 255)
    draw.text((x + 2 - left, y + 2 - top), text, fill=ink, font=font)


def _colour(index: int) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN_RATIO % 1.0, 0.9, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def _brightness(colour: Colour) -> float:
    red, green, blue = colour
    return 0.299 * red + 0.587 * green + 0.114 * blue
