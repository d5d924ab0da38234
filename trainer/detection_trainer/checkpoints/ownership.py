"""Decides which run a checkpoint folder belongs to, and which of its trainers may write.

    owner.json              identity and config digest of the run that owns the folder
    attempts/000001.json    one marker for each trainer start, made by conditional create

The owner record is not the only evidence, because it may be deleted during a training. So the
manifests of the checkpoints, and without a record the newest marker, must also match a run that
wants the folder.

A trainer that sees a marker with a higher number than its own is superseded and stops. So two
trainers never write, even when a lost node returns.
"""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from pydantic import ValidationError

from detection_trainer.checkpoints.manifest import Manifest, Stored
from detection_trainer.contract.base import Digest, dump
from detection_trainer.contract.training import Identity
from detection_trainer.errors import (
    NotFoundError,
    StorageInUseError,
    SupersededError,
    TooLargeError,
)
from detection_trainer.storage import Folder, create_exclusively

OWNER_FILE = "owner.json"
ATTEMPTS = "attempts"
_MAX_RECORD_BYTES = 1 << 16
_MARKER = re.compile(r"(?:^|/)(\d{6,})\.json$")


class Owner(Stored):
    """The content of `owner.json`."""

    namespace: str
    name: str
    config_digest: Digest

    @classmethod
    def of(cls, identity: Identity, config_digest: str) -> Self:
        """Return the owner record of a run."""
        return cls(namespace=identity.namespace, name=identity.name, config_digest=config_digest)

    @property
    def identity(self) -> Identity:
        """The training that owns the folder."""
        return Identity(namespace=self.namespace, name=self.name)


class Marker(Stored):
    """The content of one marker: the attempt to which a trainer start belongs."""

    attempt: int
    uid: str = ""
    """UID of the resource that counts the attempts; a recreated resource begins at 1."""
    namespace: str = ""
    name: str = ""
    """Name of the training; empty in markers of version 0.1.0."""
    started_at: datetime


def read_owner(folder: Folder) -> Owner | None:
    """Return the folder's owner, or None if the folder has no owner record.

    Raises:
        StorageInUseError: the record cannot be read, so the owner is unknown.
    """
    try:
        return Owner.model_validate_json(folder.read_small(OWNER_FILE, _MAX_RECORD_BYTES))
    except NotFoundError:
        return None
    except (ValidationError, TooLargeError) as error:
        msg = (
            f"{folder.uri}/{OWNER_FILE} is no owner record, so the folder may be another run's: "
            "choose another folder, or delete that file if no run uses it"
        )
        raise StorageInUseError(msg) from error


def take_ownership(
    folder: Folder, mine: Owner, *, manifests: Sequence[Manifest] = (), uid: str = ""
) -> None:
    """Make this run the owner of the folder, or find that it is.

    A run with the same identity and configuration keeps the folder. With the same identity and
    another configuration it replaces the record if no checkpoint is committed.

    Args:
        folder: the run's folder.
        mine: the record that this run writes.
        manifests: the manifests of the checkpoints in the folder.
        uid: of the resource; empty without the operator.

    Raises:
        StorageInUseError: the folder belongs to another run.
        StorageUnsupportedError: the storage ignores conditional create.
    """
    data = (json.dumps(dump(mine), indent=1) + "\n").encode()
    while (owner := require_no_other_owner(folder, mine, manifests=manifests, uid=uid)) is None:
        # Another trainer may create it at the same moment: the next read compares its record.
        with suppress(FileExistsError):
            create_exclusively(folder, OWNER_FILE, data)
            return
    if owner != mine:
        folder.write(OWNER_FILE, data)


def require_no_other_owner(
    folder: Folder, mine: Owner, *, manifests: Sequence[Manifest] = (), uid: str = ""
) -> Owner | None:
    """Check that all evidence of ownership allows `mine` to use the folder; writes nothing.

    Returns:
        The owner record, or None if there is none and no evidence of another owner.

    Raises:
        StorageInUseError: the folder belongs to another run.
    """
    owner = read_owner(folder)
    if owner is not None and owner.identity != mine.identity:
        raise StorageInUseError(_other_run(folder, owner.identity, mine.identity))
    if owner is not None and owner != mine and manifests:
        raise StorageInUseError(_other_configuration(folder, owner.config_digest))
    for manifest in manifests:
        _require_own_checkpoint(folder, manifest, mine)
    if owner is None:
        _require_own_start(folder, mine.identity, uid, has_checkpoint=bool(manifests))
    return owner


def _require_own_checkpoint(folder: Folder, manifest: Manifest, mine: Owner) -> None:
    if manifest.identity != mine.identity:
        raise StorageInUseError(
            f"the checkpoint of step {manifest.step} in {folder.uri} was saved by "
            f"{_named(manifest.identity, mine.identity)}; this is {_name(mine.identity)}: give "
            "each training a folder of its own, or use continueFrom to start from that checkpoint"
        )
    if manifest.config_digest != mine.config_digest:
        raise StorageInUseError(_other_configuration(folder, manifest.config_digest))


def _require_own_start(folder: Folder, mine: Identity, uid: str, *, has_checkpoint: bool) -> None:
    """Compare the newest marker of a folder whose owner record is missing."""
    newest = max(marker_numbers(folder), default=0)
    if not newest:
        return
    marker = _read_marker(folder, newest)
    if marker.name:
        is_own = Identity(namespace=marker.namespace, name=marker.name) == mine
    else:
        # Markers of version 0.1.0 have no name; the manifests were compared above.
        is_own = has_checkpoint or marker.uid == uid
    if not is_own:
        raise StorageInUseError(
            f"{folder.uri} has no {OWNER_FILE}, and {_marker_path(newest)} was not written by "
            f"{_name(mine)}, so the folder may be another run's: choose another folder, or make "
            f"sure that no trainer writes to this one, then delete {folder.uri_of(ATTEMPTS)}"
        )


@dataclass(frozen=True, slots=True)
class Fence:
    """This trainer's marker; `check` finds out whether a later trainer has started."""

    folder: Folder
    number: int
    attempt: int

    def check(self) -> None:
        """Look for a higher marker.

        Raises:
            SupersededError: there is one.
        """
        newest = max(marker_numbers(self.folder), default=self.number)
        if newest > self.number:
            msg = (
                f"trainer start {newest} now owns {self.folder.uri}; this one is "
                f"{self.number} and writes no more"
            )
            raise SupersededError(msg)


def raise_fence(
    folder: Folder,
    attempt: int | None,
    now: datetime,
    uid: str = "",
    identity: Identity | None = None,
) -> Fence:
    """Create the next marker, so that every trainer that started earlier stops.

    Args:
        folder: the run's folder.
        attempt: the operator's attempt number; None without it: the marker's own number.
        now: the time of the start.
        uid: the resource that counts the attempts; attempts of another one are not compared.
        identity: the training; it identifies the owner if the owner record is lost.

    Raises:
        SupersededError: a later attempt has already started.
        StorageInUseError: the newest marker cannot be read.
        StorageUnsupportedError: the storage ignores conditional create.
    """
    whose = {} if identity is None else dump(identity)
    while True:
        number = max(marker_numbers(folder), default=0) + 1
        if attempt is not None and number > 1:
            _refuse_late_start(folder, number - 1, attempt, uid)
        counted = number if attempt is None else attempt
        mine = Marker(attempt=counted, uid=uid, started_at=now, **whose)
        try:
            create_exclusively(folder, _marker_path(number), _marker_bytes(mine))
        except FileExistsError:
            continue  # Another trainer took this number at the same moment.
        return Fence(folder=folder, number=number, attempt=mine.attempt)


def marker_numbers(folder: Folder) -> list[int]:
    """Return the numbers of all markers in the folder, ascending."""
    matches = (_MARKER.search(entry.path) for entry in folder.list(ATTEMPTS + "/"))
    return sorted(int(match[1]) for match in matches if match)


def _refuse_late_start(folder: Folder, newest: int, attempt: int, uid: str) -> None:
    marker = _read_marker(folder, newest)
    if marker.uid == uid and marker.attempt > attempt:
        msg = (
            f"attempt {marker.attempt} now owns {folder.uri}; this one is attempt "
            f"{attempt} and writes nothing"
        )
        raise SupersededError(msg)


def _read_marker(folder: Folder, number: int) -> Marker:
    path = _marker_path(number)
    try:
        return Marker.model_validate_json(folder.read_small(path, _MAX_RECORD_BYTES))
    except (ValidationError, TooLargeError) as error:
        msg = (
            f"{folder.uri_of(path)} is no marker of a trainer's start, so a later attempt may have "
            "begun: make sure that no trainer writes to this folder, then delete that file"
        )
        raise StorageInUseError(msg) from error


def _marker_path(number: int) -> str:
    return f"{ATTEMPTS}/{number:06d}.json"


def _marker_bytes(marker: Marker) -> bytes:
    return (json.dumps(dump(marker)) + "\n").encode()


def _other_run(folder: Folder, owner: Identity, mine: Identity) -> str:
    return (
        f"{folder.uri} belongs to {_named(owner, mine)}; this is {_name(mine)}: give each training "
        "a folder of its own, or use continueFrom to start from another's checkpoint"
    )


def _other_configuration(folder: Folder, digest: str) -> str:
    return (
        f"{folder.uri} holds checkpoints of this training with another model, dataset, optimizer, "
        f"augmentation, batch size or seed (config digest {digest[:19]}…): make a new training "
        "with continueFrom or restore"
    )


def _named(other: Identity, mine: Identity) -> str:
    """Return how to name the training `other`; its name only if it is in the namespace of `mine`.

    The message becomes a condition, which must not reveal names of other namespaces.
    """
    if other.namespace == mine.namespace:
        return f"training {_name(other)}"
    return "a training of another namespace"


def _name(identity: Identity) -> str:
    return f"{identity.namespace}/{identity.name}"
