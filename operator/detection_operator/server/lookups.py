"""Limits the reads of the API that reporting pods may cause, whatever they send.

The watches provide nearly all that the endpoint needs. A read is for a pod that is newer than the
state of the watches; a stranger with its own token must not cause more.
"""

import time
from collections.abc import Callable

from detection_operator.server.expiring import Expiring
from detection_operator.server.rate import RateLimit

ABSENT_S = 10.0
"""Seconds that an absence counts: the watches report what is created meanwhile."""
MAX_ABSENT = 10_000


class LookUps:
    """Permits reads per pod, per namespace and in total; remembers what was not found."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Allow each pod 4 reads at once and then one every 5 s, all pods together 50 a second."""
        self._clock = clock
        self._pod = RateLimit(every_s=5.0, burst=4, clock=clock)
        self._namespace = RateLimit(every_s=0.2, burst=20, clock=clock)
        self._all = RateLimit(every_s=0.02, burst=100, clock=clock)
        self._absent: Expiring[str, str] = Expiring(MAX_ABSENT, clock)

    def take(self, pod_uid: str, namespace: str) -> float:
        """Count one read for a pod; return 0, or the seconds until it may try again."""
        # The narrowest limit comes first: a pod beyond its own limit uses nothing of the others.
        return (
            self._pod.take(pod_uid) or self._namespace.take(namespace) or self._all.take("in all")
        )

    def remember(self, what: str, reason: str) -> None:
        """Remember for a while why `what` (a uid) cannot be used."""
        self._absent.put(what, reason, self._clock() + ABSENT_S)

    def absence(self, what: str) -> str | None:
        """Return the remembered reason for `what`; None: look it up."""
        return self._absent.get(what)
