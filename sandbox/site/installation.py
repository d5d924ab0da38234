"""Installs the operator by its chart, as the README does, and removes it."""

from collections.abc import Sequence
from pathlib import Path

from sandbox.site.kube import NAMESPACES, Kube
from sandbox.site.tools import Tools, run

CHART = Path(__file__).parents[2] / "charts" / "detection-operator"
NAMESPACE = "detection-system"
RELEASE = "detection-operator"


def install(tools: Tools, *values: str, chart: Path = CHART, switches: Sequence[str] = ()) -> None:
    """Install or upgrade the operator and wait until it is ready.

    Args:
        tools: The cluster and its images.
        values: More of the chart's values, each `key=value`, as texts.
        chart: Which, the checkout's or a release's.
        switches: Values that are true or false.
    """
    operator, _, tag = tools.images["operator"].rpartition(":")
    all_values = [
        f"image.repository={operator}",
        f"image.tag={tag}",
        f"trainer.image={tools.images['trainer']}",
        *values,
    ]
    settings = [part for value in all_values for part in ("--set-string", value)]
    settings += [part for value in switches for part in ("--set", value)]
    run([
        *tools.helm, "upgrade", "--install", RELEASE, str(chart), "--namespace", NAMESPACE,
        "--create-namespace", "--take-ownership", "--wait", "--timeout", "3m",
        *settings,
    ])  # fmt: skip


def uninstall(tools: Tools, kube: Kube) -> None:
    """Remove the operator; the CustomResourceDefinition stays, and so does every training."""
    if kube.find(f"{NAMESPACES}/{NAMESPACE}"):
        run([*tools.helm, "uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found"])
        kube.delete(f"{NAMESPACES}/{NAMESPACE}")
