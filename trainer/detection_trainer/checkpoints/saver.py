"""Saves while training continues: the loop waits only for the copy from the device.

At most one save is running. Of those that wait only the newest is kept, as each is complete.
"""

import threading
from collections.abc import Callable

from detection_trainer.checkpoints.format import Snapshot
from detection_trainer.errors import StorageUnavailableError

MAX_FAILURES = 3
"""How many saves in a row may fail because the storage is unavailable, before the attempt ends."""


class Saver:
    """A thread that commits snapshots."""

    def __init__(
        self, commit: Callable[[Snapshot], None], on_delay: Callable[[Snapshot, Exception], None]
    ) -> None:
        """Start the thread.

        Args:
            commit: writes and commits one snapshot; called by the thread only.
            on_delay: receives a save that failed by the storage; a later save replaces it.
        """
        self._commit, self._on_delay = commit, on_delay
        self._changed = threading.Condition()
        self._waiting: Snapshot | None = None
        self._busy = False
        self._closed = False
        self._failures = 0
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="saver", daemon=True)
        self._thread.start()

    def submit(self, snapshot: Snapshot) -> None:
        """Save `snapshot` when the running save is done; replaces a snapshot that waits.

        Raises:
            TrainerError: an earlier save failed.
        """
        self.check()
        with self._changed:
            self._waiting = snapshot
            self._changed.notify_all()

    def save(self, snapshot: Snapshot) -> None:
        """Save `snapshot` and wait until it is committed.

        Raises:
            TrainerError: the save failed; unlike in the thread, the first failure is raised.
        """
        self.drain()
        self._commit(snapshot)
        self._failures = 0

    def drain(self) -> None:
        """Wait until no save is running or waiting; raises the error of a failed save."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is None and not self._busy)
        self.check()

    def check(self) -> None:
        """Raise the error of a failed save; does not wait."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Finish the running save, drop the one that waits, and end the thread."""
        with self._changed:
            self._closed, self._waiting = True, None
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._waiting is not None)
                if self._waiting is None:
                    return
                snapshot, self._waiting, self._busy = self._waiting, None, True
            self._save_one(snapshot)
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _save_one(self, snapshot: Snapshot) -> None:
        try:
            self._commit(snapshot)
            self._failures = 0
        except StorageUnavailableError as error:
            self._failures += 1
            if self._failures >= MAX_FAILURES:
                self._failure = error
            else:
                self._on_delay(snapshot, error)
        except BaseException as error:  # noqa: BLE001 - the loop raises it in its own thread
            self._failure = error
