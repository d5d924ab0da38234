"""Watches for a later trainer during training, so that a superseded trainer stops soon."""

import threading

from detection_trainer.checkpoints.ownership import Fence
from detection_trainer.errors import StorageUnavailableError, SupersededError, TrainerError

PERIOD_S = 30.0


class FenceWatch:
    """A thread that checks the fence every `period_s`."""

    def __init__(self, fence: Fence, period_s: float = PERIOD_S) -> None:
        """Start the thread."""
        self._fence, self._period_s = fence, period_s
        self._ended = threading.Event()
        self._failure: TrainerError | None = None
        self._thread = threading.Thread(target=self._run, name="fence", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise SupersededError once a later trainer was seen; reads no storage."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """End the thread."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(self._period_s):
            try:
                self._fence.check()
            except SupersededError as error:
                self._failure = error
                return
            except StorageUnavailableError:
                # A trainer that cannot read the folder cannot write either: a commit checks again.
                continue
            except TrainerError as error:
                self._failure = error
                return
