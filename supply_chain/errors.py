"""Every error of this package; each message states what was received, expected, and what to do."""


class SupplyChainError(Exception):
    """The head of the tree."""


class BillError(SupplyChainError):
    """A bill of materials cannot be made, or has a licence that is not allowed."""


class ReleaseError(SupplyChainError):
    """The checkout does not match its tag, or a chart cannot be pinned."""
