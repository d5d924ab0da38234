"""How many reads of the API the pods that report may cause: few, whatever they send.

The watches bring nearly all that the endpoint needs. A read is for a pod that is newer than what
the watches have brought so far; a stranger with a token of its own must not get more out of it.
"""

import time
from collections.abc import Callable

from detection_operator.server.expiring import Expiring
from detection_operator.server.rate import RateLimit

ABSENT_S = 10.0
"""How long an absence is believed: the watches bring what has been created meanwhile."""
MAX_ABSENT = 10_000


class LookUps:
    """Permits reads per pod, per namespace and in all; remembers what was not found."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Allow one pod 4 reads at once and then one each 5 s, all pods 50 a second."""
        self._clock = clock
        self._pod = RateLimit(every_s=5.0, burst=4, clock=clock)
        self._namespace = RateLimit(every_s=0.2, burst=20, clock=clock)
        self._all = RateLimit(every_s=0.02, burst=100, clock=clock)
        self._absent: Expiring[str, str] = Expiring(MAX_ABSENT, clock)

    def take(self, pod_uid: str, namespace: str) -> float:
        """Count one read for a pod; return 0, or in how many seconds it may come again."""
        # The narrowest limit comes first: a pod beyond its own takes nothing from the others.
        return (
            self._pod.take(pod_uid) or self._namespace.take(namespace) or self._all.take("in all")
        )

    def remember(self, what: str, reason: str) -> None:
        """Remember for a while why `what` (a uid) is of no use."""
        self._absent.put(what, reason, self._clock() + ABSENT_S)

    def absence(self, what: str) -> str | None:
        """Return the reason that was remembered of `what`; None: look it up."""
        return self._absent.get(what)
