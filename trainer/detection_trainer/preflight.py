"""Checks everything of a training that needs no training: minutes earlier, without a GPU.

It checks configuration, checkpoint folder, label map, source of the weights and dataset, in this
order, with the functions that the run uses. So the run does not refuse what passes here. It leaves
no file behind. `detection-trainer preflight` calls it, which the operator runs as a Job. Imports no
TensorFlow.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from detection_trainer.checkpoints.candidate import Candidate
from detection_trainer.checkpoints.format import list_checkpoints
from detection_trainer.checkpoints.manifest import Manifest
from detection_trainer.checkpoints.ownership import Owner, require_no_other_owner
from detection_trainer.checkpoints.resume_check import have_records_changed, require_same_classes
from detection_trainer.contract.base import Contract, Digest
from detection_trainer.contract.dataset import Place
from detection_trainer.contract.report import DatasetPin, VariableCounts
from detection_trainer.contract.restore_check import compare_for_restore
from detection_trainer.contract.shapes import variable_shapes
from detection_trainer.contract.sources import RestoreMode
from detection_trainer.contract.spec import TrainingSpec, config_digest
from detection_trainer.contract.training import Training
from detection_trainer.data.dataset import VERIFIED_BYTES, DatasetSummary, open_dataset
from detection_trainer.data.label_map import load_classes
from detection_trainer.data.source import find_files, pin_files
from detection_trainer.errors import RestoreRefusedError
from detection_trainer.options import Options
from detection_trainer.storage import Folder, create_exclusively, open_folder
from detection_trainer.training.cycles import choose_cycles
from detection_trainer.training.start import (
    Continue,
    Restore,
    Resume,
    Scratch,
    choose_start,
    require_startable,
)
from detection_trainer.weights.continuation import continued, require_continuable
from detection_trainer.weights.odapi import continuation as odapi
from detection_trainer.weights.odapi.checkpoint import ODAPIWeights
from detection_trainer.weights.sources import find_run, open_weights

_PROBE = ".preflight-"


class FolderResult(Contract):
    """What the checkpoint folder of the run contains."""

    uri: str
    owner: str | None = None
    """`namespace/name` of the training that owns the folder; None before its first attempt."""
    checkpoints: list[int] = []
    """Steps with a valid manifest, newest first."""
    damaged: list[str] = []


class SourceResult(Contract):
    """The initial state of the first attempt."""

    start: Literal["Resume", "Continue", "Restore", "Scratch"]
    step: int
    uri: str | None = None
    mode: RestoreMode | None = None
    digest: Digest | None = None
    variables: VariableCounts | None = None
    """How many variables would be restored, and how many would be fresh."""
    restored: list[str] = []
    """For a restore: the paths of the restored variables."""
    fresh: dict[str, str] = {}
    """For a restore: path of each fresh variable -> why it is fresh."""


class DataResult(Contract):
    """One dataset."""

    uri: str
    summary: DatasetSummary
    sampled_files: list[str] = []
    """The files read of a large dataset in object storage; empty if all were read."""


class PreflightResult(Contract):
    """The result of a preflight that found no error."""

    config_digest: Digest
    classes: list[str]
    folder: FolderResult
    source: SourceResult
    train: DataResult
    train_files: DatasetPin
    validation: DataResult | None = None
    notes: list[str] = []
    """Warnings: they do not stop the run."""

    @property
    def message(self) -> str:
        """One sentence for the status."""
        train, source = self.train.summary, self.source
        begin = {
            "Resume": f"resumes at step {source.step}",
            "Continue": f"continues {source.uri} at step {source.step}",
            "Restore": f"starts at step 0 and restores {source.uri} (mode {source.mode})",
            "Scratch": "starts from scratch",
        }[source.start]
        notes = "".join(f"; {note}" for note in self.notes)
        return (
            f"{train.images} images with {train.boxes} boxes of {len(self.classes)} classes; "
            f"{begin}{notes}"
        )


def run_preflight(training: Training, options: Options, cache_dir: Path) -> PreflightResult:
    """Check `training` where this process runs.

    Args:
        training: the document.
        options: credentials, and where the checkpoint folder is mounted.
        cache_dir: receives copies of datasets in object storage.

    Raises:
        TrainerError: the first error that would end an attempt, with the run's own message.
    """
    spec = training.spec
    folder = open_folder(options.checkpoint_folder(spec), options.credentials)
    state = _look_at_folder(folder, training)
    if options.is_by_hand and not state.manifests:
        require_startable(spec)
    classes = load_classes(spec.dataset, options.credentials)
    source = _check_source(state, spec, classes, options.credentials)
    _require_writable(folder)
    # Pin the files before they are read: the run then notices a change made in the meantime.
    pinned = pin_files(find_files(spec.dataset.train, options.credentials))
    data = _DataCheck(spec, classes, options.credentials, cache_dir)
    train = data.check(spec.dataset.train, "train")
    validation = spec.dataset.validation
    return PreflightResult(
        config_digest=config_digest(spec),
        classes=classes,
        folder=state.result,
        source=source,
        train=train,
        train_files=pinned,
        validation=None if validation is None else data.check(validation, "validation"),
        notes=_notes(state, train),
    )


@dataclass(frozen=True, slots=True)
class _FolderState:
    """The folder and its manifests, newest first."""

    result: FolderResult
    manifests: Sequence[Manifest]
    candidates: Sequence[Candidate]


def _look_at_folder(folder: Folder, training: Training) -> _FolderState:
    checkpoints, damaged = list_checkpoints(folder)
    manifests = [checkpoint.manifest for checkpoint in checkpoints]
    mine = Owner.of(training.identity, config_digest(training.spec))
    owner = require_no_other_owner(folder, mine, manifests=manifests, uid=training.uid)
    return _FolderState(
        result=FolderResult(
            uri=folder.uri,
            owner=None if owner is None else f"{owner.namespace}/{owner.name}",
            checkpoints=[manifest.step for manifest in manifests],
            damaged=[f"step {c.step}: {c.problem}" for c in damaged],
        ),
        manifests=manifests,
        candidates=[*(Candidate(manifest.step) for manifest in manifests), *damaged],
    )


def _check_source(
    state: _FolderState, spec: TrainingSpec, classes: list[str], credentials: Mapping[str, Path]
) -> SourceResult:
    """Choose the initial state as the run does, and compare what it would restore."""
    match choose_start(state.candidates, spec):
        case Resume(step=step):
            manifest = next(m for m in state.manifests if m.step == step)
            require_same_classes(manifest, classes)
            choose_cycles(spec, manifest.cycles)
            return SourceResult(start="Resume", step=step, digest=manifest.digest)
        case Continue(uri=uri):
            return _check_continue(uri, spec, classes, credentials)
        case Restore(mode=mode, uri=uri):
            choose_cycles(spec, None)
            return _check_restore(mode, uri, spec, classes, credentials)
        case Scratch():
            choose_cycles(spec, None)
            return SourceResult(start="Scratch", step=0)


def _check_continue(
    uri: str, spec: TrainingSpec, classes: list[str], credentials: Mapping[str, Path]
) -> SourceResult:
    found = find_run(uri, credentials, spec.model)
    if isinstance(found, ODAPIWeights):
        step = odapi.require_continuable(found, spec, len(classes))
        choose_cycles(spec, None)
        variables = odapi.provenance(found, None).variables
        return SourceResult(start="Continue", step=step, uri=found.uri, variables=variables)
    manifest = found.manifest
    require_continuable(manifest, uri, spec, classes)
    choose_cycles(spec, manifest.cycles)
    return SourceResult(
        start="Continue",
        step=manifest.step,
        uri=found.folder.uri,
        digest=manifest.digest,
        variables=continued(manifest, uri).variables,
    )


def _check_restore(
    mode: RestoreMode,
    uri: str,
    spec: TrainingSpec,
    classes: list[str],
    credentials: Mapping[str, Path],
) -> SourceResult:
    """Compare names and shapes without reading tensors or downloading ImageNet weights.

    Raises:
        RestoreRefusedError: they differ; the error names each difference.
    """
    source = open_weights(uri, credentials, spec.model)
    plan = compare_for_restore(
        mode,
        source.shapes,
        variable_shapes(spec.model, len(classes)),
        source.classes,
        classes,
        source_model=source.model,
        target_model=spec.model,
    )
    if plan.differences:
        raise RestoreRefusedError(plan.refusal(source.uri), plan.differences)
    return SourceResult(
        start="Restore",
        step=0,
        uri=source.uri,
        mode=mode,
        digest=source.digest,
        variables=VariableCounts(restored=len(plan.assign), fresh=len(plan.fresh)),
        restored=plan.assign,
        fresh=plan.reasons,
    )


def _require_writable(folder: Folder) -> None:
    """Create and delete a small file, so that read-only credentials fail here.

    Raises:
        StorageUnsupportedError: the storage ignores conditional create.
    """
    name = f"{_PROBE}{secrets.token_hex(6)}"
    data = b"written by the preflight check, to be deleted by it\n"
    create_exclusively(folder, name, data)
    folder.delete(name)


@dataclass(frozen=True, slots=True)
class _DataCheck:
    """Reads a dataset as the run does; of a large one in object storage only one file."""

    spec: TrainingSpec
    classes: Sequence[str]
    credentials: Mapping[str, Path]
    cache_dir: Path

    def check(self, place: Place, purpose: str) -> DataResult:
        files = find_files(place, self.credentials)
        sampled: list[str] = []
        is_remote = any(file.folder.local_path(file.entry.path) is None for file in files)
        if is_remote and sum(file.entry.size for file in files) > VERIFIED_BYTES:
            filled = [file for file in files if file.entry.size] or files
            sampled = [min(filled, key=lambda file: file.entry.size).uri]
        dataset = open_dataset(
            Place(uri=sampled[0]) if sampled else place,
            self.classes,
            cache_dir=self.cache_dir,
            credentials=self.credentials,
            max_bad_records=self.spec.dataset.max_bad_records,
            purpose=purpose,
        )
        return DataResult(uri=place.uri, summary=dataset.summary, sampled_files=sampled)


def _notes(state: _FolderState, train: DataResult) -> list[str]:
    notes = list(state.result.damaged)
    if train.summary.bad_record_count:
        first = train.summary.bad_records[0]
        notes.append(f"{train.summary.bad_record_count} records are skipped, the first: {first}")
    if train.summary.turned_images:
        notes.append(
            f"{train.summary.turned_images} images have an EXIF orientation, which training "
            "ignores: if the boxes fit the rotated images that viewers show, convert the dataset "
            "again"
        )
    absent = [name for name, count in train.summary.boxes_per_class.items() if not count]
    if absent and not train.sampled_files:
        notes.append(f"the training set has no box of {', '.join(absent[:8])}")
    if train.sampled_files:
        notes.append(f"only {train.sampled_files[0]} of the training set was read")
    elif state.manifests:
        newest = state.manifests[0]
        if have_records_changed(newest, train.summary.digest):
            notes.append(
                f"the training set has changed since step {newest.step} was trained: the run will "
                "refuse to resume; restore the files, or create a new training with continueFrom"
            )
    return notes
