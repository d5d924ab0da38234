"""What can go wrong here."""


class BillError(Exception):
    """A bill of materials cannot be made, or says what must not be."""
