"""Sets up the process that computes: to be called before TensorFlow is first imported."""

import ctypes
import os

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
"""Parameters of mallopt(3), as glibc's malloc.h numbers them."""
_KEPT_BYTES = 1 << 30
_GROWTH_BYTES = 1 << 26


def prepare_process() -> None:
    """Choose TensorFlow's CPU kernels, silence its log, and keep the memory that a step freed.

    What the environment says already is left as it is. TensorFlow takes oneDNN's kernels by itself
    on some processors only (those with AVX-512's neural network instructions); here they are
    chosen on all, where they were measured to be faster (docs/benchmarks.md).
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # TensorFlow's own log lines would drown what is said here.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let malloc keep what is freed: each step asks for the same tensors again.

    Else glibc hands large ones back to the kernel, which zeroes every page of them again. Where
    there is no glibc, malloc stays as it is.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
    mallopt(_TOP_PAD, _GROWTH_BYTES)
