"""Posts Kubernetes Events for the owners of trainings."""

import hashlib
import logging
from collections.abc import Callable
from datetime import datetime

from detection_operator.api.times import utc_now
from detection_operator.api.v1alpha1 import API_VERSION, KIND
from detection_operator.cluster.api.client import Client
from detection_operator.cluster.api.resources import EVENTS, Object
from detection_operator.core.actions import Event
from detection_operator.core.state import Identity
from detection_operator.errors import AlreadyExistsError, ClusterError
from detection_operator.logs import about

logger = logging.getLogger(__name__)

MAX_MESSAGE = 1024
COMPONENT = "detection-operator"


class EventPoster:
    """Posts Events; a failure is logged and blocks nothing."""

    def __init__(self, client: Client, now: Callable[[], datetime] = utc_now) -> None:
        """Take the time of the Events from `now`."""
        self._client, self._now = client, now

    async def post(self, identity: Identity, event: Event, *, once: bool = False) -> None:
        """Post one Event; with `once`, not while an Event with the same text exists."""
        body = build_event(identity, event, self._now(), once=once)
        try:
            await self._client.create(EVENTS, identity.namespace, body)
        except AlreadyExistsError:
            return
        except ClusterError as error:
            extra = about(identity)
            logger.warning("posting the event %s failed: %s", event.reason, error, extra=extra)


def build_event(identity: Identity, event: Event, now: datetime, *, once: bool) -> Object:
    """Return the core/v1 Event; with `once`, the same text gives the same name."""
    content = f"{identity.uid}/{event.reason}/{event.message}"
    digest = hashlib.sha256(content.encode()).hexdigest()[:12]
    suffix = digest if once else f"{digest}.{int(now.timestamp() * 1e6):x}"
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"namespace": identity.namespace, "name": f"{identity.name}.{suffix}"},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": identity.namespace,
            "name": identity.name,
            "uid": identity.uid,
        },
        "type": event.type,
        "reason": str(event.reason),
        "message": event.message[:MAX_MESSAGE],
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
