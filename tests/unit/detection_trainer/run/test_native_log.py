"""A terminal shows what this program and Python write, and errors of TensorFlow's libraries."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

import detection_trainer
from detection_trainer.run.native_log import is_log

INFORMATION = "I0000 00:00:1795906272.53 8700 port.cc:153] oneDNN custom operations are on."
ERROR = "E0000 00:00:1795906272.53 8700 cuda_executor.cc:1228] INTERNAL: CUDA error"
LINES = f"""
import os, sys
from detection_trainer.run.process import prepare_process
prepare_process()
os.write(2, b"{INFORMATION}\\n{ERROR}\\n")
"""
TENSORFLOW = """
from detection_trainer.run.process import prepare_process
prepare_process()
import tensorflow
tensorflow.zeros(1)
"""

HIDDEN = {
    "information before the start": INFORMATION,
    "a warning": "W1128 22:50:35.425162 8700 computation_placer.cc:177] already registered",
    "information of an older version": "2026-11-28 22:50:35.425162: I tensorflow/core/util.cc:1] x",
    "the note about the log": "WARNING: All log messages before absl::InitializeLog() is called",
    "the note about instructions": "To enable the following instructions: AVX2, rebuild",
    "a CUDA library that is registered twice": (
        "E0000 00:00:1795906272.53 1 cuda_fft.cc:467] Unable to register cuFFT factory: Attempting"
    ),
}
SHOWN = {
    "an error": ERROR,
    "a fatal error": "F0000 00:00:1795906272.53 8700 device.cc:1] Check failed: status.ok()",
    "an error of an older version": "2026-11-28 22:50:35.4: E tensorflow/core/util.cc:1] x",
    "no GPU": "E0000 00:00:1795906272.53 1 cuda.cc:1] failed call to cuInit: no CUDA device",
    "a line of Python": "Traceback (most recent call last):",
    "a line of the C library": "free(): invalid pointer",
}


@pytest.mark.parametrize("line", HIDDEN.values(), ids=HIDDEN)
def test_is_hidden(line: str) -> None:
    assert is_log(line.encode())


@pytest.mark.parametrize("line", SHOWN.values(), ids=SHOWN)
def test_is_shown(line: str) -> None:
    assert not is_log(line.encode())


def terminal_of(program: str, **environment: str) -> str:
    """Return what a terminal shows of the standard error of `program`."""
    ours, theirs = pty.openpty()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    path = str(Path(detection_trainer.__file__).parents[1])
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**inherited, "PYTHONPATH": path, **environment},
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:
        pass  # So a terminal ends that no process has open any more.
    finally:
        os.close(ours)
    child.wait()
    return shown.decode().replace("\r\n", "\n")


def test_tensorflow_is_imported_without_a_word() -> None:
    assert terminal_of(TENSORFLOW) == ""


def test_an_error_is_shown_and_information_is_not() -> None:
    assert terminal_of(LINES) == f"{ERROR}\n"


def test_python_writes_to_the_terminal_itself() -> None:
    program = f"{LINES}\nassert sys.stderr.isatty()\nraise ValueError('seen')"
    shown = terminal_of(program).splitlines()
    assert {ERROR, "ValueError: seen"} <= set(shown)


def test_the_last_words_of_a_crash_are_shown() -> None:
    words = "F0000 00:00:1795906272.53 8700 device.cc:1] Check failed"
    program = f"{LINES}\nos.write(2, b'{words}'); os.abort()"
    assert terminal_of(program) == f"{ERROR}\n{words}"


@pytest.mark.parametrize("level", ["0", "1"])
def test_a_log_that_is_asked_for_is_shown(level: str) -> None:
    assert terminal_of(LINES, TF_CPP_MIN_LOG_LEVEL=level) == f"{INFORMATION}\n{ERROR}\n"


def test_a_level_of_the_image_hides_the_log_too() -> None:
    assert terminal_of(LINES, TF_CPP_MIN_LOG_LEVEL="2") == f"{ERROR}\n"


def test_where_there_is_no_terminal_nothing_is_held_back() -> None:
    path = str(Path(detection_trainer.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", LINES],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == f"{INFORMATION}\n{ERROR}\n"
