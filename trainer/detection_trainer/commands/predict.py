"""`detection-trainer predict FILE|URI IMAGE…`: find objects in images, draw them and print them."""

import argparse
import io
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from PIL import Image

from detection_trainer.commands.locations import add_credentials, choose_checkpoint
from detection_trainer.commands.numbers import score, step
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.data.depth import depth_problem
from detection_trainer.data.examples import UNDECODABLE
from detection_trainer.data.orientation import orientation_of, turn
from detection_trainer.errors import DataInvalidError, NotFoundError
from detection_trainer.evaluation.drawing import Finding, draw_findings
from detection_trainer.options import parse_credentials
from detection_trainer.run.process import prepare_process
from detection_trainer.storage import Folder, open_folder, open_parent

_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp")

_JSON_HELP = """\
detect objects in images and draw them

Prints one JSON object per image: image (its URI), step (of the checkpoint) and
objects, each with class_name, score (0 to 1) and box. A box is [ymin, xmin,
ymax, xmax] in pixels, from the top left corner of the image as viewers show it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the source of weights, the images, and where drawings go."""
    parser.description = _JSON_HELP
    text = "a DetectionTraining file, a checkpoint, or a run's folder (its newest)"
    parser.add_argument("place", metavar="FILE|URI", help=text)
    images = "a file, a folder of images, or a pattern with * in its last segment; paths or URIs"
    parser.add_argument("images", nargs="+", metavar="IMAGE", help=images)
    parser.add_argument(
        "--step", type=step, help="which checkpoint of the run; default: the newest"
    )
    parser.add_argument("--out", type=Path, help="folder for the drawings; default: none are drawn")
    text = "lowest score to show, 0 to 1; default: %(default)s"
    parser.add_argument("--min-score", type=score, default=0.3, metavar="SCORE", help=text)
    add_credentials(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print one JSON object an image, and draw."""
    prepare_process()
    places = [
        place
        for text in arguments.images
        for place in _find_images(text, parse_credentials(arguments.credentials))
    ]
    checkpoint = choose_checkpoint(arguments.place, arguments.credentials, arguments.step)
    classes = checkpoint.manifest.classes
    # TensorFlow takes seconds to import; `--help` and refusals need none of it.
    from detection_trainer.evaluation.inference import find_objects, load_detector  # noqa: PLC0415

    detector = load_detector(checkpoint)
    drawn: set[str] = set()
    for folder, name in places:
        image = _read_image(folder, name)
        findings = find_objects(detector, image, classes, arguments.min_score)
        _print(folder.uri_of(name), checkpoint.step, findings)
        if arguments.out is not None:
            arguments.out.mkdir(parents=True, exist_ok=True)
            target = arguments.out / _free_name(PurePosixPath(name).stem, drawn)
            draw_findings(image, findings, classes).save(target)
    return ExitCode.COMPLETED


def _print(uri: str, step: int, findings: list[Finding]) -> None:
    line = {"image": uri, "step": step, "objects": [asdict(finding) for finding in findings]}
    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")


def _free_name(stem: str, taken: set[str]) -> str:
    """Return a file name for the drawing of `stem` that no other image of this call has."""
    names = (f"{stem}.png" if n == 1 else f"{stem}-{n}.png" for n in range(1, len(taken) + 2))
    name = next(name for name in names if name not in taken)
    taken.add(name)
    return name


def _find_images(text: str, credentials: dict[str, Path]) -> Iterator[tuple[Folder, str]]:
    """Yield the images that `text` names, each as a folder and a name in there.

    Raises:
        NotFoundError: there is none.
    """
    if "://" in text:
        parent, name = open_parent(text.rstrip("/"), credentials)
    else:
        path = Path(text).absolute()
        parent, name = open_folder(path.parent.as_uri()), path.name
    if "*" in name:
        wanted = re.compile(".*".join(map(re.escape, name.split("*"))), re.DOTALL)
        found = [(parent, e.path) for e in parent.list(recursive=False) if wanted.fullmatch(e.path)]
    elif parent.exists(name):
        found = [(parent, name)]
    else:
        folder = parent.child(name)
        entries = folder.list(recursive=False)
        found = [(folder, e.path) for e in entries if e.path.lower().endswith(_SUFFIXES)]
    if not found:
        msg = f"{text}: expected an image, a folder of images or a pattern; no image matches"
        raise NotFoundError(msg)
    yield from found


def _read_image(folder: Folder, name: str) -> Image.Image:
    """Return the image as viewers show it, turned by its EXIF orientation.

    Raises:
        DataInvalidError: it does not decode, or has more than 8 bits a channel.
    """
    try:
        with Image.open(io.BytesIO(folder.read(name))) as image:
            problem = depth_problem(image)
            if problem is not None:
                raise DataInvalidError(f"{folder.uri_of(name)}: {problem}")
            return turn(image, orientation_of(image), upright=True).convert("RGB")
    except UNDECODABLE as error:
        msg = f"{folder.uri_of(name)}: expected an image that Pillow can read; received {error}"
        raise DataInvalidError(msg) from error
