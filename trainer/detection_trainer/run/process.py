"""Prepares the process for computing; call it before TensorFlow is first imported."""

import ctypes
import os
import sys

from detection_trainer.run.native_log import hide_native_log

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
"""Parameters of mallopt(3), numbered as in glibc's malloc.h."""
_KEPT_BYTES = 1 << 30
_GROWTH_BYTES = 1 << 26
_ERRORS_ONLY = "2"
"""Of TF_CPP_MIN_LOG_LEVEL: no information and no warnings."""


def prepare_process() -> None:
    """Choose TensorFlow's CPU kernels, silence its log, and let malloc keep freed memory.

    Environment variables that are already set win: TF_CPP_MIN_LOG_LEVEL=0 shows the log, also in a
    terminal. By itself TensorFlow uses oneDNN's kernels only on processors with AVX-512's neural
    network instructions. Here they are used on all processors, because measurements showed them to
    be faster (docs/benchmarks.md).
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # TensorFlow's own log lines would hide the trainer's lines.
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", _ERRORS_ONLY)
    if level >= _ERRORS_ONLY and sys.stderr.isatty():
        hide_native_log()
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let malloc keep freed memory, because each step allocates the same tensors again.

    Otherwise glibc returns large blocks to the kernel, which zeroes all their pages again. Without
    glibc malloc is unchanged.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
    mallopt(_TOP_PAD, _GROWTH_BYTES)
