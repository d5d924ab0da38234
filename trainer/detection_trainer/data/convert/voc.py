"""Reads Pascal VOC annotations: one XML file per image, boxes as xmin, ymin, xmax, ymax in pixels.

Corners are not shifted, only divided by the image's sides, as the OD API's
create_pascal_tf_record.py does. Annotations in subfolders belong to images in the same subfolders.
"""

import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from detection_trainer.data.convert.findings import Annotations, BoxUnits, ExifRule, Findings
from detection_trainer.data.convert.image_files import SUFFIXES, ImageFolder, walk
from detection_trainer.data.convert.photographs import Photograph
from detection_trainer.errors import DataInvalidError, NotFoundError
from detection_trainer.storage.local import explain_os_error

_CORNERS = ("ymin", "xmin", "ymax", "xmax")
_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")
_SIDECAR = ".aux.xml"
"""A file that GDAL writes beside an image; it is not an annotation."""
_ANNOTATIONS, _IMAGES = "Annotations", "JPEGImages"


def read_voc(  # noqa: PLR0913 - all but two are named
    folder: Path,
    images: Path | None = None,
    *,
    names: Sequence[str] | None = None,
    drop_bad_boxes: bool = False,
    exif: ExifRule | None = None,
    box_units: BoxUnits | None = None,
) -> Annotations:
    """Read all `*.xml` in `folder` and below it, sorted by path.

    Args:
        folder: the annotations, or a devkit with `Annotations` and `JPEGImages`.
        images: the folder of the images; by default beside the annotations.
        names: file names without `.xml`, to read only these.
        drop_bad_boxes: leave out boxes without area inside the image instead of refusing.
        exif: whether EXIF orientations apply if the annotated size does not decide.
        box_units: unit of the corners; None: pixels, and what looks like fractions is refused.

    Raises:
        NotFoundError: there are no annotations, or an image is missing.
        DataInvalidError: an annotation is invalid, does not match its image, or is ambiguous.
    """
    devkit = folder / _ANNOTATIONS
    if devkit.is_dir():
        images = images or folder / _IMAGES
        folder = devkit
    findings = Findings(drop_bad_boxes, exif, box_units)
    files = _annotation_files(folder, names, findings)
    places = ImageFolder(images or folder)
    photographs = []
    for file in files:
        with findings.collecting():
            photographs.append(_read_annotation(file, folder, places, findings))
    findings.refuse(photographs)
    if names is None:
        unnamed = places.count_others(photograph.path for photograph in photographs)
        findings.left_out["imagesWithoutAnnotation"] = unnamed
    classes = sorted({name for photograph in photographs for name in photograph.names})
    return Annotations(photographs, classes, findings)


def _annotation_files(folder: Path, names: Sequence[str] | None, findings: Findings) -> list[Path]:
    found = [file for file in walk(folder) if file.suffix.lower() == ".xml"]
    files = sorted(file for file in found if not file.name.lower().endswith(_SIDECAR))
    if not files:
        raise NotFoundError(f"{folder}: expected Pascal VOC annotations (*.xml); there are none")
    if len(found) > len(files):
        findings.left_out["otherXMLFiles"] = len(found) - len(files)
    if names is None:
        return files
    chosen = _named(names, files, folder)
    findings.left_out["annotationsNotNamed"] = len(files) - len(chosen)
    return chosen


def _named(names: Sequence[str], files: Sequence[Path], folder: Path) -> list[Path]:
    """Return the annotations whose paths in `folder`, or else file names, are `names`."""
    known: defaultdict[str, list[Path]] = defaultdict(list)
    for file in files:
        path = file.relative_to(folder).with_suffix("").as_posix()
        for name in {path, file.stem}:
            known[name].append(file)
    missing = sorted(set(names) - known.keys())
    if missing:
        raise NotFoundError(f"{folder}: there is no annotation {missing[0]}.xml")
    chosen = [_only(name, known[name], folder) for name in names]
    return list(dict.fromkeys(chosen))


def _only(name: str, found: Sequence[Path], folder: Path) -> Path:
    exact = [file for file in found if file.with_suffix("") == folder / name]
    if len(exact or found) > 1:
        paths = " and ".join(str(file.relative_to(folder)) for file in found[:2])
        raise DataInvalidError(f"{folder}: {name!r} names {paths}: give it with its subfolder")
    return (exact or found)[0]


def _read_annotation(
    file: Path, folder: Path, images: ImageFolder, findings: Findings
) -> Photograph:
    root = _parse(file)
    path = _image_of(root, file, file.parent.relative_to(folder), images)
    stated = (_size(root, "height", file), _size(root, "width", file))
    objects = root.findall("object")
    boxes = [_box(entry, number, file) for number, entry in enumerate(objects)]
    names = tuple(_name(entry, number, file) for number, entry in enumerate(objects))
    height, width, upright = findings.fit(path, stated, str(file), has_boxes=bool(boxes))
    photograph = Photograph(
        path=path,
        height=height,
        width=width,
        boxes=np.asarray(boxes, np.float64).reshape(-1, 4),
        names=names,
        difficult=tuple((entry.findtext("difficult") or "0").strip() == "1" for entry in objects),
        crowd=(False,) * len(objects),
        source=str(file),
        upright=upright,
    )
    return findings.clip(photograph)


def _parse(file: Path) -> ET.Element:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise explain_os_error(error, file, "reading") from error
    plain = data.replace(b"\0", b"").upper()  # Also in UTF-16.
    if b"<!DOCTYPE" in plain or b"<!ENTITY" in plain:
        msg = f"{file}: has a document type, by which XML can grow without bound: remove it"
        raise DataInvalidError(msg)
    try:
        root = ET.fromstring(data)  # noqa: S314 - without a document type there are no entities
    except (ET.ParseError, ValueError) as error:
        raise DataInvalidError(f"{file}: expected Pascal VOC in XML: {error}") from error
    if root.tag != "annotation":
        raise DataInvalidError(f"{file}: expected <annotation> at the top; received <{root.tag}>")
    return root


def _image_of(root: ET.Element, file: Path, below: Path, images: ImageFolder) -> Path:
    """Return the image that the annotation names, or else the one named like the annotation."""
    named = (root.findtext("filename") or "").strip().replace("\\", "/")
    inside = (root.findtext("folder") or "").strip().replace("\\", "/").strip("/")
    folders = dict.fromkeys([*_image_folders(below), "", inside])
    names = list(_image_names(named, file.stem))
    found = images.find(f"{folder}/{n}" if folder else n for n in names for folder in folders)
    if found is None:
        raise NotFoundError(
            f"{file}: its image {named or file.stem!r} is not in {images.root}: name its folder by "
            "--images"
        )
    return found


def _image_folders(below: Path) -> Iterator[str]:
    """Yield the folders that may contain the images of the annotations in `below`."""
    if below.parts:
        yield below.as_posix()
    if _ANNOTATIONS in below.parts:
        yield "/".join(_IMAGES if part == _ANNOTATIONS else part for part in below.parts)


def _image_names(named: str, stem: str) -> Iterator[str]:
    """Yield possible names of the image, the most likely first."""
    if "/" in named and not named.startswith("/"):
        yield named
    last = PurePosixPath(named).name
    for name in (last, stem):
        if name and (name == last or _SUFFIX.search(name)):
            yield name
        bases = dict.fromkeys([_SUFFIX.sub("", name), name])
        yield from (base + suffix for base in bases if base for suffix in SUFFIXES)


def _size(root: ET.Element, side: str, file: Path) -> int | None:
    text = root.findtext(f"size/{side}")
    return round(_number(text, f"size/{side}", file)) if text else None


def _box(entry: ET.Element, number: int, file: Path) -> list[float]:
    where = f"object {number}, bndbox/"
    return [_number(entry.findtext(f"bndbox/{c}"), where + c, file) for c in _CORNERS]


def _name(entry: ET.Element, number: int, file: Path) -> str:
    name = (entry.findtext("name") or "").strip()
    if not name:
        raise DataInvalidError(f"{file}: object {number} has no <name>: expected its class")
    return name


def _number(text: str | None, where: str, file: Path) -> float:
    try:
        return float(text or "")
    except ValueError:
        msg = f"{file}: expected a number at {where}; received {text!r}"
        raise DataInvalidError(msg) from None
