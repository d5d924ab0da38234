"""Kubernetes quantities such as `20Gi`, `500m` or `1e3`, as numbers that compare.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity
"""

import re
from decimal import Decimal

_FACTORS = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}
_QUANTITY = re.compile(r"([+-]?[0-9]*\.?[0-9]+\.?(?:[eE][+-]?[0-9]{1,3})?)([numkMGTPE]|[KMGTPE]i)?")


def parse_quantity(text: object) -> Decimal | None:
    """Return the number of a quantity; None if it is not one.

    >>> parse_quantity("1Gi") == parse_quantity("1024Mi")
    True
    """
    match = _QUANTITY.fullmatch(str(text).strip())
    return None if match is None else Decimal(match[1]) * _FACTORS[match[2] or ""]
