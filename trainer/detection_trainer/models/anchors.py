"""Anchors of the OD API's `multiscale_anchor_generator`, in pixels."""

import itertools
import math

import numpy as np
import numpy.typing as npt

from detection_trainer.contract.model import AnchorGenerator, Model


def anchor_boxes(model: Model) -> npt.NDArray[np.float32]:
    """Return all anchors [A,4] as ymin, xmin, ymax, xmax in pixels of the square input.

    Level after level from the finest, then row, column, aspect ratio, scale: the order of the
    heads' outputs. They may reach beyond the image.
    """
    levels = range(model.fpn.min_level, model.fpn.max_level + 1)
    boxes = [_level_boxes(model.anchors, model.image_size, level) for level in levels]
    return np.concatenate(boxes).astype(np.float32)


def _level_boxes(spec: AnchorGenerator, image_size: int, level: int) -> npt.NDArray[np.float64]:
    stride = 2**level
    cells = math.ceil(image_size / stride)
    # multiscale_grid_anchor_generator.py: cells are centred only where they tile the image.
    offset = stride / 2.0 if image_size % stride == 0 else 0.0
    centers = np.arange(cells) * stride + offset
    y, x = np.meshgrid(centers, centers, indexing="ij")
    center = np.stack([y, x], axis=-1).reshape(-1, 1, 2)
    half = _sizes(spec, stride)[None] / 2.0
    return np.concatenate([center - half, center + half], axis=-1).reshape(-1, 4)


def _sizes(spec: AnchorGenerator, stride: int) -> npt.NDArray[np.float64]:
    """Return the heights and widths [per_cell,2] of one cell's anchors in pixels."""
    octave = [2.0 ** (i / spec.scales_per_octave) for i in range(spec.scales_per_octave)]
    return np.array(
        [
            (side / math.sqrt(ratio), side * math.sqrt(ratio))
            for ratio, side in itertools.product(
                spec.aspect_ratios, [spec.anchor_scale * stride * scale for scale in octave]
            )
        ]
    )
