"""`data_augmentation_options` of a pipeline.config as `spec.augmentation`, in the same order."""

from collections.abc import Callable
from typing import Any

from detection_trainer.contract.pipeline_config.reading import Node, PipelineConfigError

Steps = list[dict[str, Any]]
SSD_OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
"""`ssd_random_crop` without operations: the crops of the SSD paper (core/preprocessor.py)."""


def map_augmentation(train: Node) -> Steps:
    """Return `spec.augmentation`.

    Raises:
        PipelineConfigError: an option does not exist; the error lists those that do.
    """
    return [step for option in train.each("data_augmentation_options") for step in _steps(option)]


def _steps(option: Node) -> Steps:
    names = [entry.name for entry in option.message.fields]
    if len(names) != 1 or names[0] not in _OPTIONS:
        raise PipelineConfigError(
            f"{option.place()}: {', '.join(names) or 'nothing'} is not supported; expected one of "
            f"{', '.join(_OPTIONS)}: remove it, or replace it by one of these"
        )
    return _OPTIONS[names[0]](option.below(names[0]))


def _flip(ours: str) -> Callable[[Node], Steps]:
    return lambda node: [{ours: {"probability": node.number("probability", 0.5)}}]


def _delta(ours: str, default: float) -> Callable[[Node], Steps]:
    return lambda node: [{ours: {"maxDelta": node.number("max_delta", default)}}]


def _range(ours: str) -> Callable[[Node], Steps]:
    return lambda node: [
        {
            ours: {
                "minDelta": node.number("min_delta", 0.8),
                "maxDelta": node.number("max_delta", 1.25),
            }
        }
    ]


def _distort(node: Node) -> Steps:
    """Return the steps of `random_distort_color`, which has two orders."""
    brightness = {"randomAdjustBrightness": {"maxDelta": 32.0 / 255.0}}
    saturation = {"randomAdjustSaturation": {"minDelta": 0.5, "maxDelta": 1.5}}
    hue = {"randomAdjustHue": {"maxDelta": 0.2}}
    contrast = {"randomAdjustContrast": {"minDelta": 0.5, "maxDelta": 1.5}}
    order = node.integer("color_ordering", 0)
    if order not in {0, 1}:
        raise node.error("color_ordering", f"expected 0 or 1; received {order}")
    if order == 0:
        return [brightness, saturation, hue, contrast]
    return [brightness, contrast, saturation, hue]


def _crop(node: Node) -> Steps:
    return [{"randomCropImage": _window(node, 1.0, (0.75, 1.33), (0.1, 1.0), 0.3)}]


def _ssd_crop(node: Node) -> Steps:
    operations = [
        _window(operation, 0.0, (0.0, 0.0), (0.0, 0.0), 0.0)
        for operation in node.each("operations")
    ]
    default = [
        {
            "minObjectCovered": overlap,
            "minAspectRatio": 0.5,
            "maxAspectRatio": 2.0,
            "minArea": 0.1,
            "maxArea": 1.0,
            "overlapThreshold": overlap,
            "keepProbability": 0.15,
        }
        for overlap in SSD_OVERLAPS
    ]
    return [{"ssdRandomCrop": {"operations": operations or default}}]


def _window(
    node: Node,
    covered: float,
    aspect: tuple[float, float],
    area: tuple[float, float],
    overlap: float,
) -> dict[str, Any]:
    node.only("clip_boxes", expected=True, why="boxes end at the image's edge", default=True)
    return {
        "minObjectCovered": node.number("min_object_covered", covered),
        "minAspectRatio": node.number("min_aspect_ratio", aspect[0]),
        "maxAspectRatio": node.number("max_aspect_ratio", aspect[1]),
        "minArea": node.number("min_area", area[0]),
        "maxArea": node.number("max_area", area[1]),
        "overlapThreshold": node.number("overlap_thresh", overlap),
        "keepProbability": node.number("random_coef", 0.0),
    }


_OPTIONS: dict[str, Callable[[Node], Steps]] = {
    "random_horizontal_flip": _flip("randomHorizontalFlip"),
    "random_vertical_flip": _flip("randomVerticalFlip"),
    "random_rotation90": _flip("randomRotation90"),
    "random_crop_image": _crop,
    "ssd_random_crop": _ssd_crop,
    "random_adjust_brightness": _delta("randomAdjustBrightness", 0.2),
    "random_adjust_contrast": _range("randomAdjustContrast"),
    "random_adjust_saturation": _range("randomAdjustSaturation"),
    "random_adjust_hue": _delta("randomAdjustHue", 0.02),
    "random_distort_color": _distort,
}
