"""Whose a checkpoint folder is, and which of its trainers may write.

    owner.json              identity and config digest of the one run that the folder belongs to
    attempts/000001.json    one marker a trainer start, made by conditional create

A trainer that sees a marker with a higher number than its own has been superseded and stops, so
that two never write, also when a node is lost and found again.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from detection_trainer.checkpoints.manifest import Stored
from detection_trainer.contract.base import Digest, dump
from detection_trainer.contract.training import Identity
from detection_trainer.errors import (
    NotFoundError,
    StorageInUseError,
    SupersededError,
    TooLargeError,
)
from detection_trainer.storage import Folder

OWNER_FILE = "owner.json"
ATTEMPTS = "attempts"
_MAX_RECORD_BYTES = 1 << 16
_MARKER = re.compile(r"(?:^|/)(\d{6,})\.json$")


class Owner(Stored):
    """The content of `owner.json`."""

    namespace: str
    name: str
    config_digest: Digest

    @property
    def identity(self) -> Identity:
        """The training that owns the folder."""
        return Identity(namespace=self.namespace, name=self.name)


class Marker(Stored):
    """The content of one marker: which attempt this trainer start belongs to."""

    attempt: int
    uid: str = ""
    """Of the resource that counted the attempts; one made anew begins again at 1."""
    started_at: datetime


def read_owner(folder: Folder) -> Owner | None:
    """Return the folder's owner, or None where nobody has claimed it.

    Raises:
        StorageInUseError: there is a record that cannot be read, so its owner is unknown.
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


def claim_folder(
    folder: Folder, identity: Identity, config_digest: str, *, has_checkpoint: Callable[[], bool]
) -> None:
    """Make the folder this run's own, or find that it is.

    The same identity and configuration adopts it. The same identity with another configuration
    may mend it as long as no checkpoint is committed.

    Raises:
        StorageInUseError: the folder belongs to another run; its owner is named.
    """
    mine = Owner(namespace=identity.namespace, name=identity.name, config_digest=config_digest)
    data = (json.dumps(dump(mine), indent=1) + "\n").encode()
    try:
        folder.write(OWNER_FILE, data, create=True)
    except FileExistsError:
        owner = read_owner(folder)
        if owner == mine:
            return
        if owner is not None:
            require_claimable(folder, owner, mine, has_checkpoint=has_checkpoint)
        folder.write(OWNER_FILE, data)


def require_claimable(
    folder: Folder, owner: Owner, mine: Owner, *, has_checkpoint: Callable[[], bool]
) -> None:
    """Compare the folder's owner with the run that wants it; writes nothing.

    Raises:
        StorageInUseError: the folder belongs to another run; its owner is named.
    """
    if owner.identity != mine.identity:
        raise StorageInUseError(_other_run(folder, owner, mine.identity))
    if owner != mine and has_checkpoint():
        raise StorageInUseError(_other_configuration(folder, owner))


@dataclass(frozen=True, slots=True)
class Fence:
    """This trainer's marker; `check` tells whether a later trainer has started."""

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
                f"trainer start {newest} has taken over {self.folder.uri}; this one is "
                f"{self.number} and writes no more"
            )
            raise SupersededError(msg)


def raise_fence(folder: Folder, attempt: int | None, now: datetime, uid: str = "") -> Fence:
    """Make the next marker, so that every trainer that started before stops.

    Args:
        folder: the run's folder.
        attempt: the operator's number for this start; None by hand: the marker's own.
        now: the time of the start.
        uid: whose attempts these are; those of another resource are not compared.

    Raises:
        SupersededError: a later attempt has started already.
        StorageInUseError: the newest marker cannot be read.
    """
    while True:
        number = max(marker_numbers(folder), default=0) + 1
        if attempt is not None and number > 1:
            _refuse_late_start(folder, number - 1, attempt, uid)
        mine = Marker(attempt=number if attempt is None else attempt, uid=uid, started_at=now)
        try:
            folder.write(_marker_path(number), _marker_bytes(mine), create=True)
        except FileExistsError:
            continue  # Another trainer took this number in the same moment.
        return Fence(folder=folder, number=number, attempt=mine.attempt)


def marker_numbers(folder: Folder) -> list[int]:
    """Return the numbers of all trainer starts that the folder has seen, ascending."""
    matches = (_MARKER.search(entry.path) for entry in folder.list(ATTEMPTS + "/"))
    return sorted(int(match[1]) for match in matches if match)


def _refuse_late_start(folder: Folder, newest: int, attempt: int, uid: str) -> None:
    path = _marker_path(newest)
    try:
        marker = Marker.model_validate_json(folder.read_small(path, _MAX_RECORD_BYTES))
    except (ValidationError, TooLargeError) as error:
        msg = (
            f"{folder.uri_of(path)} is no marker of a trainer's start, so a later attempt may have "
            "begun: make sure that no trainer writes to this folder, then delete that file"
        )
        raise StorageInUseError(msg) from error
    if marker.uid == uid and marker.attempt > attempt:
        msg = (
            f"attempt {marker.attempt} has taken over {folder.uri}; this one is attempt "
            f"{attempt} and writes nothing"
        )
        raise SupersededError(msg)


def _marker_path(number: int) -> str:
    return f"{ATTEMPTS}/{number:06d}.json"


def _marker_bytes(marker: Marker) -> bytes:
    return (json.dumps(dump(marker)) + "\n").encode()


def _other_run(folder: Folder, owner: Owner, identity: Identity) -> str:
    return (
        f"{folder.uri} belongs to training {owner.namespace}/{owner.name}; this is "
        f"{identity.namespace}/{identity.name}: give each training a folder of its own, or use "
        "continueFrom to go on from another's checkpoint"
    )


def _other_configuration(folder: Folder, owner: Owner) -> str:
    return (
        f"{folder.uri} holds checkpoints of {owner.namespace}/{owner.name} with another model, "
        "dataset, optimizer, augmentation, batch size or seed (config digest "
        f"{owner.config_digest[:19]}…): make a new training with continueFrom or restore"
    )
