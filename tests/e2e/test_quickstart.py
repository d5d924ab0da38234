"""The commands of the quickstart, and those of README for a cluster, run as they are printed.

What a reader has to know is replaced: keys, addresses, images. The trainings are shortened.
"""

import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from detection_trainer.data.samples import fetch_photographs
from sandbox.site import object_store
from sandbox.site.kube import NAMESPACES
from tests.support.cluster.site import S3_NAMESPACE, Site
from tests.support.pages import ROOT, Shell, commands, outputs
from tests.support.trainer.annotations import draw_image, write_coco, write_voc

PAGE = "docs/quickstart.md"
RUNS = "s3://runs/"
TIMEOUT_S = 600
STEPS, RAISED, LONGER = 80, 90, 100
"""The first are enough to be suspended in, on a fast machine too."""
SKIPPED = ("kubectl wait pod/copy", "kubectl cp copy", "kubectl delete pod copy")
"""The pod that reads a claim is created on trial only: this training has no claim."""


@pytest.fixture
def shell(site: Site, tmp_path: Path) -> Iterator[Shell]:
    """Give a checkout's folder with this cluster behind kubectl and helm."""
    namespace = f"quickstart-{secrets.token_hex(4)}"
    site.kube.create(NAMESPACES, {"metadata": {"name": namespace}})
    made = Shell(tmp_path / "checkout", environment=local_environment(site))
    kubectl, helm = (" ".join(words) for words in (site.tools.kubectl, site.tools.helm))
    made.program("kubectl", f'exec {kubectl} --namespace {namespace} "$@"')
    made.program("helm", f'exec {helm} "$@" --dry-run=server')
    made.program("detection-trainer", f'exec {sys.executable} -m detection_trainer "$@"')
    # The images are built, the packages are installed, and the buckets exist.
    for name in ("docker", "pip", "aws"):
        made.program(name, "exit 0")
    made.replaced = replacements(site, namespace)
    made.replace(RUNS, f"{RUNS}{namespace}/")
    made.before = {
        "kubectl logs": (
            "kubectl wait dt/trees --for=jsonpath='{.status.latestCheckpoint.step}' --timeout=180s"
        )
    }
    yield made
    site.kube.delete(f"{NAMESPACES}/{namespace}")


def local_environment(site: Site) -> dict[str, str]:
    """Return how programs on this machine reach the S3 server: by its port-forward."""
    keys = Path(site.store.credentials["s3://"])
    keys_of_files = {file.name: file.read_text() for file in keys.iterdir() if file.is_file()}
    return {**keys_of_files, "PYTHONPATH": f"{ROOT / 'trainer'}:{ROOT / 'operator'}:{ROOT}"}


def replacements(site: Site, namespace: str) -> dict[str, str]:
    operator, _, _ = site.tools.images["operator"].rpartition(":")
    keys = object_store.keys_for(object_store.endpoint(S3_NAMESPACE))
    values = {f"{name}=…": f"{name}={value}" for name, value in keys.items()}
    exported = "export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… AWS_REGION=… AWS_ENDPOINT_URL=…"
    return {
        exported: ":",
        **values,
        "AWS_REGION=eu-central-1": f"AWS_REGION={keys['AWS_REGION']}",
        "AWS_ENDPOINT_URL=https://s3.example.com": f"AWS_ENDPOINT_URL={keys['AWS_ENDPOINT_URL']}",
        "registry.example.com/detection-operator": operator,
        "registry.example.com/detection-trainer:0.2.0": site.tools.images["trainer"],
        "kubectl run copy ": "kubectl run copy --dry-run=server ",
        '"steps":420': f'"steps":{RAISED}',
        "'=420": f"'={RAISED}",
        "--timeout=24h": "--timeout=180s",
        # A folder of its own, as other runs may have used the cluster, and a bucket that exists.
        RUNS: f"{RUNS}{namespace}/",
        "s3://data/mine": f"s3://data/{namespace}/mine",
        "s3://data/coco": f"s3://data/{namespace}/coco",
        "s3://models/": f"{RUNS}{namespace}/models/",
    }


def prepare(folder: Path) -> None:
    """Write what a reader has: annotations of both kinds, and a photograph."""
    for name in ("a", "b"):
        draw_image(folder / "annotations" / f"{name}.png", 100, 50)
        file = folder / "annotations" / f"{name}.xml"
        write_voc(file, [("tree", 2, 4, 38, 40)], filename=f"{name}.png")
    draw_image(folder / "photographs" / "a.png", 40, 20)
    write_coco(folder / "instances.json")
    photograph = next(fetch_photographs().glob("*.png"))
    (folder / "photo.jpg").write_bytes(photograph.read_bytes())


def test_the_commands_of_the_quickstart_work_as_printed(shell: Shell) -> None:
    prepare(shell.folder)
    shell.shorten(
        steps_300=STEPS,
        warmupSteps_30=5,
        everySteps_50=10,
        everySteps_150=40,
        keepEverySteps_150=40,
        steps_460=LONGER,
    )
    shell.shorten(steps_40=2, warmupSteps_5=1, everySteps_20=2)
    given = [line for line in commands(PAGE) if not line.startswith(SKIPPED)]
    ending = given.index("kubectl delete dt trees")
    printed = outputs(shell.run([*given[:ending], *readme(), *given[ending:]], TIMEOUT_S))
    suspended = next(text for line, text in printed.items() if "jsonpath='{.status.cond" in line)
    assert suspended.startswith("Suspended, ")
    assert suspended.rstrip().endswith("Set spec.suspend: false to resume.")
    # The last `get dt` is README's; the one before it ends with the continued training.
    rows = {row.split()[0]: row.split() for row in printed["kubectl get dt trees"].splitlines()[1:]}
    assert rows["trees"][1:4] == ["Complete", str(RAISED), str(RAISED)]
    listed = next(text for line, text in printed.items() if line.startswith("kubectl get dt  "))
    rows = {row.split()[0]: row.split() for row in listed.splitlines()[1:]}
    assert rows["trees-longer"][1:4] == ["Complete", str(LONGER), str(LONGER)]
    assert "trees-health" in rows


def readme() -> list[str]:
    """Return README's commands of kubectl: patches only on trial, since they would run for days."""
    given = commands("README.md", after="## Install", before="## Without Kubernetes")
    kubectl = [line for line in given if line.startswith("kubectl")]
    patch = "kubectl patch dt trees "
    return [line.replace(patch, f"{patch}--dry-run=server ") for line in kubectl]
