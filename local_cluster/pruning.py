"""What can be removed from the cache: entries of older inputs, and images, which can be rebuilt."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from local_cluster import base_image, binaries, images, lifecycle
from local_cluster.cache import cache_directory, list_files, locked

if TYPE_CHECKING:
    from pathlib import Path


def choose_stale(entries: list[str], kept: set[str]) -> list[str]:
    """Return the entries that are not in `kept`, in order."""
    return [entry for entry in entries if entry not in kept and not entry.startswith(".")]


def prune(*, with_images: bool) -> int:
    """Remove stale entries, and with `with_images` every image; return the freed bytes.

    Running clusters lose nothing: their files are kept.
    """
    up = [name for name in lifecycle.list_names() if lifecycle.is_up(name)]
    with locked(cache_directory() / "locks" / "images"):
        freed = _remove("binaries", _choose_kept_binaries(up))
        freed += _remove("contexts", _choose_kept_contexts())
        freed += _remove_image_stores()
        if with_images:
            freed += sum(_remove_tree(cache_directory() / name) for name in ("registry", "buildah"))
    return freed


def _remove_image_stores() -> int:
    freed = 0
    for store in sorted((cache_directory() / "image-stores").glob("*")):
        with lifecycle.held(store.name):
            if not lifecycle.is_up(store.name):
                freed += _remove_tree(store)
    return freed


def _choose_kept_binaries(up: list[str]) -> set[str]:
    wanted = (binaries.COMPONENTS, binaries.POLICY_ENFORCER, binaries.KWOK)
    current = [binaries.binary_path(binary).parent for binary in wanted]
    plans = [lifecycle.load_up(name).cluster.state.glob("nodes/*/plan.json") for name in up]
    text = "".join(plan.read_text() for found in plans for plan in found)
    built = current[0].parent.glob("*")
    used = {entry.name for entry in built if f"/{entry.name}/" in text}
    return used | {folder.name for folder in current}


def _choose_kept_contexts() -> set[str]:
    pause = images.pause_reference().rpartition("/")[2].replace(":", "-")
    return {f"{base_image.NAME}-{base_image.compute_tag()}", pause}


def _remove(folder: str, kept: set[str]) -> int:
    directory = cache_directory() / folder
    names = sorted(path.name for path in directory.glob("*"))
    return sum(_remove_tree(directory / name) for name in choose_stale(names, kept))


def _remove_tree(path: Path) -> int:
    size = sum(file.lstat().st_size for file in list_files([path]) if not file.is_symlink())
    shutil.rmtree(path, ignore_errors=True)
    return size
