"""The operator's settings: environment variables, set by the chart from its values."""

import json
import os
import secrets
import socket
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from detection_operator.api.pod_defaults import PodDefaults

PREFIX = "DETECTION_OPERATOR_"
Port = Annotated[int, Field(ge=0, le=65535)]
"""0: the system chooses."""


def own_identity() -> str:
    """Return a name that no other process has."""
    return f"{socket.gethostname()}-{secrets.token_hex(4)}"


def _from_json(value: Any) -> Any:
    """Return the object that a variable has as JSON, an empty one for an empty variable."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value or "{}")
    except ValueError as error:
        msg = f"expected a JSON object; {error}"
        raise ValueError(msg) from error


class Settings(BaseModel):
    """The operator's settings; each field is `DETECTION_OPERATOR_<NAME>` in the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trainer_image: Annotated[str, Field(min_length=1)]
    report_url: Annotated[str, Field(pattern=r"^https?://")]
    """Base URL of the progress endpoint for pods; http:// means without TLS."""
    plain_report_url: Annotated[str, Field(pattern=r"^(http://.+)?$")] = ""
    """Where trainers of other images than `trainer_image` report: release 0.1 trusts no other CA.
    """
    namespaces: Annotated[list[str], Field(max_length=256)] = []
    """Watched namespaces; none: all."""
    listen_host: str = "0.0.0.0"  # noqa: S104 - pods report from other nodes
    reports_port: Port = 8443
    health_port: Port = 8081
    metrics_port: Port = 8080
    plain_port: Port = 8082
    report_connections: Annotated[int, Field(ge=4, le=65536)] = 256
    """Open connections on each port for reports; one takes 0.75 MB at most."""
    report_connections_per_peer: Annotated[int, Field(ge=0, le=65536)] = 16
    """Connections of one network address; 0: no limit. Behind NAT, pods share an address."""
    tls_folder: str = ""
    """Where tls.crt, tls.key and ca.crt are mounted; none: the operator creates its own."""
    tls_namespace: str = ""
    """The Secret with the operator's own certificate; none: it ends with the process."""
    tls_secret: Annotated[str, Field(min_length=1)] = "detection-operator-serving"  # noqa: S105 - its name
    metrics_authentication: bool = True
    """Whether /metrics requires a token that the cluster's RBAC permits to read it."""
    workers: Annotated[int, Field(ge=1, le=256)] = 50
    """Keys that are reconciled at once."""
    backoff_base_s: Annotated[float, Field(gt=0)] = 10.0
    backoff_cap_s: Annotated[float, Field(gt=0)] = 300.0
    termination_grace_s: Annotated[int, Field(ge=1)] = 60
    image_pull_timeout_s: Annotated[float, Field(gt=0)] = 600.0
    several_workers: bool = False
    """Whether trainings may have several workers."""
    pod_defaults: Annotated[PodDefaults, BeforeValidator(_from_json)] = PodDefaults()
    """JSON: what trainers' pods have where the training's podTemplate does not decide."""
    resync_s: Annotated[float, Field(gt=0)] = 600.0
    status_interval_s: Annotated[float, Field(ge=0)] = 30.0
    """Seconds between two writes of only progress to a status."""
    lease_namespace: str = ""
    """The namespace of the Lease that decides which replica plans; none: this process always does.
    """
    lease_name: Annotated[str, Field(min_length=1)] = "detection-operator"
    service: str = ""
    """The operator's Service, in the same namespace: it owns the Lease and the Secret. None: they
    have no owner."""
    identity: Annotated[str, Field(min_length=1)] = Field(default_factory=own_identity)
    """The holder's identity in the Lease. A pod's name: a restarted container has the Lease at
    once.
    """
    drain_s: Annotated[float, Field(ge=0)] = 0.0
    """Seconds that reports are still accepted after SIGTERM, until none are sent here."""
    log_format: Annotated[str, Field(pattern=r"^(json|text)$")] = "json"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the settings.

        Raises:
            pydantic.ValidationError: one is missing, unknown or invalid.
        """
        values = {
            key.removeprefix(PREFIX).lower(): value
            for key, value in environment.items()
            if key.startswith(PREFIX)
        }
        fields: dict[str, object] = dict(values)
        if "namespaces" in values:
            fields["namespaces"] = [n for n in values["namespaces"].split(",") if n]
        return cls.model_validate(fields)
