"""`python -m demo run | clean`: runs the whole story, and removes everything again."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from demo import stories
from demo.screen import Screen
from demo.stories import NAMESPACE, Stage
from detection_trainer.data.samples import fetch_photographs, write_sample
from detection_trainer.errors import TrainerError
from sandbox.site import installation, object_store
from sandbox.site.kube import Kube, Object, WaitTimeoutError
from sandbox.site.tools import SandboxError, Tools, run

# TensorFlow's own log lines would hide the output of the demo.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SHEET = Path(__file__).parents[1] / "build" / "demo" / "trees.png"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


def main(arguments: Sequence[str]) -> int:
    """Run one command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("command", choices=("run", "clean"))
    command = parser.parse_args(arguments).command
    screen = Screen()
    try:
        return run_story(screen) if command == "run" else clean(screen)
    except (SandboxError, TrainerError, WaitTimeoutError) as error:
        screen.console.print(f"[red]{error}[/]")
        return 1


def run_story(screen: Screen) -> int:
    """Prepare everything and run the story; return 0 if every promise was kept."""
    began = time.monotonic()
    screen.chapter(
        "Preparations",
        "A real Kubernetes, the operator by its Helm chart, an S3 server, and 853 tree crowns in "
        "two aerial photographs.",
    )
    tools = Tools.choose()
    with ExitStack() as stack:
        kube = stack.enter_context(tools.connect())
        # Frequent writes make the bars move: by default progress alone is written every 30 s.
        installation.install(tools, "statusIntervalSeconds=2")
        _fresh_namespace(kube)
        object_store.deploy(kube, NAMESPACE, tools.images["s3"])
        data = fetch_photographs()
        store = stack.enter_context(object_store.reach(tools, NAMESPACE))
        _upload(screen, store)
        stage = Stage(tools, kube, screen)
        before = stories.interrupted(stage)
        after = stories.extended(stage, before)
        stories.other_classes(stage)
        stories.refused(stage)
        stories.continued(stage, after)
        stories.untouched(stage)
        draw_sheet(data, store, [part["status"] for part in (before, after)])
    screen.chapter("The end", "The trainings in the cluster:")
    screen.print(stage.kubectl("get", "dt").rstrip())
    kept = screen.close()
    screen.print(f"Truth and detections on held-out tiles: {SHEET.relative_to(Path.cwd())}")
    screen.print("Look around: python3 -m local_cluster kubectl -n vision describe dt trees")
    screen.print(f"All of it took {time.monotonic() - began:.0f} s; `make demo-clean` removes it.")
    return 0 if kept else 1


def draw_sheet(data: Path, store: object_store.ObjectStore, statuses: Sequence[Object]) -> None:
    """Draw the picture sheet with the newest checkpoint of each status."""
    # TensorFlow takes seconds to import, and only this function needs it.
    from demo.sheet import draw_sheet as draw  # noqa: PLC0415

    draw(data, store, [status["latestCheckpoint"]["uri"] for status in statuses], SHEET)


def clean(screen: Screen) -> int:
    """Remove the demo's namespace and the operator; the local cluster too, if it was used."""
    tools_are_local = Tools.is_local()
    if tools_are_local:
        run([sys.executable, "-m", "local_cluster", "down"])
        screen.print("The local cluster is down; its binaries and images stay in the cache.")
        return 0
    tools = Tools.current_without_images()
    with tools.connect() as kube:
        kube.delete(f"/api/v1/namespaces/{NAMESPACE}")
        installation.uninstall(tools, kube)
    screen.print(f"Removed: namespace {NAMESPACE} and the operator. The CRD stays.")
    return 0


def _fresh_namespace(kube: Kube) -> None:
    """Create the demo's namespace again, so that a second run shows the same story."""
    path = f"/api/v1/namespaces/{NAMESPACE}"
    kube.delete(path)
    kube.wait(path, lambda found: found is None, what="the old namespace goes", timeout_s=180)
    kube.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": RESTRICTED}})


def _upload(screen: Screen, store: object_store.ObjectStore) -> None:
    trees = write_sample("trees", store.folder("s3://data/trees"), os.environ)
    write_sample("trees-health", store.folder("s3://data/trees-health"), os.environ)
    held_out = trees.validation.images if trees.validation else 0
    screen.print(f"Written to S3: {trees.train.images} tiles to train on, {held_out} held out")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
