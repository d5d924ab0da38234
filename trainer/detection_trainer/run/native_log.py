"""Keeps the log of TensorFlow's libraries out of a terminal; their errors stay visible.

TF_CPP_MIN_LOG_LEVEL does not reach what the libraries log while they are loaded. So what they write
to file descriptor 2 goes through a child process, which runs this file. The child also prints the
last output of a process that crashes. Python's `sys.stderr` still writes to the terminal.
"""

import atexit
import os
import re
import signal
import subprocess
import sys

_STDERR = 2
_FLUSHED_WITHIN_S = 2
_LOG = re.compile(
    rb"[IW]\d{4} [\d:.]+ +\d+ \S+:\d+\] "  # absl
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IW] "  # TensorFlow before 2.18
    rb"|WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|To enable the following instructions: "
    # Logged as errors wherever TensorFlow and XLA register the same CUDA library.
    rb"|.* Unable to register cu\w+ factory: "
)


def is_log(line: bytes) -> bool:
    """Return whether the libraries wrote this line for their developers.

    >>> is_log(b"I0000 00:00:1795906272.5 8700 port.cc:153] oneDNN custom operations are on.")
    True
    >>> is_log(b"E0000 00:00:1795906272.5 8700 cuda_executor.cc:1228] INTERNAL: CUDA error")
    False
    """
    return _LOG.match(line) is not None


def hide_native_log() -> None:
    """Let only errors of native libraries reach the terminal, from now on."""
    sys.stderr.flush()
    terminal = os.dup(_STDERR)
    try:
        words = [sys.executable, "-IS", __file__]
        child = subprocess.Popen(words, stdin=subprocess.PIPE)  # noqa: S603 - this file
    except OSError:
        os.close(terminal)
        return
    if child.stdin is not None:
        os.dup2(child.stdin.fileno(), _STDERR)
        child.stdin.close()
    # Python writes past the child, so that its output does not wait for the libraries'.
    sys.stderr = os.fdopen(terminal, "w", buffering=1, encoding=sys.stderr.encoding)
    atexit.register(_end, child, terminal)


def _end(child: "subprocess.Popen[bytes]", terminal: int) -> None:
    """Give descriptor 2 back, and wait until the child has printed what it had received."""
    sys.stderr.flush()
    os.dup2(terminal, _STDERR)
    try:
        child.wait(_FLUSHED_WITHIN_S)
    except subprocess.TimeoutExpired:
        # A process that was started meanwhile still writes to the child.
        return


def _pass_on() -> None:
    """Copy standard input to descriptor 2 without the log."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin.buffer:
        if not is_log(line):
            os.write(_STDERR, line)


if __name__ == "__main__":
    _pass_on()
