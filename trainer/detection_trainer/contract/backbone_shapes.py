"""Names and shapes of the variables of every backbone, from their published rules.

The names are those of `keras.applications`. A test builds every backbone and compares.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from detection_trainer.contract.model import Backbone

Shape = tuple[int, ...]
Variable = tuple[int, str, Shape]
"""The lowest top level that needs it (3 to 5), its path below the group, its shape."""

RANDOM_STATE = "seed_generator_state"
"""Name of a dropout layer's random state among its variables."""
STATISTICS = ("gamma", "beta", "moving_mean", "moving_variance")
"""The variables of a batch normalisation."""

RESIDUAL: dict[Backbone, tuple[tuple[int, ...], tuple[int, ...]]] = {
    Backbone.TINY: ((16, 32, 64, 96, 128), (1, 1, 1, 1)),
    Backbone.SMALL: ((24, 48, 96, 160, 224), (1, 1, 2, 2)),
}
"""Widths of stem and stages, and blocks of each stage, of this package's residual backbones."""

_RESNET_BLOCKS = {
    Backbone.RESNET50: (3, 4, 6, 3),
    Backbone.RESNET101: (3, 4, 23, 3),
    Backbone.RESNET152: (3, 8, 36, 3),
}
RESNET_V1_BLOCKS = {
    Backbone.RESNET50_V1: _RESNET_BLOCKS[Backbone.RESNET50],
    Backbone.RESNET101_V1: _RESNET_BLOCKS[Backbone.RESNET101],
    Backbone.RESNET152_V1: _RESNET_BLOCKS[Backbone.RESNET152],
}
_EFFICIENTNET_SIZES = {
    Backbone.EFFICIENTNET_B0: (1.0, 1.0),
    Backbone.EFFICIENTNET_B1: (1.0, 1.1),
    Backbone.EFFICIENTNET_B2: (1.1, 1.2),
    Backbone.EFFICIENTNET_B3: (1.2, 1.4),
    Backbone.EFFICIENTNET_B4: (1.4, 1.8),
}
"""Width and depth coefficients (EfficientNet, table 1 and its reference code)."""


def backbone_shapes(backbone: Backbone, top_level: int) -> dict[str, Shape]:
    """Return path -> shape of all variables that C3 … C`top_level` need.

    >>> backbone_shapes(Backbone.TINY, 3)["stem/conv/kernel"]
    (3, 3, 3, 16)
    """
    return {
        path: shape for level, path, shape in _variables(backbone) if level <= max(top_level, 3)
    }


def convolution(
    path: str, filters_in: int, filters: int, kernel: int, *, bias: bool
) -> Iterator[tuple[str, Shape]]:
    """Yield the variables of a convolution."""
    yield f"{path}/kernel", (kernel, kernel, filters_in, filters)
    if bias:
        yield f"{path}/bias", (filters,)


def separable(
    path: str, filters_in: int, filters: int, kernel: int, *, bias: bool
) -> Iterator[tuple[str, Shape]]:
    """Yield the variables of a depthwise and a pointwise convolution in one layer."""
    yield f"{path}/depthwise_kernel", (kernel, kernel, filters_in, 1)
    yield f"{path}/pointwise_kernel", (1, 1, filters_in, filters)
    if bias:
        yield f"{path}/bias", (filters,)


def batch_norm(path: str, width: int) -> Iterator[tuple[str, Shape]]:
    """Yield the variables of a batch normalisation."""
    for name in STATISTICS:
        yield f"{path}/{name}", (width,)


def _variables(backbone: Backbone) -> Iterator[Variable]:
    if backbone in _RESNET_BLOCKS:
        return _resnet(_RESNET_BLOCKS[backbone], bias=True)
    if backbone in RESNET_V1_BLOCKS:
        return _resnet(RESNET_V1_BLOCKS[backbone], bias=False)
    if backbone in _EFFICIENTNET_SIZES:
        return _efficientnet(*_EFFICIENTNET_SIZES[backbone])
    if backbone in RESIDUAL:
        return _residual(*RESIDUAL[backbone])
    alone = {
        Backbone.MOBILENET_V1: _mobilenet_v1,
        Backbone.MOBILENET_V2: _mobilenet_v2,
        Backbone.EFFICIENTNET_LITE0: _efficientnet_lite,
        Backbone.VGG16: _vgg16,
    }
    return alone[backbone]()


def _at(level: int, variables: Iterator[tuple[str, Shape]]) -> Iterator[Variable]:
    return ((max(level, 3), path, shape) for path, shape in variables)


def _residual(widths: tuple[int, ...], blocks: tuple[int, ...]) -> Iterator[Variable]:
    yield from _normalised(3, "stem", 3, widths[0], 3)
    width = widths[0]
    for level, (filters, count) in enumerate(zip(widths[1:], blocks, strict=True), start=2):
        for i in range(count):
            block = f"stage_{level}/block_{i}"
            if i == 0:
                yield from _normalised(level, f"{block}/shortcut", width, filters, 1)
            yield from _normalised(level, f"{block}/conv_0", width, filters, 3)
            yield from _normalised(level, f"{block}/conv_1", filters, filters, 3)
            width = filters


def _normalised(
    level: int, path: str, filters_in: int, filters: int, kernel: int
) -> Iterator[Variable]:
    yield from _at(level, convolution(f"{path}/conv", filters_in, filters, kernel, bias=False))
    yield from _at(level, batch_norm(f"{path}/batch_norm", filters))


def _resnet(blocks: tuple[int, ...], *, bias: bool) -> Iterator[Variable]:
    yield from _resnet_pair(3, "conv1_{}", (3, 64, 7), bias=bias)
    width = 64
    for level, count in enumerate(blocks, start=2):
        inner = 32 * 2 ** (level - 1)
        for block in range(1, count + 1):
            name = f"conv{level}_block{block}_"
            if block == 1:
                yield from _resnet_pair(level, name + "0_{}", (width, 4 * inner, 1), bias=bias)
            yield from _resnet_pair(level, name + "1_{}", (width, inner, 1), bias=bias)
            yield from _resnet_pair(level, name + "2_{}", (inner, inner, 3), bias=bias)
            yield from _resnet_pair(level, name + "3_{}", (inner, 4 * inner, 1), bias=bias)
            width = 4 * inner


def _resnet_pair(
    level: int, name: str, sizes: tuple[int, int, int], *, bias: bool
) -> Iterator[Variable]:
    yield from _at(level, convolution(name.format("conv"), *sizes, bias=bias))
    yield from _at(level, batch_norm(name.format("bn"), sizes[1]))


def _mobilenet_v1() -> Iterator[Variable]:
    yield from _at(3, convolution("conv1", 3, 32, 3, bias=False))
    yield from _at(3, batch_norm("conv1_bn", 32))
    widths = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    width = 32
    for number, filters in enumerate(widths, start=1):
        level = 3 if number <= 5 else 4 if number <= 11 else 5  # noqa: PLR2004 - see backbones.py
        yield level, f"conv_dw_{number}/kernel", (3, 3, width, 1)
        yield from _at(level, batch_norm(f"conv_dw_{number}_bn", width))
        yield from _at(level, convolution(f"conv_pw_{number}", width, filters, 1, bias=False))
        yield from _at(level, batch_norm(f"conv_pw_{number}_bn", filters))
        width = filters


def _mobilenet_v2() -> Iterator[Variable]:
    yield from _at(3, convolution("Conv1", 3, 32, 3, bias=False))
    yield from _at(3, batch_norm("bn_Conv1", 32))
    yield from _inverted(3, "expanded_conv", 32, 16, expansion=1)
    width, number = 16, 1
    for filters, count in ((24, 2), (32, 3), (64, 4), (96, 3), (160, 3), (320, 1)):
        for _ in range(count):
            level = 3 if number <= 5 else 4 if number <= 12 else 5  # noqa: PLR2004 - see backbones.py
            yield from _inverted(level, f"block_{number}", width, filters, expansion=6)
            width, number = filters, number + 1
    yield from _at(5, convolution("Conv_1", 320, 1280, 1, bias=False))
    yield from _at(5, batch_norm("Conv_1_bn", 1280))


def _inverted(
    level: int, name: str, filters_in: int, filters: int, expansion: int
) -> Iterator[Variable]:
    wide = filters_in * expansion
    if expansion > 1:
        yield from _at(level, convolution(f"{name}_expand", filters_in, wide, 1, bias=False))
        yield from _at(level, batch_norm(f"{name}_expand_BN", wide))
    yield level, f"{name}_depthwise/kernel", (3, 3, wide, 1)
    yield from _at(level, batch_norm(f"{name}_depthwise_BN", wide))
    yield from _at(level, convolution(f"{name}_project", wide, filters, 1, bias=False))
    yield from _at(level, batch_norm(f"{name}_project_BN", filters))


@dataclass(frozen=True, slots=True)
class _MobileBlock:
    """One block of an EfficientNet, after scaling."""

    name: str
    filters_in: int
    filters: int
    kernel: int
    expansion: int
    first: bool

    def variables(self) -> Iterator[tuple[str, Shape]]:
        """Yield the block's variables; only a repeated block has a skip, and so a dropout."""
        name, wide = self.name, self.filters_in * self.expansion
        squeezed = max(1, int(self.filters_in * 0.25))
        if self.expansion > 1:
            yield from convolution(f"{name}_expand_conv", self.filters_in, wide, 1, bias=False)
            yield from batch_norm(f"{name}_expand_bn", wide)
        yield f"{name}_dwconv/kernel", (self.kernel, self.kernel, wide, 1)
        yield from batch_norm(f"{name}_bn", wide)
        yield from convolution(f"{name}_se_reduce", wide, squeezed, 1, bias=True)
        yield from convolution(f"{name}_se_expand", squeezed, wide, 1, bias=True)
        yield from convolution(f"{name}_project_conv", wide, self.filters, 1, bias=False)
        yield from batch_norm(f"{name}_project_bn", self.filters)
        if not self.first:
            yield f"{name}_drop/{RANDOM_STATE}", (2,)


_EFFICIENTNET_STAGES = (
    (3, 1, 16, 1), (3, 2, 24, 6), (5, 2, 40, 6), (3, 3, 80, 6),
    (5, 3, 112, 6), (5, 4, 192, 6), (3, 1, 320, 6),
)  # fmt: skip
"""Kernel, repeats, filters and expansion of each stage of B0."""


def _efficientnet(width_factor: float, depth_factor: float) -> Iterator[Variable]:
    width = _rounded(32, width_factor)
    yield from _at(3, convolution("stem_conv", 3, width, 3, bias=False))
    yield from _at(3, batch_norm("stem_bn", width))
    for stage, (kernel, repeats, base, expansion) in enumerate(_EFFICIENTNET_STAGES, start=1):
        filters = _rounded(base, width_factor)
        level = 3 if stage <= 3 else 4 if stage <= 5 else 5  # noqa: PLR2004 - see backbones.py
        for i in range(math.ceil(depth_factor * repeats)):
            name = f"block{stage}{chr(ord('a') + i)}"
            block = _MobileBlock(name, width, filters, kernel, expansion, first=i == 0)
            yield from _at(level, block.variables())
            width = filters


@dataclass(frozen=True, slots=True)
class LiteBlock:
    """One block of EfficientNet-lite0: as B0's, without squeeze-and-excitation and dropout."""

    level: int
    """The feature level to which it belongs, at least 3."""
    name: str
    filters_in: int
    filters: int
    kernel: int
    stride: int
    expansion: int

    @property
    def wide(self) -> int:
        """Number of channels inside the block."""
        return self.filters_in * self.expansion

    @property
    def has_skip(self) -> bool:
        """Whether the block adds its input to its output."""
        return self.stride == 1 and self.filters_in == self.filters

    def variables(self) -> Iterator[tuple[str, Shape]]:
        """Yield the block's variables."""
        name, wide = self.name, self.wide
        if self.expansion > 1:
            yield from convolution(f"{name}_expand_conv", self.filters_in, wide, 1, bias=False)
            yield from batch_norm(f"{name}_expand_bn", wide)
        yield f"{name}_dwconv/kernel", (self.kernel, self.kernel, wide, 1)
        yield from batch_norm(f"{name}_bn", wide)
        yield from convolution(f"{name}_project_conv", wide, self.filters, 1, bias=False)
        yield from batch_norm(f"{name}_project_bn", self.filters)


LITE_STEM = 32
"""Number of channels after EfficientNet-lite0's first convolution."""
_LITE_STRIDES = (1, 2, 2, 2, 1, 2, 1)
"""Stride of the first block of each stage."""


def lite_blocks() -> Iterator[LiteBlock]:
    """Yield the blocks of EfficientNet-lite0 in order: B0's stages with their original widths."""
    width = LITE_STEM
    stages = zip(_EFFICIENTNET_STAGES, _LITE_STRIDES, strict=True)
    for stage, ((kernel, repeats, filters, expansion), stride) in enumerate(stages, start=1):
        level = 3 if stage <= 3 else 4 if stage <= 5 else 5  # noqa: PLR2004 - as EfficientNet's
        for i in range(repeats):
            name = f"block{stage}{chr(ord('a') + i)}"
            step = stride if i == 0 else 1
            yield LiteBlock(level, name, width, filters, kernel, step, expansion)
            width = filters


def _efficientnet_lite() -> Iterator[Variable]:
    yield from _at(3, convolution("stem_conv", 3, LITE_STEM, 3, bias=False))
    yield from _at(3, batch_norm("stem_bn", LITE_STEM))
    for block in lite_blocks():
        yield from _at(block.level, block.variables())


def _rounded(filters: int, factor: float) -> int:
    """Return `filters` scaled and rounded to a multiple of 8, down by at most a tenth."""
    scaled = filters * factor
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def _vgg16() -> Iterator[Variable]:
    width = 3
    for block, (filters, count) in enumerate(
        ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1
    ):
        for i in range(1, count + 1):
            path = f"block{block}_conv{i}"
            yield from _at(block - 1, convolution(path, width, filters, 3, bias=True))
            width = filters
