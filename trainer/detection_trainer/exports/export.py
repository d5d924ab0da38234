"""Models in formats for other programs, each in its own folder, committed by a manifest.

    export/saved_model-00018000/{saved_model.pb, variables/…, assets/label_map.pbtxt}
    export/saved_model-00018000/manifest.json   written last: lists the files with SHA-256
    export/odapi-00018000/{ckpt-1.index, ckpt-1.data-…, checkpoint, pipeline.config, …}

A folder without a manifest is ignored, and a later export overwrites it. TensorFlow is imported
only for an export.
"""

import json
import re
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from detection_trainer.checkpoints.export_manifest import (
    ExportManifest,
    export_record,
    read_export,
)
from detection_trainer.checkpoints.format import MANIFEST_FILE, Checkpoint
from detection_trainer.checkpoints.manifest import FileRecord
from detection_trainer.contract.base import bytes_digest, dump
from detection_trainer.contract.report import ExportRecord
from detection_trainer.contract.spec import ExportFormat
from detection_trainer.storage import Folder

EXPORTS = "export"
FOLDERS: dict[ExportFormat, str] = {"SavedModel": "saved_model", "ODAPI": "odapi"}
_NAME = re.compile(rf"^{EXPORTS}/((?:{'|'.join(FOLDERS.values())})-\d+)/{MANIFEST_FILE}$")


def export_folder(run: Folder, step: int, form: ExportFormat = "SavedModel") -> Folder:
    """Return the folder for the export of a run's checkpoint of `step`."""
    return run.child(f"{EXPORTS}/{FOLDERS[form]}-{step:08d}")


def list_exports(run: Folder) -> list[ExportRecord]:
    """Return the committed exports of a run's folder, newest step first."""
    names = (_NAME.match(entry.path) for entry in run.list(f"{EXPORTS}/"))
    found = (read_export(run.child(f"{EXPORTS}/{match[1]}")) for match in names if match)
    return sorted(filter(None, found), key=lambda export: -export.step)


def export_checkpoint(
    checkpoint: Checkpoint,
    place: Folder,
    before_commit: Callable[[], None] = lambda: None,
    form: ExportFormat = "SavedModel",
) -> ExportRecord:
    """Export `checkpoint` to `place`; an existing export of the same weights is kept.

    Args:
        checkpoint: its weights are exported.
        place: the export's own folder; other files in it are not changed.
        form: the format.
        before_commit: raises if this process may no longer write.

    Raises:
        DamagedCheckpointError: the weights' bytes differ from the checkpoint's manifest.
        InvalidConfigError: the format does not support the model.
    """
    known = read_export(place)
    if known is not None and (known.digest, known.format) == (checkpoint.manifest.digest, form):
        return known
    with tempfile.TemporaryDirectory() as scratch:
        _write(checkpoint, Path(scratch), form)
        return _commit(checkpoint, Path(scratch), place, before_commit, form)


def _write(checkpoint: Checkpoint, path: Path, form: ExportFormat) -> None:
    # TensorFlow takes seconds to import, and an export that exists does not need it.
    match form:
        case "SavedModel":
            from detection_trainer.exports.saved_model import write_saved_model  # noqa: PLC0415

            write_saved_model(checkpoint, path)
        case "ODAPI":
            from detection_trainer.exports.odapi_checkpoint import write_odapi_checkpoint  # noqa: PLC0415

            write_odapi_checkpoint(checkpoint, path)


def _commit(
    checkpoint: Checkpoint,
    local: Path,
    place: Folder,
    before_commit: Callable[[], None],
    form: ExportFormat,
) -> ExportRecord:
    # An older export is invalid while its files are replaced.
    if place.exists(MANIFEST_FILE):
        place.delete(MANIFEST_FILE)
    paths = sorted(path for path in local.rglob("*") if path.is_file())
    for path in paths:
        place.write(path.relative_to(local).as_posix(), path)
    manifest = ExportManifest(
        format=form,
        step=checkpoint.step,
        digest=checkpoint.manifest.digest,
        classes=checkpoint.manifest.classes,
        exported_at=datetime.now(UTC),
        files=_file_records(local, paths),
    )
    before_commit()
    place.write(MANIFEST_FILE, (json.dumps(dump(manifest), indent=1) + "\n").encode())
    return export_record(place, manifest)


def _file_records(local: Path, paths: Sequence[Path]) -> dict[str, FileRecord]:
    return {
        path.relative_to(local).as_posix(): FileRecord(
            sha256=bytes_digest([path.read_bytes()]),
            size=path.stat().st_size,
        )
        for path in paths
    }
