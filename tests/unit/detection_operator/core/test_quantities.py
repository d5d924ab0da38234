"""Quantities compare by value."""

from decimal import Decimal

import pytest

from detection_operator.core.quantities import parse_quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("20Gi", 20 * 1024**3), ("1024Mi", 1024**3), ("500m", Decimal("0.5")), ("2", 2),
        ("1e3", 1000), ("1E3", 1000), ("1.5k", 1500), ("1E", 10**18), (4, 4),
        ("100n", Decimal("1e-7")),
        ("4 GB", None), ("", None), ("Gi", None), ("1e9999", None), ("one", None),
    ],
)  # fmt: skip
def test_quantity(text: object, number: object) -> None:
    assert parse_quantity(text) == number
