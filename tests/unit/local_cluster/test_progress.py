from types import SimpleNamespace

import pytest

from local_cluster import progress
from local_cluster.errors import BuildError


def test_a_step_shows_its_label_and_its_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 102.5])
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with progress.step("make tea"):
        pass
    assert "✓ make tea 2.5 s" in capsys.readouterr().err


def test_a_failed_step_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BuildError), progress.step("make tea"):
        raise BuildError("cold", expected="hot", remedy="heat")
    assert "✗ make tea" in capsys.readouterr().err


def test_a_command_s_output_is_returned() -> None:
    assert progress.run(["echo", "hello"], label="greet", remedy="") == "hello\n"


def test_a_failed_command_is_quoted_with_what_to_do() -> None:
    with pytest.raises(
        BuildError, match=r"ended with 3; its last output was:\n    no water\n"
    ) as e:
        progress.run(["sh", "-c", "echo no water; exit 3"], label="boil", remedy="open the tap")
    assert e.value.remedy == "open the tap"


def test_a_long_step_reports_now_and_then_that_it_is_running(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LOG_REFRESH_S", 0.01)
    with progress.step("steep"):
        seen = ""
        while "… steep" not in seen:
            seen += capsys.readouterr().err
    assert "\r" not in seen
