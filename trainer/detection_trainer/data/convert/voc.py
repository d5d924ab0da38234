"""Reads Pascal VOC annotations: one XML file an image, boxes as xmin, ymin, xmax, ymax in pixels.

Corners are taken as they stand and divided by the image's sides, as the OD API's
create_pascal_tf_record.py does.
"""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detection_trainer.data.convert.photographs import (
    Annotations,
    Findings,
    Photograph,
    require_size,
)
from detection_trainer.errors import DataInvalidError, NotFoundError
from detection_trainer.storage.local import explain_os_error

_CORNERS = ("ymin", "xmin", "ymax", "xmax")
_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")


def read_voc(
    folder: Path,
    images: Path | None = None,
    *,
    names: Sequence[str] | None = None,
    drop_bad_boxes: bool = False,
) -> Annotations:
    """Read all `*.xml` in `folder`, sorted by name.

    Args:
        folder: the annotations, or a devkit with `Annotations` and `JPEGImages`.
        images: where the images are; by default beside the annotations.
        names: file names without `.xml`, to read only these.
        drop_bad_boxes: leave out boxes without area inside the image instead of refusing.

    Raises:
        NotFoundError: there are no annotations, or an image is missing.
        DataInvalidError: an annotation does not hold, or does not fit its image.
    """
    devkit = folder / "Annotations"
    if devkit.is_dir():
        images = images or folder / "JPEGImages"
        folder = devkit
    files = _annotation_files(folder, names)
    findings = Findings(drop_bad_boxes)
    photographs = [
        findings.clip(_read_annotation(file, images or folder), str(file)) for file in files
    ]
    findings.refuse()
    classes = sorted({name for photograph in photographs for name in photograph.names})
    return Annotations(photographs, classes, findings)


def _annotation_files(folder: Path, names: Sequence[str] | None) -> list[Path]:
    files = sorted(folder.glob("*.xml"))
    if not files:
        raise NotFoundError(f"{folder}: expected Pascal VOC annotations (*.xml); there are none")
    if names is None:
        return files
    known = {file.stem: file for file in files}
    missing = sorted(set(names) - known.keys())
    if missing:
        raise NotFoundError(f"{folder}: there is no annotation {missing[0]}.xml")
    return [known[name] for name in names]


def _read_annotation(file: Path, images: Path) -> Photograph:
    root = _parse(file)
    path = _image_of(root, file, images)
    said = (_size(root, "height", file), _size(root, "width", file))
    height, width = require_size(path, said, str(file))
    objects = root.findall("object")
    boxes = [_box(entry, number, file) for number, entry in enumerate(objects)]
    return Photograph(
        path=path,
        height=height,
        width=width,
        boxes=np.asarray(boxes, np.float64).reshape(-1, 4),
        names=tuple(_name(entry, number, file) for number, entry in enumerate(objects)),
        difficult=tuple((entry.findtext("difficult") or "0").strip() == "1" for entry in objects),
        crowd=(False,) * len(objects),
    )


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


def _image_of(root: ET.Element, file: Path, images: Path) -> Path:
    """Return the image that the annotation names, else the one with the annotation's own name."""
    said = (root.findtext("filename") or "").strip().replace("\\", "/")
    names = [Path(said).name] if said else []
    stems = dict.fromkeys([*(Path(name).stem for name in names), file.stem])
    names += [stem + suffix for stem in stems for suffix in _SUFFIXES]
    for name in names:
        if name and (images / name).is_file():
            return images / name
    msg = f"{file}: its image {said or file.stem!r} is not in {images}: name its folder by --images"
    raise NotFoundError(msg)


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
