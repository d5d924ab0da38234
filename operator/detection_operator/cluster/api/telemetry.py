"""What the cluster layer reports about itself; `server/metrics.py` counts it."""

from typing import Protocol


class Telemetry(Protocol):
    """Receives measurements."""

    def request_ended(self, verb: str, code: int, seconds: float) -> None:
        """Count one API request; code 0: no answer."""

    def reconciled(self, seconds: float, error: str) -> None:
        """Count one reconciliation; `error` is empty or the error's reason."""

    def resynced(self, pruned: int, missed: int) -> None:
        """Count a resync: records that were deleted, and objects whose events did not arrive."""

    def watch_answered(self, plural: str, code: int) -> None:
        """Count one opening of a watch stream; code 0: no answer."""

    def report_handled(self, result: str) -> None:
        """Count one report: `written`, `deferred`, or why it was refused."""

    def quarantined(self, plural: str) -> None:
        """Count one version of an object that cannot be read."""
