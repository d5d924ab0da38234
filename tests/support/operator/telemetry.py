"""A Telemetry for tests that counts nothing."""


class Silence:
    """A Telemetry that drops everything."""

    def request_ended(self, verb: str, code: int, seconds: float) -> None:
        """Drop it."""

    def reconciled(self, seconds: float, error: str) -> None:
        """Drop it."""

    def resynced(self, pruned: int, missed: int) -> None:
        """Drop it."""

    def watch_answered(self, plural: str, code: int) -> None:
        """Drop it."""

    def report_handled(self, result: str) -> None:
        """Drop it."""

    def quarantined(self, plural: str) -> None:
        """Drop it."""
