"""Opens the datasets of a run, and logs what they contain."""

from dataclasses import dataclass

from detection_trainer.checkpoints.manifest import Manifest
from detection_trainer.checkpoints.resume_check import require_same_classes
from detection_trainer.contract.dataset import Place
from detection_trainer.data.cache import default_cache_dir
from detection_trainer.data.dataset import Dataset, open_dataset
from detection_trainer.data.label_map import load_classes
from detection_trainer.data.source import require_pinned
from detection_trainer.reporting.console import Console
from detection_trainer.run.context import Attempt


@dataclass(frozen=True, slots=True)
class Datasets:
    """The classes and the validated records of a run."""

    classes: list[str]
    train: Dataset
    validation: Dataset | None


def open_datasets(attempt: Attempt, resumed: Manifest | None = None) -> Datasets:
    """Open and validate label map, training and validation set.

    Raises:
        DatasetChangedError: they differ from those of the preflight, or the classes from those of
            the checkpoint `resumed`.
        DataInvalidError: label map or records are invalid.
    """
    spec, options = attempt.spec, attempt.options
    credentials = options.credentials
    classes = load_classes(spec.dataset, credentials)
    if resumed is not None:
        # Compare the classes before the records, which may take minutes to read.
        require_same_classes(resumed, classes)
    if options.dataset_digest is not None:
        require_pinned(spec.dataset.train, options.dataset_digest, credentials)

    def opened(place: Place, purpose: str) -> Dataset:
        attempt.stop.raise_if_requested()
        dataset = open_dataset(
            place,
            classes,
            cache_dir=options.cache_dir or default_cache_dir(),
            credentials=credentials,
            max_bad_records=spec.dataset.max_bad_records,
            purpose=purpose,
        )
        _log_dataset(attempt.reporter.console, dataset, purpose)
        return dataset

    validation = spec.dataset.validation
    return Datasets(
        classes=classes,
        train=opened(spec.dataset.train, "train"),
        validation=None if validation is None else opened(validation, "validation"),
    )


def _log_dataset(console: Console, dataset: Dataset, purpose: str) -> None:
    about = dataset.summary
    sizes = ", ".join(f"{count} {size}" for size, count in about.boxes_per_size.items())
    message = (
        f"{purpose}: {about.images} images in {about.files} files, {about.boxes} boxes ({sizes})"
    )
    if about.bad_record_count:
        message += f"; skips {about.bad_record_count} bad records: {about.bad_records[0]}"
    counts = {"boxesPerClass": about.boxes_per_class, "boxesPerSize": about.boxes_per_size}
    console.say("dataset", message, digest=about.digest, badRecords=about.bad_records, **counts)
