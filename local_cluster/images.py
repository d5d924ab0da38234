"""The images for pods: buildah builds them without a daemon and pushes them to the registry."""

from __future__ import annotations

import json
import os
import string
from dataclasses import dataclass
from pathlib import Path

from local_cluster import (
    base_image,
    binaries,
    dockerfile,
    machine,
    pip_settings,
    progress,
    registry,
    shell,
)
from local_cluster.cache import cache_directory, hash_inputs, locked, replaced_whole
from local_cluster.errors import BuildError

SOURCE_ROOT = Path(__file__).parent.parent
SMALL_BUILD_NEEDS_BYTES = 2 * machine.GIB
# A trainer's image exists four times: in a build, committed, in the registry, on a node.
TRAINER_NEEDS_BYTES = {"cpu": 8 * machine.GIB, "cuda": 40 * machine.GIB}
TARGETS = ("operator", "trainer")
NAMES = (*TARGETS, "python", "s3", "pause")
PAUSE_DOCKERFILE = """\
FROM scratch
COPY pause /pause
USER 65535:65535
ENTRYPOINT ["/pause"]
"""
S3_DOCKERFILE = """\
FROM scratch
COPY versitygw /versitygw
USER 65532:65532
EXPOSE 7070
ENTRYPOINT ["/versitygw"]
"""
POLICY = {"default": [{"type": "insecureAcceptAnything"}]}


@dataclass(frozen=True, slots=True)
class Build:
    """One run of buildah: a target of a Dockerfile in a context, and the name of the result."""

    name: str
    tag: str
    dockerfile: Path
    context: Path
    target: str | None = None
    arguments: tuple[str, ...] = ()
    needed_bytes: int = SMALL_BUILD_NEEDS_BYTES

    @property
    def reference(self) -> str:
        """The reference for pods."""
        return registry.build_reference(self.name, self.tag)


def ensure_image(name: str, accelerator: str = "cpu") -> str:
    """Put one of NAMES into the registry if it is missing; return its reference."""
    match name:
        case "pause":
            return ensure_pause_image()
        case "s3":
            return ensure_s3_image()
        case "python":
            return ensure_base_image()
        case _ if name in TARGETS:
            return ensure_project_image(name, accelerator)
    raise BuildError(
        f"the image name {name!r}", expected=f"one of {', '.join(NAMES)}", remedy="name one of them"
    )


def ensure_pause_image() -> str:
    """Put the image that keeps a pod's namespaces into the registry; return its reference."""
    return _ensure_program_image("pause", binaries.PAUSE, PAUSE_DOCKERFILE)


def ensure_s3_image() -> str:
    """Put the S3 server's image into the registry; return its reference."""
    return _ensure_program_image("s3", binaries.S3_SERVER, S3_DOCKERFILE)


def pause_reference() -> str:
    """Return the reference of the pause image for the present inputs."""
    return registry.build_reference("pause", _program_tag(binaries.PAUSE, PAUSE_DOCKERFILE))


def _program_tag(binary: binaries.Binary, text: str) -> str:
    return hash_inputs(SOURCE_ROOT, [], binaries.binary_path(binary).parent.name, text)


def _ensure_program_image(name: str, binary: binaries.Binary, text: str) -> str:
    tag = _program_tag(binary, text)
    if registry.has_image(name, tag):
        return registry.build_reference(name, tag)
    program = binaries.ensure_binary(binary)
    context = cache_directory() / "contexts" / f"{name}-{tag}"
    if not context.exists():
        with replaced_whole(context) as building:
            (building / "Dockerfile").write_text(text)
            os.link(program, building / program.name)
    return build_and_push(Build(name, tag, context / "Dockerfile", context))


def plan_project_build(target: str, accelerator: str, base: str) -> Build:
    """Return how to build `target` of the project's Dockerfile; its tag depends on its inputs."""
    path = SOURCE_ROOT / "Dockerfile"
    if not path.exists():
        raise BuildError(
            f"{path} is missing", expected="it", remedy="run this in a complete checkout"
        )
    try:
        instructions, sources = dockerfile.choose_inputs(path.read_text(), target)
    except KeyError as error:
        raise BuildError(
            f"{path} has the stages {error.args[0]}",
            expected=f"a stage {target!r}",
            remedy=f"write `FROM … AS {target}`",
        ) from error
    arguments = {"BASE_IMAGE": base, "ACCELERATOR": accelerator}
    used = {name: value for name, value in arguments.items() if f"ARG {name}" in str(instructions)}
    sources = [string.Template(source).safe_substitute(used) for source in sources]
    paths = [found for source in sources for found in sorted(SOURCE_ROOT.glob(source))]
    options = tuple(f"{name}={value}" for name, value in used.items())
    tag = hash_inputs(SOURCE_ROOT, paths, *instructions, *options)
    needed = SMALL_BUILD_NEEDS_BYTES
    if "ACCELERATOR" in used:
        needed = TRAINER_NEEDS_BYTES[accelerator]
    return Build(f"detection-{target}", tag, path, SOURCE_ROOT, target, options, needed)


def ensure_project_image(target: str, accelerator: str = "cpu") -> str:
    """Put `target` of the project's Dockerfile into the registry; return its reference."""
    base = f"localhost/{base_image.NAME}:{base_image.compute_tag()}"
    build = plan_project_build(target, accelerator, base)
    if registry.has_image(build.name, build.tag):
        return build.reference
    ensure_base_image()
    return build_and_push(build)


def ensure_base_image() -> str:
    """Put the base image into buildah's store and the registry; return its reference."""
    tag = base_image.compute_tag()
    if not (registry.has_image(base_image.NAME, tag) and _is_stored(base_image.NAME, tag)):
        context = base_image.ensure_context()
        build_and_push(Build(base_image.NAME, tag, context / "Dockerfile", context))
    return registry.build_reference(base_image.NAME, tag)


def build_and_push(build: Build) -> str:
    """Build one image, push the layers that the registry lacks, and return its reference."""
    machine.check_disk(machine.free_bytes(cache_directory()), build.needed_bytes, cache_directory())
    machine.ensure_packages(machine.IMAGE_PACKAGES)
    local = f"localhost/{build.name}:{build.tag}"
    with locked(cache_directory() / "locks" / "images"), pip_settings.mounted() as volumes:
        progress.run(
            buildah(
                *("bud", "--isolation", "chroot", "--layers", "--network", "host"),
                *("--format", "oci", "--pull-never", "--tag", local, *volumes),
                *(("--target", build.target) if build.target else ()),
                *(part for argument in build.arguments for part in ("--build-arg", argument)),
                *("--file", build.dockerfile, build.context),
            ),
            label=f"build image {build.name}:{build.tag}",
            remedy="correct the instruction that failed; for a download that failed, "
            "check that the package registry can be reached (`pip download`)",
        )
        push(local, build.name, build.tag)
    return build.reference


def push(image: str, name: str, tag: str) -> None:
    """Push the layers of `image` that the registry lacks; the caller must have the lock."""
    with registry.served() as inside:
        progress.run(
            inside
            + buildah(
                *("push", "--tls-verify=false"),
                *("--compression-format", "zstd", "--compression-level", "1"),
                *(image, f"docker://{registry.ADDRESS}/{name}:{tag}"),
            ),
            label=f"push image {name}:{tag}",
            remedy="see whether the disk is full (`df -h`), then run this again",
        )


def buildah(command: str, *arguments: str | Path) -> list[str | Path]:
    """Return a buildah command with a separate store whose mounts the host does not see."""
    store = cache_directory() / "buildah"
    policy = store / "policy.json"
    (store / "var-lib").mkdir(parents=True, exist_ok=True)
    if not policy.exists():
        policy.write_text(json.dumps(POLICY))
    takes_policy = command in ("bud", "push", "pull")
    return [
        *("unshare", "--mount", "--propagation", "private"),
        *("sh", "-c", 'mount --bind "$0" /var/lib && exec buildah "$@"', store / "var-lib"),
        *("--root", store / "store", "--runroot", store / "run", "--storage-driver", "overlay"),
        command,
        *(("--signature-policy", policy) if takes_policy else ()),
        *arguments,
    ]


def _is_stored(name: str, tag: str) -> bool:
    return shell.capture(buildah("images", "--quiet", f"localhost/{name}:{tag}")).returncode == 0
