"""On what a benchmark ran: a line for the page."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

_LIBRARIES = ("tensorflow-cpu", "tensorflow", "keras", "numpy")


def describe() -> str:
    """Return date, processor, load, GPU and library versions as one sentence each."""
    found = [f"{name} {version}" for name in _LIBRARIES if (version := _version(name))]
    load = os.getloadavg()[0]
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {len(os.sched_getaffinity(0))} cores of {_processor()}, "
        f"load {load:.1f} at the start; Python {platform.python_version()}, {', '.join(found)}. "
        f"{gpu_sentence()}"
    )


def gpu_sentence() -> str:
    """Return which card this ran on, or that none was at hand."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "No GPU was at hand: these are figures of the CPU."
    command = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 - a fixed command
    cards = "; ".join(line.strip() for line in said.splitlines() if line.strip())
    return f"On the GPU: {cards}." if cards else "No GPU answered: these are figures of the CPU."


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
