"""Every error of the local cluster, each with what was found and what to do."""

from __future__ import annotations


class LocalClusterError(Exception):
    """Base of all errors that end a command with a message instead of a traceback."""

    def __init__(self, found: str, *, expected: str, remedy: str) -> None:
        """Keep what a person needs: found, expected, what to do."""
        super().__init__(f"{found}\n  expected: {expected}\n  what to do: {remedy}")
        self.found = found
        self.expected = expected
        self.remedy = remedy


class MachineError(LocalClusterError):
    """The machine lacks something: permissions, disk space, a kernel feature, a package."""


class NetworkError(LocalClusterError):
    """An address range is taken, or a package registry does not answer."""


class BuildError(LocalClusterError):
    """A binary or an image could not be built."""


class ClusterStateError(LocalClusterError):
    """The cluster is not in the state that a command needs."""


class ComponentError(LocalClusterError):
    """A program of the cluster did not start in time."""
