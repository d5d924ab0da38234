"""Saves while training continues: the loop waits only for the copy off the device.

One save is in flight at most; of those that wait the newest wins, since each is a whole state.
"""

import threading
from collections.abc import Callable

from detection_trainer.checkpoints.format import Snapshot
from detection_trainer.errors import StorageUnavailableError

MAX_FAILURES = 3
"""So many saves in a row may fail by an unavailable storage before the attempt ends."""


class Saver:
    """A thread that commits snapshots."""

    def __init__(
        self, commit: Callable[[Snapshot], None], on_delay: Callable[[Snapshot, Exception], None]
    ) -> None:
        """Start the thread.

        Args:
            commit: writes and commits one snapshot; called by the thread only.
            on_delay: told of a save that the storage refused and a later one will make up for.
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
        """Save `snapshot` when the one in flight is done; replaces one that waits.

        Raises:
            TrainerError: what an earlier save failed with.
        """
        self.check()
        with self._changed:
            self._waiting = snapshot
            self._changed.notify_all()

    def save(self, snapshot: Snapshot) -> None:
        """Save `snapshot` and wait until it is committed.

        Raises:
            TrainerError: it could not be; every step of a longer outage counts here.
        """
        self.drain()
        self._commit(snapshot)
        self._failures = 0

    def drain(self) -> None:
        """Wait until nothing is in flight; raises what failed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is None and not self._busy)
        self.check()

    def check(self) -> None:
        """Raise what a save failed with; costs nothing when none did."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Let the save in flight end, drop one that waits, and end the thread."""
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
