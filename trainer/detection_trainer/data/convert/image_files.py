r"""Finds the image files that annotations name, opens and measures them.

Annotations come from other machines: `images\\a.jpg` from Windows, or IMG_1 for IMG_1.JPG.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from detection_trainer.data.orientation import orientation_of, stored_size, upright_size
from detection_trainer.errors import DataInvalidError, NotFoundError

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
MOST_PIXELS = 1 << 32
"""Limit of an image that is cut into tiles: 16 GB of memory."""


class ImageFolder:
    """The image files below a folder."""

    def __init__(self, root: Path) -> None:
        """Create the folder; it is read on first use."""
        self.root = root
        self._index: dict[str, list[Path]] | None = None

    def find(self, names: Iterable[str]) -> Path | None:
        """Return the file of the first of `names` that exists.

        Args:
            names: paths below the folder, with `/`; case is ignored, except to distinguish two
                files.
        """
        for name in names:
            if not is_below(name):
                continue
            if (self.root / name).is_file():
                return self.root / name
            found = self._by_folded_name().get(_folded(name), [])
            if len(found) == 1:
                return found[0]
        return None

    def count_others(self, used: Iterable[Path]) -> int:
        """Return the number of image files that are not in `used`."""
        known = {path.resolve() for path in used}
        files = (file for found in self._by_folded_name().values() for file in found)
        return sum(
            file.suffix.lower() in SUFFIXES and file.resolve() not in known for file in files
        )

    def _by_folded_name(self) -> dict[str, list[Path]]:
        if self._index is None:
            self._index = {}
            for file in walk(self.root):
                key = _folded(file.relative_to(self.root).as_posix())
                self._index.setdefault(key, []).append(file)
        return self._index


@dataclass(frozen=True, slots=True)
class Measured:
    """The content of an image file's header."""

    stored: tuple[int, int]
    """Height and width of the stored pixels."""
    shown: tuple[int, int]
    """Height and width as a viewer shows the image."""
    orientation: int


def measure_image(path: Path) -> Measured:
    """Return size and orientation of the image at `path`, without decoding its pixels.

    Raises:
        NotFoundError: the file does not exist.
        DataInvalidError: it is not a readable image.
    """
    try:
        with _opened(path) as image:
            orientation = orientation_of(image)
            stored = stored_size(image, orientation)
    except FileNotFoundError as error:
        raise NotFoundError(
            f"{path}: the annotated image does not exist: check --images"
        ) from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DataInvalidError(f"{path}: expected an image; reading it failed: {error}") from error
    return Measured(stored, upright_size(*stored, orientation), orientation)


@contextmanager
def opened_image(path: Path, *, tiled: bool) -> Iterator[Image.Image]:
    """Open the image at `path`; one that is cut into tiles (`tiled`) may be larger.

    Raises:
        DataInvalidError: it cannot be decoded, here or within the context, or is too large.
    """
    try:
        with _opened(path) as image:
            _require_pixels(path, image, tiled=tiled)
            yield image
    except (OSError, SyntaxError, ValueError, MemoryError) as error:
        problem = str(error) or "it does not fit into memory"
        raise DataInvalidError(f"{path}: decoding the image failed: {problem}") from error


def is_below(name: str) -> bool:
    """Return whether the relative path `name` stays in its folder."""
    parts = name.split("/")
    return bool(name) and not name.startswith("/") and ".." not in parts


def walk(root: Path) -> Iterator[Path]:
    """Yield the files below `root`, sorted, without hidden files and folders."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder) / name for name in sorted(files) if not name.startswith("."))


def _opened(path: Path) -> Image.Image:
    """Open an image of any size; Pillow's own limit would apply to the whole program."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        return Image.open(path)
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _require_pixels(path: Path, image: Image.Image, *, tiled: bool) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    most = MOST_PIXELS if tiled or limit is None else 2 * limit
    pixels = image.width * image.height
    if pixels <= most:
        return
    advice = "cut it into several files" if tiled else "cut it into tiles by --tile"
    raise DataInvalidError(
        f"{path}: is {image.width}x{image.height}, {pixels} pixels: expected at most {most}; "
        f"{advice}"
    )


def _folded(name: str) -> str:
    return os.path.normpath(name).casefold()
