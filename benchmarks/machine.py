"""Describes the machine of a benchmark: a line for the page."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

_LIBRARIES = ("tensorflow-cpu", "tensorflow", "keras", "numpy")

_CARDS = """
import tensorflow as tf
for card in tf.config.list_physical_devices("GPU"):
    print(tf.config.experimental.get_device_details(card).get("device_name", card.name))
"""


def describe() -> str:
    """Return date, processor, load, library versions and cards: the first lines of a table."""
    found = [f"{name} {version}" for name in _LIBRARIES if (version := _version(name))]
    load = os.getloadavg()[0]
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {len(os.sched_getaffinity(0))} cores of {processor()}, "
        f"load {load:.1f} at the start; Python {platform.python_version()}, {', '.join(found)}. "
        f"{gpu_sentence()}"
    )


def gpu_sentence() -> str:
    """Return which cards TensorFlow computes on, or that there was none."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    # In a separate process: a process that has searched for cards keeps them.
    output = subprocess.run(  # noqa: S603 - a fixed command
        [sys.executable, "-c", _CARDS], env=environment, capture_output=True, text=True, check=True
    ).stdout
    cards = ", ".join(output.splitlines())
    return f"On the GPU: {cards}." if cards else "No GPU was at hand: these are a CPU's figures."


def processor() -> str:
    """Return the processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
