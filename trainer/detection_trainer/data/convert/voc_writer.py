"""Writes a dataset as Pascal VOC: one XML file per image, in the devkit's folders.

    JPEGImages/a.jpg …     the images of the records
    Annotations/a.xml …

Corners have the precision of the records, whole numbers if they are whole. VOC has no crowds: their
boxes are left out and counted.
"""

import xml.etree.ElementTree as ET
from typing import Any

from detection_trainer.data.convert.pictures import Picture, require_empty, take_pictures
from detection_trainer.data.dataset import Dataset
from detection_trainer.storage import Folder

_CORNERS = ("ymin", "xmin", "ymax", "xmax")
_CHANNELS = 3


def write_voc(dataset: Dataset, folder: Folder) -> dict[str, Any]:
    """Write `dataset` into the empty `folder`; return the counts of what was written.

    Raises:
        InvalidConfigError: the folder is not empty.
    """
    require_empty(folder)
    images = boxes = crowds = 0
    for picture in take_pictures(dataset):
        folder.write(f"JPEGImages/{picture.file_name}", picture.encoded)
        stem = picture.file_name.rpartition(".")[0]
        folder.write(f"Annotations/{stem}.xml", _annotation(picture))
        images += 1
        crowds += sum(picture.crowd)
        boxes += len(picture.names) - sum(picture.crowd)
    about = {"images": images, "boxes": boxes, "crowdsLeftOut": crowds}
    return {"annotations": folder.uri_of("Annotations"), **about}


def _annotation(picture: Picture) -> bytes:
    root = ET.Element("annotation")
    _add(root, "folder", "JPEGImages")
    _add(root, "filename", picture.file_name)
    size = ET.SubElement(root, "size")
    for side, value in (("width", picture.width), ("height", picture.height), ("depth", _CHANNELS)):
        _add(size, side, str(value))
    for index, name in enumerate(picture.names):
        if not picture.crowd[index]:
            entry = ET.SubElement(root, "object")
            _add(entry, "name", name)
            _add(entry, "difficult", str(int(picture.difficult[index])))
            corners = ET.SubElement(entry, "bndbox")
            for corner, value in zip(_CORNERS, picture.boxes[index].tolist(), strict=True):
                _add(corners, corner, str(value if value % 1 else int(value)))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode").encode()


def _add(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = text
