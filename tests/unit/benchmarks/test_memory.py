import re
from pathlib import Path

from benchmarks.operator.memory import limit_bytes

PAGE = Path(__file__).parents[3] / "docs/operations.md"
FORMULA = r"limits.memory = (\d+) MiB \+ trainings \* \((\d+) KiB \+ (0\.\d+) \* mean size"


def test_the_benchmark_compares_with_the_formula_of_the_documentation() -> None:
    found = re.search(FORMULA, PAGE.read_text())
    assert found is not None
    constant, each, share = int(found[1]) * 2**20, int(found[2]) * 2**10, float(found[3])
    assert limit_bytes(0, 1e5) == constant
    assert limit_bytes(10, 1e5) == constant + 10 * (each + share * 1e5)
