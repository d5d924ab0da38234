import pytest

from benchmarks.rounds import Figure, table


def test_a_figure_is_its_median_and_its_range() -> None:
    assert Figure.of([3.0, 1.0, 2.0]).text(".1f", " s") == "2.0 s (1.0 … 3.0)"


def test_one_round_has_no_range() -> None:
    assert Figure.of([3.0]).text() == "3.00"


def test_no_round_is_no_figure() -> None:
    with pytest.raises(ValueError, match="at least one round"):
        Figure.of([])


def test_a_ratio_is_computed_round_by_round() -> None:
    # The second round was twice as slow for both.
    assert Figure.of([4.0, 2.0]).over(Figure.of([2.0, 1.0])) == Figure.of([2.0, 2.0])


def test_a_table_is_markdown() -> None:
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
