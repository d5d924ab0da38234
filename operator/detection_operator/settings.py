"""The operator's settings: environment variables, set by the chart from its values."""

import os
import secrets
import socket
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

PREFIX = "DETECTION_OPERATOR_"


def own_identity() -> str:
    """Return a name that no other process has."""
    return f"{socket.gethostname()}-{secrets.token_hex(4)}"


class Settings(BaseModel):
    """How this operator runs; each field is `DETECTION_OPERATOR_<NAME>` in the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trainer_image: Annotated[str, Field(min_length=1)]
    report_url: Annotated[str, Field(pattern=r"^https?://")]
    """Base URL of the progress endpoint as the pods reach it."""
    namespaces: Annotated[list[str], Field(max_length=256)] = []
    """Watched namespaces; none: all."""
    listen_host: str = "0.0.0.0"  # noqa: S104 - pods report from other nodes
    listen_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    workers: Annotated[int, Field(ge=1, le=256)] = 50
    """Keys reconciled at once."""
    backoff_base_s: Annotated[float, Field(gt=0)] = 10.0
    backoff_cap_s: Annotated[float, Field(gt=0)] = 300.0
    termination_grace_s: Annotated[int, Field(ge=1)] = 60
    image_pull_timeout_s: Annotated[float, Field(gt=0)] = 600.0
    several_workers: bool = False
    """Whether trainings may have several workers."""
    resync_s: Annotated[float, Field(gt=0)] = 600.0
    status_interval_s: Annotated[float, Field(ge=0)] = 30.0
    """At most this often progress alone is written to a status."""
    lease_namespace: str = ""
    """Where the Lease is by which replicas agree on who plans; none: this process always does."""
    lease_name: Annotated[str, Field(min_length=1)] = "detection-operator"
    identity: Annotated[str, Field(min_length=1)] = Field(default_factory=own_identity)
    """Who holds the Lease. A pod's name: a container that starts again in it has it at once."""
    drain_s: Annotated[float, Field(ge=0)] = 0.0
    """How long reports are still taken after SIGTERM, until no more are sent here."""
    log_format: Annotated[str, Field(pattern=r"^(json|text)$")] = "json"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the settings.

        Raises:
            pydantic.ValidationError: one is missing, unknown or does not hold.
        """
        said = {
            key.removeprefix(PREFIX).lower(): value
            for key, value in environment.items()
            if key.startswith(PREFIX)
        }
        fields: dict[str, object] = dict(said)
        if "namespaces" in said:
            fields["namespaces"] = [n for n in said["namespaces"].split(",") if n]
        return cls.model_validate(fields)
