"""Anchors of the OD API's `multiscale_anchor_generator`, in pixels.

Computed in float32 and in the generator's order of operations: a box often overlaps several anchors
equally, and then the last bit decides which of them has to predict it.
"""

import math

import numpy as np
import numpy.typing as npt

from detection_trainer.contract.model import AnchorGenerator, Model

Floats = npt.NDArray[np.float32]


def anchor_boxes(model: Model) -> Floats:
    """Return all anchors [A,4] as ymin, xmin, ymax, xmax in pixels of the square input.

    From the finest level on, each in the order row, column, aspect ratio, scale: the order of the
    heads' outputs. Anchors may exceed the image.
    """
    levels = range(model.fpn.min_level, model.fpn.max_level + 1)
    return np.concatenate([_level_boxes(model.anchors, model.image_size, n) for n in levels])


def _level_boxes(spec: AnchorGenerator, image_size: int, level: int) -> Floats:
    stride = 2**level
    cells = math.ceil(image_size / stride)
    # multiscale_grid_anchor_generator.py: cells are centred only where they tile the image.
    offset = stride / 2.0 if image_size % stride == 0 else 0.0
    centers = np.arange(cells, dtype=np.float32) * np.float32(stride) + np.float32(offset)
    y, x = np.meshgrid(centers, centers, indexing="ij")
    center = np.stack([y, x], axis=-1).reshape(-1, 1, 2)
    half = np.float32(0.5) * _sizes(spec, stride)[None]
    corners: Floats = np.concatenate([center - half, center + half], axis=-1)
    return corners.reshape(-1, 4)


def _sizes(spec: AnchorGenerator, stride: int) -> Floats:
    """Return height and width [per_cell,2] of the anchors of one cell, in pixels."""
    count = spec.scales_per_octave
    octave = np.array([2.0 ** (i / count) for i in range(count)], np.float32)
    scales = np.tile(octave, len(spec.aspect_ratios))
    roots = np.repeat(np.sqrt(np.array(spec.aspect_ratios, np.float32)), count)
    base = np.float32(spec.anchor_scale * stride)
    return np.stack([scales / roots * base, scales * roots * base], axis=-1)
