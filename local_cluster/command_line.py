"""The commands; results go to standard output, progress to standard error."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from local_cluster import (
    api,
    devices,
    diagnosis,
    faults,
    image_loading,
    images,
    lifecycle,
    machine,
    progress,
    pruning,
)
from local_cluster.binaries import COMPONENTS, HELM, ensure_binary
from local_cluster.errors import LocalClusterError
from local_cluster.topology import DEFAULT_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

Run = Callable[[argparse.Namespace], int]
PASSED_THROUGH = ("kubectl", "helm")


def main(arguments: Sequence[str]) -> int:
    """Run one command; return its exit code."""
    own, others = split_arguments(arguments)
    options = build_parser().parse_args(own)
    options.arguments = others
    try:
        return int(options.run(options))
    except LocalClusterError as error:
        progress.log_line(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        progress.log_line("interrupted")
        return 130


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return this program's arguments, and those that kubectl or helm receives unchanged.

    `kubectl --name other get pods`: only a --name right after the command is this program's.
    """
    if not arguments or arguments[0] not in PASSED_THROUGH:
        return list(arguments), []
    count = 3 if arguments[1:2] == ["--name"] else 1
    return list(arguments[:count]), list(arguments[count:])


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="python3 -m local_cluster", description="A real Kubernetes cluster on this machine."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (run, summary, arguments) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        command.add_argument("--name", default=DEFAULT_NAME, help="the cluster (%(default)s)")
        command.set_defaults(run=run)
        for flag, settings in arguments.items():
            command.add_argument(flag, **settings)
    return parser


def run_up(options: argparse.Namespace) -> int:
    """Start the cluster."""
    running = lifecycle.up(options.name, options.nodes, options.subnet, audited=options.audit)
    progress.print_result(running.cluster.kubeconfig)
    return 0


def run_down(options: argparse.Namespace) -> int:
    """Remove the cluster; if there is none, this succeeds too."""
    if not lifecycle.down(options.name):
        progress.log_line(f"the cluster {options.name!r} does not exist")
    return 0


def run_status(options: argparse.Namespace) -> int:
    """Show the running clusters and nodes."""
    running = lifecycle.load(options.name)
    if running is None or not running.is_up:
        progress.print_result(f"{options.name}: down")
        return 1
    progress.print_result(f"{options.name}: up at {running.cluster.api_url}")
    for name, ready in sorted(api.read_node_conditions(running.cluster).items()):
        progress.print_result(f"  {name}: Ready={ready}")
        for stopped in diagnosis.list_stopped(running.cluster, name):
            progress.print_result(f"    {stopped} is stopped on purpose")
    if failures := diagnosis.describe_failures(running.cluster):
        progress.print_result(failures.lstrip("\n"))
    return 0


def run_kubeconfig(options: argparse.Namespace) -> int:
    """Print the path of the kubeconfig."""
    progress.print_result(lifecycle.load_up(options.name).cluster.kubeconfig)
    return 0


def run_list(_options: argparse.Namespace) -> int:
    """Print every cluster's name."""
    for name in lifecycle.list_names():
        progress.print_result(name)
    return 0


def run_prepare(_options: argparse.Namespace) -> int:
    """Fill the cache."""
    lifecycle.prepare()
    ensure_binary(HELM)
    images.ensure_base_image()
    return 0


def run_build_images(options: argparse.Namespace) -> int:
    """Build images; print the references after all builds."""
    references = {name: images.ensure_image(name, options.accelerator) for name in options.images}
    for name, reference in references.items():
        progress.print_result(f"{name}={reference}")
    return 0


def run_load_image(options: argparse.Namespace) -> int:
    """Put an image on every node."""
    progress.print_result(
        image_loading.load_image(options.name, options.source, options.image_name)
    )
    return 0


def run_node_kill(options: argparse.Namespace) -> int:
    """Kill one node."""
    faults.kill_node(options.name, options.node)
    return 0


def run_stop(options: argparse.Namespace) -> int:
    """Stop a program until it is started again."""
    faults.stop_program(options.name, options.program, options.node)
    return 0


def run_start(options: argparse.Namespace) -> int:
    """Start a stopped program."""
    faults.start_program(options.name, options.program, options.node)
    return 0


def run_gpus(options: argparse.Namespace) -> int:
    """Advertise devices that do not exist."""
    cluster = lifecycle.load_up(options.name).cluster
    devices.advertise(cluster, options.node, options.count)
    return 0


def run_logs(options: argparse.Namespace) -> int:
    """Print the log of a program, whether or not the cluster is up."""
    running = lifecycle.load(options.name)
    if running is None:
        lifecycle.load_up(options.name)
        return 1
    progress.print_result(
        diagnosis.read_log(running.cluster, options.node, options.program).rstrip()
    )
    return 0


def run_prune(options: argparse.Namespace) -> int:
    """Free space in the cache."""
    freed = pruning.prune(with_images=options.images)
    progress.log_line(f"freed {freed / machine.GIB:.1f} GiB")
    return 0


def run_kubectl(options: argparse.Namespace) -> int:
    """Replace this process by kubectl."""
    return replace_process([str(ensure_binary(COMPONENTS)), "kubectl"], options)


def run_helm(options: argparse.Namespace) -> int:
    """Replace this process by helm."""
    return replace_process([str(ensure_binary(HELM))], options)


def replace_process(program: list[str], options: argparse.Namespace) -> NoReturn:
    """Replace this process by `program`, with the other arguments and the cluster's kubeconfig."""
    cluster = lifecycle.load_up(options.name).cluster
    arguments = [*program, *options.arguments]
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    os.execve(arguments[0], arguments, environment)  # noqa: S606 (no shell is wanted)


NODE = {"default": "node-1", "help": "(%(default)s)"}
COMMANDS: dict[str, tuple[Run, str, dict[str, Any]]] = {
    "up": (
        run_up,
        "bring the cluster up; prints the kubeconfig's path",
        {
            "--nodes": {"type": int, "default": 1, "choices": range(1, 10), "metavar": "N"},
            "--subnet": {"type": int, "metavar": "N", "help": "10.89.N.0/24, not a free one"},
            "--audit": {
                "action": "store_true",
                "help": "let the API server log each write to trainings, Jobs and pods",
            },
        },
    ),
    "down": (run_down, "kill the cluster and remove its state; images stay cached", {}),
    "status": (run_status, "show nodes and programs; exit code 1 where it is not up", {}),
    "kubeconfig": (run_kubeconfig, "print the path of the administrator's kubeconfig", {}),
    "list": (run_list, "print the names of all clusters of this machine", {}),
    "prepare": (run_prepare, "install packages, build programs and base image; start nothing", {}),
    "build-images": (
        run_build_images,
        "build what pods run; prints NAME=REFERENCE lines",
        {
            "images": {
                "nargs": "*",
                "default": list(images.TARGETS),
                "metavar": "IMAGE",
                "help": f"of {', '.join(images.NAMES)}; operator and trainer where none is named",
            },
            "--accelerator": {
                "default": "cpu",
                "choices": ("cpu", "cuda"),
                "help": "which TensorFlow the trainer gets (%(default)s)",
            },
        },
    ),
    "load-image": (
        run_load_image,
        "put an image on every node ahead of its pods; prints the reference",
        {
            "source": {"help": "a reference of build-images, or an archive of `docker save`"},
            "--image-name": {"help": "what an archive's image is called (the file's name)"},
        },
    ),
    "logs": (
        run_logs,
        "print the log of one of the cluster's programs",
        {"program": {}, "--node": NODE},
    ),
    "node-kill": (run_node_kill, "kill a node at once, as a power failure would", {"node": {}}),
    "stop": (
        run_stop,
        "kill a program of the cluster and keep it down",
        {"program": {}, "--node": NODE},
    ),
    "start": (run_start, "let a stopped program run again", {"program": {}, "--node": NODE}),
    "gpus": (
        run_gpus,
        "make a node offer nvidia.com/gpu devices that are not there",
        {"count": {"type": int}, "--node": NODE},
    ),
    "prune": (
        run_prune,
        "remove from the cache what the present sources no longer use",
        {"--images": {"action": "store_true", "help": "and every image, to be built again"}},
    ),
    "kubectl": (run_kubectl, "run kubectl as the administrator; all that follows goes to it", {}),
    "helm": (run_helm, "run helm as the administrator; all that follows goes to it", {}),
}
