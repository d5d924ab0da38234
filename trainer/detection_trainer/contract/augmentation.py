"""The random changes of images and boxes: preprocessor.proto of the OD API."""

from typing import Annotated, Self

from pydantic import Field, ValidationInfo, model_validator

from detection_trainer.contract.base import Contract
from detection_trainer.contract.model import Fraction, PositiveFloat
from detection_trainer.contract.rules import (
    cel,
    exactly_one_of,
    is_new_start,
    require_one,
    require_order,
    with_rules,
)


class RandomHorizontalFlip(Contract):
    """`random_horizontal_flip` of preprocessor.proto."""

    probability: Fraction = 0.5
    """Share of images that are mirrored left to right."""


class RandomVerticalFlip(Contract):
    """`random_vertical_flip`."""

    probability: Fraction = 0.5
    """Share of images that are mirrored top to bottom."""


class RandomRotation90(Contract):
    """`random_rotation90`: a quarter turn, for images without an up (aerial ones)."""

    probability: Fraction = 0.5
    """Share of images that are turned."""


class RandomScaleCrop(Contract):
    """A square crop whose side is a random fraction of the image's, resized back."""

    min_scale: Annotated[float, Field(gt=0.0, le=1.0)] = 0.8
    """Smallest side of the crop as a fraction of the image's."""


class RandomDistortColor(Contract):
    """Brightness, contrast and saturation by up to these fractions."""

    brightness: Fraction = 0.2
    """Largest change of brightness, as a fraction of full brightness."""
    contrast: Fraction = 0.2
    """Largest change of contrast, as a fraction."""
    saturation: Fraction = 0.2
    """Largest change of saturation, as a fraction."""


class CropWindow(Contract):
    """A random window, and which boxes stay: those of which so large a part lies inside.

    Where a hundred windows do not fit the bounds, the image stays whole.
    """

    model_config = with_rules(
        cel(
            "self.minAspectRatio <= self.maxAspectRatio && self.minArea <= self.maxArea",
            "expected each minimum of a crop at or below its maximum: correct minAspectRatio, "
            "maxAspectRatio, minArea or maxArea",
        ),
    )

    min_object_covered: Fraction = 1.0
    """The window holds so large a part of at least one box."""
    min_aspect_ratio: PositiveFloat = 0.75
    """Smallest width divided by height of the window."""
    max_aspect_ratio: PositiveFloat = 1.33
    """Largest width divided by height of the window."""
    min_area: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    """Smallest area of the window as a fraction of the image's."""
    max_area: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Largest area of the window as a fraction of the image's."""
    overlap_threshold: Fraction = 0.3
    """A box stays where at least this fraction of its area lies in the window."""
    keep_probability: Fraction = 0.0
    """`random_coef`: how often the image stays as it is."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_aspect_ratio > self.max_aspect_ratio or self.min_area > self.max_area:
            msg = (
                "expected each minimum of a crop at or below its maximum; received aspect ratios "
                f"{self.min_aspect_ratio} to {self.max_aspect_ratio} and areas {self.min_area} to "
                f"{self.max_area}"
            )
            raise ValueError(msg)
        return self


class RandomCropImage(CropWindow):
    """`random_crop_image`."""


class SsdRandomCrop(Contract):
    """`ssd_random_crop`: one of these windows, chosen again for each image."""

    operations: Annotated[list[CropWindow], Field(min_length=1, max_length=16)]
    """The windows, one of which is drawn for each image."""


class RandomAdjustBrightness(Contract):
    """`random_adjust_brightness`: lighter or darker by up to this part of full brightness."""

    max_delta: Fraction = 0.2
    """Largest change, as a fraction of full brightness."""


class Factors(Contract):
    """A factor that is drawn between these two."""

    model_config = with_rules(
        cel("self.minDelta <= self.maxDelta", "minDelta must not be above maxDelta"),
    )

    min_delta: PositiveFloat = 0.8
    """Smallest factor."""
    max_delta: PositiveFloat = 1.25
    """Largest factor."""

    @model_validator(mode="after")
    def _in_order(self, info: ValidationInfo) -> Self:
        if is_new_start(info):
            require_order("the factors", minDelta=self.min_delta, maxDelta=self.max_delta)
        return self


class RandomAdjustContrast(Factors):
    """`random_adjust_contrast`: contrast times a number between these two."""


class RandomAdjustSaturation(Factors):
    """`random_adjust_saturation`: saturation times a number between these two."""


class RandomAdjustHue(Contract):
    """`random_adjust_hue`: colours turned by up to this part of the circle."""

    max_delta: Annotated[float, Field(ge=0.0, le=0.5)] = 0.02
    """Largest turn of the hue, as a fraction of the circle."""


class Augmentation(Contract):
    """Exactly one step of augmentation."""

    model_config = exactly_one_of(
        "randomHorizontalFlip",
        "randomVerticalFlip",
        "randomRotation90",
        "randomScaleCrop",
        "randomDistortColor",
        "randomCropImage",
        "ssdRandomCrop",
        "randomAdjustBrightness",
        "randomAdjustContrast",
        "randomAdjustSaturation",
        "randomAdjustHue",
    )

    random_horizontal_flip: RandomHorizontalFlip | None = None
    """Mirrors images left to right (`random_horizontal_flip`)."""
    random_vertical_flip: RandomVerticalFlip | None = None
    """Mirrors images top to bottom (`random_vertical_flip`)."""
    random_rotation90: Annotated[RandomRotation90 | None, Field(alias="randomRotation90")] = None
    """Turns images by a quarter (`random_rotation90`)."""
    random_scale_crop: RandomScaleCrop | None = None
    """Crops a random square and resizes it back."""
    random_distort_color: RandomDistortColor | None = None
    """Changes brightness, contrast and saturation."""
    random_crop_image: RandomCropImage | None = None
    """Crops a random window that keeps objects (`random_crop_image`)."""
    ssd_random_crop: SsdRandomCrop | None = None
    """Crops by one of several windows (`ssd_random_crop`)."""
    random_adjust_brightness: RandomAdjustBrightness | None = None
    """Changes brightness (`random_adjust_brightness`)."""
    random_adjust_contrast: RandomAdjustContrast | None = None
    """Changes contrast (`random_adjust_contrast`)."""
    random_adjust_saturation: RandomAdjustSaturation | None = None
    """Changes saturation (`random_adjust_saturation`)."""
    random_adjust_hue: RandomAdjustHue | None = None
    """Changes the hue (`random_adjust_hue`)."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        fields = type(self).model_fields
        names = [field.alias or name for name, field in fields.items()]
        require_one(self, "an augmentation", *names)
        return self
