"""Decides whether a run may resume from its own checkpoint with the present data: pure.

Called by the preflight and by the run, so that both refuse alike. The configuration is not compared
here: the ownership record contains its digest. That digest does not cover the content of the label
map and of the dataset's files.
"""

from collections.abc import Sequence
from itertools import zip_longest

from detection_trainer.checkpoints.manifest import Manifest
from detection_trainer.contract.listing import first_few
from detection_trainer.errors import DatasetChangedError

_SHOWN = 5


def require_same_classes(manifest: Manifest, classes: Sequence[str]) -> None:
    """Compare the classes with those of the checkpoint from which the run resumes.

    With other names, or the same names in another order, training would continue without an error,
    and each output of the class head would be reported as another class.

    Raises:
        DatasetChangedError: a name or an id differs.
    """
    changes = [
        f"id {number} was {_name(before)}, now {_name(now)}"
        for number, (before, now) in enumerate(zip_longest(manifest.classes, classes), start=1)
        if before != now
    ]
    if changes:
        msg = (
            f"the dataset's classes have changed since step {manifest.step} was saved: "
            f"{first_few(changes, _SHOWN)}. Restore the previous dataset.labelMap, or "
            "create a new training with restore.mode detection"
        )
        raise DatasetChangedError(msg)


def require_same_records(manifest: Manifest, digest: str) -> None:
    """Compare the digest over all training records with the checkpoint's.

    Raises:
        DatasetChangedError: they differ, so that the run cannot resume exactly.
    """
    if have_records_changed(manifest, digest):
        msg = (
            f"dataset.train has changed since step {manifest.step} was saved (digest "
            f"{(manifest.data.dataset_digest or '')[:19]}…, now {digest[:19]}…), so the run "
            "cannot resume exactly: restore the files, or create a new training with continueFrom"
        )
        raise DatasetChangedError(msg)


def have_records_changed(manifest: Manifest, digest: str) -> bool:
    """Return whether the checkpoint was trained with another digest of the training set."""
    return manifest.data.dataset_digest not in {None, digest}


def _name(name: str | None) -> str:
    return "nothing" if name is None else repr(name)
