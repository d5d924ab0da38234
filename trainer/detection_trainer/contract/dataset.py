"""What a training is trained and evaluated on."""

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from detection_trainer.contract.base import ClassName, Contract, SpecStorageUri
from detection_trainer.contract.rules import (
    cel,
    exactly_one_of,
    require_one,
    rules_of,
    with_rules,
)

_NAMES_SHOWN = 10


class Place(Contract):
    """TFRecord files; the last path segment may contain `*` wildcards."""

    uri: SpecStorageUri
    """s3://, gs://, az:// or file:// (a mounted volume), for example
    `s3://data/trees/train-*.tfrecord`.
    """
    additional_uris: Annotated[list[SpecStorageUri], Field(min_length=1, max_length=64)] | None = (
        None
    )
    """More files of the same set, in this order, each as in `uri`. A file that several patterns
    match counts once. Absent: none. For example `[s3://data/parks/train-*.tfrecord]`.
    """


class File(Contract):
    """A single file."""

    uri: SpecStorageUri
    """s3://, gs://, az:// or file:// (a mounted volume), for example
    `s3://data/trees/label_map.pbtxt`.
    """


class Dataset(Contract):
    """TFRecords with the OD API's features, and their classes."""

    model_config = with_rules(
        *rules_of(exactly_one_of("labelMap", "classes")),
        cel(
            "!has(self.classes) || !has(self.numClasses) || size(self.classes) == self.numClasses",
            "numClasses must be the number of classes: correct it, or leave it out",
        ),
    )

    train: Place
    """The TFRecords to train on."""
    validation: Place | None = None
    """The TFRecords to evaluate on; absent: no evaluation."""
    label_map: File | None = None
    """The OD API's label map (`label_map.pbtxt`); exactly one of labelMap and classes is given."""
    classes: Annotated[list[ClassName], Field(min_length=1, max_length=1000)] | None = None
    """The names of the classes in the order of their ids, which start at 1, for example `[tree,
    car]`.
    """
    num_classes: Annotated[int, Field(ge=1, le=1000)] | None = None
    """The required number of classes, as `num_classes` of a pipeline.config: a check."""
    max_bad_records: Annotated[int, Field(ge=0, le=10**9)] = 0
    """Records that may be unreadable or invalid in all; one more fails the training with
    DataInvalid.
    """

    @model_validator(mode="after")
    def _one_source_of_classes(self) -> Self:
        require_one(self, "dataset", "labelMap", "classes")
        if self.classes is not None:
            _require_distinct(self.classes)
            self.require_count(self.classes, "dataset.classes")
        return self

    def require_count(self, classes: Sequence[str], place: str) -> None:
        """Compare the number of `classes`, which come from `place`, with the required number.

        Raises:
            ValueError: the numbers differ.
        """
        if self.num_classes in {None, len(classes)}:
            return
        shown = ", ".join(classes[:_NAMES_SHOWN]) + (", …" if len(classes) > _NAMES_SHOWN else "")
        msg = (
            f"{place}: expected {self.num_classes} classes, the value of dataset.numClasses "
            f"(num_classes of a pipeline.config); received {len(classes)}: {shown}. Correct the "
            "number, or name the label map with all classes"
        )
        raise ValueError(msg)


def _require_distinct(classes: Sequence[str]) -> None:
    """Refuse repeated names; a rule of admission that compares 1,000 names would cost too much."""
    places: dict[str, list[str]] = {}
    for number, name in enumerate(classes, start=1):
        places.setdefault(name, []).append(str(number))
    repeated = [f"{n!r} as {' and '.join(ids)}" for n, ids in places.items() if len(ids) > 1]
    if repeated:
        shown = ", ".join(repeated[:_NAMES_SHOWN])
        msg = (
            f"dataset.classes: expected each name once, because its place is the class's id; "
            f"received {shown}: remove or rename the repeated ones"
        )
        raise ValueError(msg)
