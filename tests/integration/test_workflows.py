"""The workflows as actionlint sees them; it is built once a machine, and needs no cluster."""

from pathlib import Path

import pytest

from supply_chain.workflows import ROOT, lint

RELEASE = ROOT / ".github" / "workflows" / "release.yaml"
WRONG = {
    "an unknown variable of GitHub's": ("${{ github.ref_name }}", "${{ github.tagname }}"),
    "a job that does not exist": ("needs: test", "needs: tests"),
    "a permission that does not exist": ("id-token: write", "id-tokens: write"),
    "a field that does not exist": ("timeout-minutes:", "timeout-hours:"),
}


def test_every_workflow_of_the_repository_is_valid() -> None:
    assert lint() == 0


@pytest.mark.parametrize(("old", "new"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_workflow_is_found(old: str, new: str, tmp_path: Path) -> None:
    text = RELEASE.read_text()
    assert old in text
    path = tmp_path / "release.yaml"
    path.write_text(text.replace(old, new))
    assert lint(path) != 0
