"""What each command does; results go to standard output, progress to standard error."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from local_cluster import api, images, lifecycle, progress
from local_cluster.binaries import COMPONENTS, HELM, ensure_binary
from local_cluster.errors import LocalClusterError
from local_cluster.topology import DEFAULT_NAME, LARGEST_NODE_INDEX, Node

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PASSED_THROUGH = ("kubectl", "helm")


def main(arguments: Sequence[str]) -> int:
    """Run one command; return its exit code."""
    own, others = split_arguments(arguments)
    options = build_parser().parse_args(own)
    options.arguments = others
    try:
        return int(options.run(options))
    except LocalClusterError as error:
        progress.say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        progress.say("interrupted")
        return 130


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return this program's arguments, and those that kubectl or helm gets unchanged.

    `kubectl --name other get pods`: only a --name right after the command is ours.
    """
    if not arguments or arguments[0] not in PASSED_THROUGH:
        return list(arguments), []
    count = 3 if arguments[1:2] == ["--name"] else 1
    return list(arguments[:count]), list(arguments[count:])


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(prog="python3 -m local_cluster", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int], summary: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=summary, description=summary)
        command.add_argument("--name", default=DEFAULT_NAME, help="the cluster (%(default)s)")
        command.set_defaults(run=run)
        return command

    up = add("up", run_up, "bring the cluster up; prints the kubeconfig's path")
    up.add_argument("--nodes", type=int, default=1, choices=range(1, LARGEST_NODE_INDEX + 1), metavar="N")
    up.add_argument("--subnet", type=int, metavar="N", help="use 10.89.N.0/24 instead of a free one")
    add("down", run_down, "kill the cluster and remove its state; images stay cached")
    add("status", run_status, "show nodes and programs; exit code 1 where it is not up")
    add("kubeconfig", run_kubeconfig, "print the path of the administrator's kubeconfig")
    add("list", run_list, "print the names of all clusters of this machine")
    add("prepare", run_prepare, "install packages and build programs, start nothing")
    add("node-kill", run_node_kill, "kill a node at once, as a power failure would").add_argument("node")
    build = add("build-images", run_build_images, "build what pods run; prints NAME=REFERENCE lines")
    build.add_argument("images", nargs="*", default=list(images.TARGETS), metavar="IMAGE",
        help=f"one of {', '.join(images.NAMES)} (operator and trainer where none is named)")
    build.add_argument("--accelerator", default="cpu", choices=("cpu", "cuda"),
        help="which TensorFlow the trainer gets (%(default)s)")
    add("kubectl", run_kubectl, "run kubectl as the administrator; all that follows goes to it")
    add("helm", run_helm, "run helm as the administrator; all that follows goes to it")
    return parser


def run_up(options: argparse.Namespace) -> int:
    """Bring the cluster up."""
    running = lifecycle.up(options.name, options.nodes, options.subnet)
    print(running.cluster.kubeconfig)
    return 0


def run_down(options: argparse.Namespace) -> int:
    """Take the cluster down; one that is not there is down already."""
    if not lifecycle.down(options.name):
        progress.say(f"the cluster {options.name!r} is not there")
    return 0


def run_status(options: argparse.Namespace) -> int:
    """Show what runs."""
    running = lifecycle.load(options.name)
    if running is None or not running.is_up:
        print(f"{options.name}: down")
        return 1
    print(f"{options.name}: up at {running.cluster.api_url}")
    for name, ready in sorted(api.read_node_conditions(running.cluster).items()):
        print(f"  {name}: Ready={ready}")
    return 0


def run_kubeconfig(options: argparse.Namespace) -> int:
    """Print where the kubeconfig is."""
    print(lifecycle.load_up(options.name).cluster.kubeconfig)
    return 0


def run_list(_options: argparse.Namespace) -> int:
    """Print every cluster's name."""
    for name in lifecycle.list_names():
        print(name)
    return 0


def run_prepare(_options: argparse.Namespace) -> int:
    """Fill the cache."""
    lifecycle.prepare()
    ensure_binary(HELM)
    images.ensure_base_image()
    return 0


def run_build_images(options: argparse.Namespace) -> int:
    """Build images, all of them before any is printed."""
    references = {name: images.ensure_image(name, options.accelerator) for name in options.images}
    for name, reference in references.items():
        print(f"{name}={reference}")
    return 0


def run_node_kill(options: argparse.Namespace) -> int:
    """Kill one node."""
    lifecycle.kill_node(options.name, options.node)
    return 0


def run_kubectl(options: argparse.Namespace) -> int:
    """Become kubectl."""
    return replace_process([str(ensure_binary(COMPONENTS)), "kubectl"], options)


def run_helm(options: argparse.Namespace) -> int:
    """Become helm."""
    return replace_process([str(ensure_binary(HELM))], options)


def replace_process(program: list[str], options: argparse.Namespace) -> int:
    """Go on as `program` with the command's other arguments and the cluster's kubeconfig."""
    cluster = lifecycle.load_up(options.name).cluster
    arguments = [*program, *options.arguments]
    os.execve(arguments[0], arguments, {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)})
