"""`detection-trainer predict FILE|URI IMAGE…`: find objects in images, draw them, tell them."""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from detection_trainer.commands.places import add_credentials, choose_checkpoint
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.errors import DataInvalidError, NotFoundError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the source of weights, the images, and where drawings go."""
    text = "a DetectionTraining file, a checkpoint, or a run's folder (its newest)"
    parser.add_argument("place", metavar="FILE|URI", help=text)
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    parser.add_argument("--out", type=Path, help="folder for the drawings; default: none are made")
    parser.add_argument("--min-score", type=float, default=0.3, help="default: %(default)s")
    add_credentials(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print one JSON object an image, and draw."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    images = {path: _open_image(path) for path in arguments.images}
    checkpoint = choose_checkpoint(arguments.place, arguments.credentials)
    classes = checkpoint.manifest.classes
    # TensorFlow takes seconds to import; `--help` and refusals need none of it.
    from detection_trainer.inference import (  # noqa: PLC0415
        draw_findings,
        find_objects,
        load_detector,
    )

    detector = load_detector(checkpoint)
    for path, image in images.items():
        findings = find_objects(detector, image, classes, arguments.min_score)
        line = {"image": str(path), "step": checkpoint.step}
        sys.stdout.write(json.dumps({**line, "objects": [asdict(f) for f in findings]}) + "\n")
        if arguments.out is not None:
            arguments.out.mkdir(parents=True, exist_ok=True)
            draw_findings(image, findings, classes).save(arguments.out / f"{path.stem}.png")
    return ExitCode.COMPLETED


def _open_image(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such image") from error
    except (OSError, UnidentifiedImageError) as error:
        msg = f"{path}: expected an image that Pillow reads; received {error}"
        raise DataInvalidError(msg) from error
