"""Arguments for a dataset of TFRecords: a place, and a label map or the classes' names."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from detection_trainer.commands.locations import add_credentials, place_uri
from detection_trainer.contract.dataset import Place
from detection_trainer.data.cache import default_cache_dir
from detection_trainer.data.dataset import Dataset, read_dataset
from detection_trainer.data.label_map import read_label_map
from detection_trainer.errors import InvalidConfigError, NotFoundError
from detection_trainer.options import parse_credentials
from detection_trainer.storage import open_parent

LABEL_MAP_FILE = "label_map.pbtxt"
MOST_BAD_RECORDS = 10**9


def add_records(parser: argparse.ArgumentParser) -> None:
    """Add the options for the classes of the records, and for credentials."""
    classes = parser.add_mutually_exclusive_group()
    text = f"label map, a path or URI; default: {LABEL_MAP_FILE} beside the records"
    classes.add_argument("--label-map", metavar="URI", help=text)
    classes.add_argument(
        "--classes", metavar="A,B", help="class names from id 1, if there is no label map"
    )
    parser.add_argument("--cache-dir", type=Path, help="folder for copies of remote files")
    add_credentials(parser)


def read_records(place: str, arguments: argparse.Namespace) -> Dataset:
    """Return the dataset at `place`, after reading every record; its summary lists bad ones.

    Raises:
        NotFoundError: no file matches, or there is no label map.
        DataInvalidError: the records of a file cannot be found.
    """
    credentials = parse_credentials(arguments.credentials)
    uri = pattern_uri(place)
    return read_dataset(
        Place(uri=uri),
        _classes(uri, arguments, credentials),
        arguments.cache_dir or default_cache_dir(),
        credentials=credentials,
        max_bad_records=MOST_BAD_RECORDS,
        thorough=True,
    )


def pattern_uri(place: str) -> str:
    """Return the URI of `place`, a path or URI whose last segment may contain `*`."""
    return place if "://" in place else place_uri(place).replace("%2A", "*")


def _classes(uri: str, arguments: argparse.Namespace, credentials: Mapping[str, Path]) -> list[str]:
    if arguments.classes is not None:
        names = [name.strip() for name in arguments.classes.split(",") if name.strip()]
        if not names or len(set(names)) != len(names):
            raise InvalidConfigError(f"--classes: expected different names; received {names}")
        return names
    beside = f"{uri.rpartition('/')[0]}/{LABEL_MAP_FILE}"
    label_map = beside if arguments.label_map is None else place_uri(arguments.label_map)
    folder, name = open_parent(label_map, credentials)
    try:
        return read_label_map(folder, name)
    except NotFoundError as error:
        raise NotFoundError(
            f"{error}. Name the label map with --label-map, or the classes with --classes a,b"
        ) from error
