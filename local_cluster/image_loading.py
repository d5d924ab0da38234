"""Loads images that were built elsewhere into the registry, and any image onto nodes in advance."""

from __future__ import annotations

import tarfile
from pathlib import Path

from local_cluster import configuration, images, lifecycle, namespaces, progress, registry
from local_cluster.cache import cache_directory, hash_inputs, locked
from local_cluster.errors import BuildError, ClusterStateError
from local_cluster.topology import REGISTRY_NAME, Node

TRANSPORTS = {"index.json": "oci-archive", "manifest.json": "docker-archive"}


def load_image(cluster_name: str, source: str, name: str | None = None) -> str:
    """Put `source` on every node of the cluster and return its reference for pods.

    `source` is an archive, as `docker save` and `buildah push oci-archive:` write it, or a
    reference that build-images printed. Pods pull images from the registry themselves; this only
    saves the first pod the wait.
    """
    running = lifecycle.load_up(cluster_name)
    path = Path(source)
    reference = import_archive(path, name or path.stem) if path.is_file() else source
    if reference not in registry.list_images():
        raise ClusterStateError(
            f"the image {source!r}",
            expected=f"an archive, or a reference below {REGISTRY_NAME}/ that the registry has",
            remedy="`python3 -m local_cluster build-images` prints references",
        )
    for index, process in sorted(running.nodes.items()):
        if namespaces.is_alive(process):
            pull_on_node(process, Node(index), running.cluster.node_state(Node(index)), reference)
    return reference


def choose_transport(names: list[str]) -> str:
    """Return the kind of image archive that has the files `names`."""
    for name, transport in TRANSPORTS.items():
        if name in names or f"./{name}" in names:
            return transport
    raise BuildError(
        f"an archive with the files {', '.join(names[:5])}…",
        expected="index.json (an OCI archive) or manifest.json (of `docker save`)",
        remedy="save the image by `docker save IMAGE > FILE`",
    )


def import_archive(archive: Path, name: str) -> str:
    """Push the image in `archive` to the registry, tagged by its content."""
    with tarfile.open(archive) as tar:
        transport = choose_transport(tar.getnames())
    tag = hash_inputs(archive.parent, [archive])
    if not registry.has_image(name, tag):
        with locked(cache_directory() / "locks" / "images"):
            output = progress.run(
                images.buildah("pull", "--quiet", f"{transport}:{archive}"),
                label=f"read {archive.name}",
                remedy="see whether the archive is whole",
            )
            images.push(output.split()[-1], name, tag)
    return registry.build_reference(name, tag)


def pull_on_node(
    process: namespaces.ProcessIdentity, node: Node, state: Path, reference: str
) -> None:
    """Make a node's containerd pull `reference` now."""
    hosts = str(state / "registries")
    ctr = ["ctr", "--address", configuration.CONTAINERD_SOCKET, "--namespace", "k8s.io"]
    with progress.step(f"pull {reference} on {node.name}"):
        known = namespaces.run_inside(process, [*ctr, "images", "list", "--quiet"])
        if reference in known.stdout.split():
            return
        done = namespaces.run_inside(
            process, [*ctr, "images", "pull", "--hosts-dir", hosts, reference]
        )
    if done.returncode != 0:
        raise BuildError(
            f"pulling {reference} on {node.name} failed: {done.stderr.strip()[-500:]}",
            expected="the image in the registry, and room on the disk",
            remedy="`df -h` shows the disk; `build-images` brings an image into the registry",
        )
