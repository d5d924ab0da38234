"""The examples run after the commands of the quickstart: their data, Secret and buckets exist."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from detection_trainer.commands.pipeline_file import load_training
from tests.support.pages import ROOT, commands

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
ELSEWHERE = {"s3://zoo/ssd_mobilenet_v2_fpnlite/checkpoint/ckpt-0"}
"""Published by others; the comment at its top explains how to train without it."""


def uris(value: Any) -> set[str]:
    """Return the addresses of S3 in a document, those of an inline pipeline.config too."""
    if isinstance(value, dict):
        return set().union(*map(uris, value.values()))
    if isinstance(value, list):
        return set().union(*map(uris, value))
    if not isinstance(value, str):
        return set()
    words = value.replace('"', " ").split()
    return {word for word in words if word.startswith("s3://") and word != "s3://"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_quickstart_prepares_what_an_example_reads(example: Path) -> None:
    document = yaml.safe_load(example.read_text())
    load_training(example, {})
    prepared = "\n".join(commands("docs/quickstart.md", before="## 4. Apply and watch"))
    for uri in uris(document["spec"]) - ELSEWHERE:
        bucket = "/".join(uri.split("/")[:3])
        assert f"aws s3 mb {bucket}\n" in prepared
        if bucket == "s3://data":
            assert f"{uri.rpartition('/')[0]}\n" in prepared
    for credentials in document["spec"].get("credentials", []):
        assert f"secret generic {credentials['secretRef']['name']} " in prepared


def test_the_example_of_the_od_api_runs_without_the_checkpoint_of_others(tmp_path: Path) -> None:
    lines = (ROOT / "examples" / "trees-odapi.yaml").read_text().splitlines(keepends=True)
    assert any(line.startswith("#") and "fine_tune_checkpoint*" in line for line in lines)
    kept = [line for line in lines if "fine_tune_checkpoint" not in line or line.startswith("#")]
    assert len(lines) - len(kept) == 3
    file = tmp_path / "training.yaml"
    file.write_text("".join(kept))
    assert load_training(file, {}).spec.restore is None
