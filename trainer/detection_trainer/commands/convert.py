"""`detection-trainer convert voc|coco|to-voc|to-coco`: converts images to TFRecords and back.

`convert_pipeline` implements `convert pipeline-config`.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from detection_trainer.commands import convert_pipeline
from detection_trainer.commands.dataset_arguments import add_records, read_records
from detection_trainer.commands.dataset_yaml import dataset_yaml
from detection_trainer.commands.locations import add_credentials, open_place
from detection_trainer.contract.base import dump
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.data.convert.coco import read_coco
from detection_trainer.data.convert.coco_writer import write_coco
from detection_trainer.data.convert.findings import Annotations, Findings
from detection_trainer.data.convert.tiles import Tiling
from detection_trainer.data.convert.voc import read_voc
from detection_trainer.data.convert.voc_writer import write_voc
from detection_trainer.data.convert.writer import ConversionSummary, Plan, convert
from detection_trainer.data.label_map import parse_label_map
from detection_trainer.errors import DataInvalidError, NotFoundError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add all formats in both directions."""
    formats = parser.add_subparsers(dest="format", required=True, metavar="FORMAT")
    voc = formats.add_parser("voc", help="Pascal VOC: one XML file per image")
    voc.add_argument("source", type=Path, help="folder of *.xml, or a VOC devkit")
    voc.add_argument(
        "--names", type=Path, help="file with the names of the annotations to read, one per line"
    )
    coco = formats.add_parser("coco", help="COCO: one JSON file with all instances")
    coco.add_argument("source", type=Path, help="the JSON file")
    for subparser in (voc, coco):
        _add_common(subparser)
    for name, layout in (
        ("to-voc", "Pascal VOC: Annotations/*.xml and JPEGImages"),
        ("to-coco", "COCO: instances.json and images"),
    ):
        back = formats.add_parser(name, help=f"from TFRecords to {layout}")
        back.add_argument("source", metavar="URI", help="TFRecords; * in the last segment")
        back.add_argument("output", metavar="URI", help="empty output folder")
        add_records(back)
    pipeline = formats.add_parser(
        "pipeline-config", help="the OD API's pipeline.config: print it as a DetectionTraining"
    )
    convert_pipeline.add_arguments(pipeline)


def run(arguments: argparse.Namespace) -> int:
    """Convert, and print what a training needs as YAML; with --json, all counts."""
    if arguments.format == "pipeline-config":
        return convert_pipeline.run(arguments)
    if arguments.format in _WRITERS:
        return _convert_back(arguments)
    plan = _plan(arguments)
    stated = _stated_classes(arguments)
    annotations = _read(arguments, stated)
    classes = annotations.classes if stated is None else stated
    if stated is None and not classes:
        msg = (
            f"{arguments.source}: has no boxes and therefore no classes: name the classes with "
            "--classes"
        )
        raise DataInvalidError(msg)
    folder = open_place(arguments.output, arguments.credentials)
    summary = convert(annotations.photographs, classes, plan, folder)
    if arguments.json:
        written = {**dump(summary), **_counts(annotations.findings)}
        sys.stdout.write(json.dumps(written, indent=2, ensure_ascii=False) + "\n")
    else:
        sys.stderr.writelines(f"{line}\n" for line in _remarks(summary, annotations.findings))
        sys.stdout.write(dataset_yaml(summary))
    return ExitCode.COMPLETED


def _counts(findings: Findings) -> dict[str, Any]:
    return {
        "clippedBoxes": findings.clipped,
        "droppedBoxes": findings.problems,
        "leftOut": {kind: what for kind, what in findings.left_out.items() if what},
    }


def _remarks(summary: ConversionSummary, findings: Findings) -> Iterator[str]:
    """Yield what a person should know of the conversion; nothing where all was converted."""
    if findings.clipped:
        yield f"boxes clipped at the edge of their image: {findings.clipped}"
    if findings.problems:
        yield f"invalid boxes, left out: {len(findings.problems)}"
        yield from (f"  {problem}" for problem in findings.problems)
    for kind, what in findings.left_out.items():
        if what:
            words = re.sub(r"(?=[A-Z])", " ", kind).lower()
            shown = what if isinstance(what, int) else ", ".join(what)
            yield f"not converted: {words}: {shown}"
    sets = [found for found in (summary.train, summary.validation) if found is not None]
    if crowds := sum(found.crowd_boxes for found in sets):
        yield f"boxes of crowds, not learned as objects: {crowds}"


_WRITERS = {"to-voc": write_voc, "to-coco": write_coco}


def _convert_back(arguments: argparse.Namespace) -> int:
    dataset = read_records(arguments.source, arguments)
    if dataset.summary.bad_record_count:
        first = dataset.summary.bad_records[0]
        msg = f"{dataset.summary.bad_record_count} records are invalid, the first: {first}"
        raise DataInvalidError(msg)
    folder = open_place(arguments.output, arguments.credentials)
    counts = _WRITERS[arguments.format](dataset, folder)
    sys.stdout.write(json.dumps(counts, indent=2, ensure_ascii=False) + "\n")
    return ExitCode.COMPLETED


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", metavar="URI", help="output folder of the dataset")
    parser.add_argument("--images", type=Path, help="folder of the images; default: the source's")
    classes = parser.add_mutually_exclusive_group()
    classes.add_argument(
        "--classes",
        metavar="A,B",
        help="class names from id 1; default: the names in the annotations",
    )
    classes.add_argument("--label-map", type=Path, help="label map with the ids to use")
    _add_tiles(parser)
    parser.add_argument("--shards", type=int, default=1, help="number of files of the training set")
    parser.add_argument("--tile-format", choices=("jpeg", "png"), default="jpeg")
    parser.add_argument(
        "--drop-bad-boxes", action="store_true", help="skip invalid boxes and list them"
    )
    parser.add_argument(
        "--exif",
        choices=("apply", "ignore"),
        help="for images with an EXIF orientation where the annotated size does not decide: boxes "
        "are on the image as viewers show it (apply), or on the pixels as they are stored (ignore)",
    )
    parser.add_argument(
        "--box-units",
        choices=("pixels", "fractions"),
        help="unit of the boxes; default: pixels, and boxes between 0 and 1 are refused",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="overwrite a dataset in the folder"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print all counts as JSON; default: the `dataset` of a training as YAML",
    )
    add_credentials(parser)


def _add_tiles(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tile", type=int, metavar="PIXELS", help="cut images into tiles of this size in pixels"
    )
    parser.add_argument("--overlap", type=float, default=0.0, metavar="FRACTION")
    parser.add_argument(
        "--min-visible",
        type=float,
        default=0.5,
        metavar="FRACTION",
        help="fraction of a box that must be visible on a tile to keep the box (default 0.5)",
    )
    parser.add_argument("--drop-negatives", action="store_true", help="skip tiles without boxes")
    parser.add_argument(
        "--holdout",
        type=float,
        default=0.0,
        metavar="FRACTION",
        help="use this fraction of every image, at its right side, for validation",
    )
    parser.add_argument(
        "--holdout-names",
        default="",
        metavar="A,B",
        help="names of images to use entirely for validation",
    )


def _read(arguments: argparse.Namespace, classes: list[str] | None) -> Annotations:
    source, images = arguments.source, arguments.images
    rules = {
        "drop_bad_boxes": arguments.drop_bad_boxes,
        "exif": arguments.exif,
        "box_units": arguments.box_units,
    }
    if arguments.format == "coco":
        return read_coco(source, images, classes=classes, **rules)
    names = None
    if arguments.names is not None:
        # In VOC's lists of one class, a 1 or -1 follows the name.
        names = [
            line.split()[0] for line in _read_text(arguments.names).splitlines() if line.strip()
        ]
    return read_voc(source, images, names=names, **rules)


def _stated_classes(arguments: argparse.Namespace) -> list[str] | None:
    if arguments.label_map is not None:
        return parse_label_map(_read_text(arguments.label_map).encode(), str(arguments.label_map))
    return None if arguments.classes is None else _split(arguments.classes)


def _plan(arguments: argparse.Namespace) -> Plan:
    return Plan(
        tiling=Tiling(
            side=arguments.tile,
            overlap=arguments.overlap,
            min_visible=arguments.min_visible,
            keep_negatives=not arguments.drop_negatives,
        ),
        holdout=arguments.holdout,
        holdout_names=frozenset(_split(arguments.holdout_names)),
        shards=arguments.shards,
        image_format=arguments.tile_format,
        overwrite=arguments.overwrite,
    )


def _split(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _read_text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise NotFoundError(f"{path}: expected a text file; reading it failed: {error}") from error
