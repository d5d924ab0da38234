"""The options of a trainer outside its training, read from `contract.runtime`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from detection_trainer.contract import runtime
from detection_trainer.contract.base import bytes_digest
from detection_trainer.contract.documents import DocumentError, parse_json
from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.distributed.tf_config import Cluster
from detection_trainer.errors import ConfigChangedError, InvalidConfigError


@dataclass(frozen=True, slots=True)
class Options:
    """The environment of one trainer start; without the operator every default is valid."""

    attempt: int | None = None
    report_url: str | None = None
    report_token_file: Path | None = None
    report_ca_file: Path | None = None
    checkpoint_uri: str | None = None
    credentials: Mapping[str, Path] = field(default_factory=dict)
    config_digest: str | None = None
    recorded_step: int | None = None
    dataset_digest: str | None = None
    cache_dir: Path | None = None
    report_period_s: float = 5.0
    metrics_port: int | None = None
    cluster: Cluster = field(default_factory=Cluster)

    @property
    def is_by_hand(self) -> bool:
        """Whether a person wrote the file: the operator checks its own, and names their digest."""
        return self.config_digest is None

    def checkpoint_folder(self, spec: TrainingSpec) -> str:
        """Return the URI of the run's folder.

        Raises:
            InvalidConfigError: it is on a volume claim, and no mount path is configured.
        """
        uri = self.checkpoint_uri or spec.checkpoints.storage.uri
        if uri is None:
            msg = (
                "checkpoints.storage.volumeClaim exists only in a cluster: set the folder for "
                "checkpoints with --checkpoint-uri file:///path"
            )
            raise InvalidConfigError(msg)
        return uri


def parse_credentials(text: str) -> dict[str, Path]:
    """Return the JSON object `text` as URI prefix -> directory.

    Raises:
        InvalidConfigError: `text` is not such an object.
    """
    try:
        document = parse_json(text or "{}")
    except DocumentError:
        document = None
    if not isinstance(document, dict) or not all(isinstance(v, str) for v in document.values()):
        msg = (
            f"{runtime.CREDENTIALS} (--credentials): expected a JSON object of URI prefix -> "
            f"directory; received {text[:200]!r}"
        )
        raise InvalidConfigError(msg)
    return {prefix: Path(directory) for prefix, directory in document.items()}


def require_unchanged(file: Path, digest: str | None) -> None:
    """Check that the file has the digest that the operator recorded.

    Raises:
        ConfigChangedError: they differ, or the file cannot be read.
    """
    if digest is None:
        return
    try:
        found = bytes_digest([file.read_bytes()])
    except OSError as error:
        raise ConfigChangedError(f"{file}: expected the training; received {error}") from error
    if found != digest:
        msg = (
            f"{file}: the configuration is not the one that the operator wrote (expected "
            f"{digest}, received {found}): it was edited on its pod; the operator writes it again "
            "for the next attempt"
        )
        raise ConfigChangedError(msg)


def environment_value(name: str) -> str | None:
    """Return the environment variable `name`, or None if it is missing or empty."""
    return os.environ.get(name) or None
