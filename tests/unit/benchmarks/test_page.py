from pathlib import Path

import pytest

from benchmarks.page import PAGE, MarkerError, write_part
from benchmarks.trainer.__main__ import QUESTIONS

TEXT = "before\n<!-- a -->\nold\n<!-- /a -->\nafter\n<!-- b -->\n<!-- /b -->\n"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(TEXT)
    return path


def test_a_part_is_written_between_its_markers_and_nothing_else_changes(page: Path) -> None:
    write_part(page, "a", "| new \\1 |\n")
    assert page.read_text() == TEXT.replace("\nold\n", "\n\n| new \\1 |\n\n")


def test_writing_again_replaces_what_was_written(page: Path) -> None:
    write_part(page, "a", "first")
    write_part(page, "a", "second")
    assert page.read_text() == TEXT.replace("\nold\n", "\n\nsecond\n\n")


def test_a_part_without_a_place_is_refused(page: Path) -> None:
    with pytest.raises(MarkerError, match="received 0: add it"):
        write_part(page, "c", "text")


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_page_has_a_place_for_every_question(name: str, tmp_path: Path) -> None:
    copy = tmp_path / "benchmarks.md"
    copy.write_text(PAGE.read_text())
    write_part(copy, f"bench-trainer: {name}", "measured")
    assert "measured" in copy.read_text()
