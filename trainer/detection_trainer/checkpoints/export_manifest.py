"""The manifest that commits an export; the counterpart of a checkpoint's manifest.

`exports` writes it. `weights` reads it, because a user may name an export where a checkpoint is
expected. Imports no TensorFlow.
"""

from datetime import datetime

from pydantic import ValidationError

from detection_trainer.checkpoints.format import MANIFEST_FILE
from detection_trainer.checkpoints.manifest import MAX_MANIFEST_BYTES, FileRecord, Stored
from detection_trainer.contract.base import ClassName, Digest
from detection_trainer.contract.report import ExportRecord, Step
from detection_trainer.contract.spec import ExportFormat
from detection_trainer.errors import NotFoundError, TooLargeError
from detection_trainer.storage import Folder


class ExportManifest(Stored):
    """The content of an export's `manifest.json`."""

    format: ExportFormat
    step: Step
    digest: Digest
    """Digest of the weights: equal to the checkpoint's digest."""
    classes: list[ClassName]
    exported_at: datetime
    files: dict[str, FileRecord]


def read_export(place: Folder) -> ExportRecord | None:
    """Return the export committed at `place`, or None if there is no complete one."""
    try:
        manifest = ExportManifest.model_validate_json(
            place.read_small(MANIFEST_FILE, MAX_MANIFEST_BYTES)
        )
    except (NotFoundError, TooLargeError, ValidationError):
        return None
    return export_record(place, manifest)


def export_record(place: Folder, manifest: ExportManifest) -> ExportRecord:
    """Return the export at `place` as a record for reports."""
    return ExportRecord(
        format=manifest.format, step=manifest.step, uri=place.uri, digest=manifest.digest
    )
