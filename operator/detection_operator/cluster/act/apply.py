"""Applies a plan's actions in order; each of them may have been applied before.

The status is written first (`status.py`), so that an attempt is recorded before its Job exists. If
a name is taken by an object of the training, the action has succeeded; if another object has it,
that is an error, which the training's conditions report.
"""

import logging
from typing import assert_never

from detection_operator import names
from detection_operator.api.conditions import Reason
from detection_operator.cluster.api.client import Client
from detection_operator.cluster.api.events import EventPoster
from detection_operator.cluster.api.resources import (
    CLAIMS,
    JOBS,
    NETWORK_POLICIES,
    PODS,
    SERVICES,
    Object,
    Resource,
    controller_of,
)
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.ownership import Ref, is_controlled_by
from detection_operator.core.actions import (
    Action,
    DeleteJob,
    EnsureClaim,
    Event,
    ForceDeletePod,
    Plan,
    StartAttempt,
    StartPreflight,
)
from detection_operator.core.quantities import parse_quantity
from detection_operator.core.state import Training
from detection_operator.errors import (
    AlreadyExistsError,
    ConflictError,
    ForeignObjectError,
    NotFoundError,
    OutdatedObjectError,
)
from detection_operator.logs import about
from detection_operator.manifests import Manifests

logger = logging.getLogger(__name__)


class Applier:
    """Makes the changes of the cluster that a plan requests."""

    def __init__(
        self,
        client: Client,
        cache: Cache,
        events: EventPoster,
        manifests: Manifests,
    ) -> None:
        """Build objects with `manifests`; store the API's answers in `cache`."""
        self._client, self._cache = client, cache
        self._events, self._manifests = events, manifests

    async def apply(self, training: Training, plan: Plan) -> None:
        """Apply the actions, then post the Events.

        Raises:
            ClusterError: the API server refused; the plan may be applied again.
            ForeignObjectError: another object has a name that the training needs.
            OutdatedObjectError: an object of the training was created from an older spec.
        """
        try:
            for action in plan.actions:
                await self._act(training, action)
        finally:
            for event in plan.events:
                await self._events.post(training.identity, event)

    async def _act(self, training: Training, action: Action) -> None:
        match action:
            case EnsureClaim():
                await self._ensure_claim(training, action)
            case StartAttempt() | StartPreflight():
                await self._start(training, action)
            case DeleteJob():
                await self._delete_job(training, action)
            case ForceDeletePod():
                await self._delete(training, PODS, action.name, action.uid, grace_s=0)
                logger.warning("deleted pod %s by force", action.name, extra=_about(training))
            case _:
                assert_never(action)

    async def _ensure_claim(self, training: Training, action: EnsureClaim) -> None:
        namespace, wanted = training.identity.namespace, self._manifests.claim(training, action)
        try:
            await self._client.create(CLAIMS, namespace, wanted)
        except AlreadyExistsError:
            found = await self._client.get(CLAIMS, namespace, action.name)
            labels = found["metadata"].get("labels") or {}
            # Its name lacks the uid: a training that is created again finds the old checkpoints.
            if labels.get(names.LABEL_TRAINING) != training.identity.name:
                raise _foreign(CLAIMS, training, found) from None
            self._check_claim(training, wanted, found)
        else:
            logger.info("created claim %s", action.name, extra=_about(training))

    def _check_claim(self, training: Training, wanted: Object, found: Object) -> None:
        """Raise an error if a claim that is not bound differs from what the spec requests.

        A bound claim has checkpoints and is left unchanged.
        """
        differences = claim_differences(wanted, found)
        if not differences:
            return
        if (found.get("status") or {}).get("phase") == "Bound":
            extra = _about(training)
            logger.warning("the claim is bound and is left unchanged: %s", differences, extra=extra)
            return
        name = found["metadata"]["name"]
        raise OutdatedObjectError(CLAIMS.kind, training.identity.namespace, name, differences)

    async def _start(self, training: Training, action: StartAttempt | StartPreflight) -> None:
        if (network := self._manifests.network(training, action)) is not None:
            policy, service = network
            # Before the Job: no worker listens before the policy protects it.
            await self._ensure_network_policy(training, policy)
            await self._ensure(SERVICES, training, service)
        job = self._manifests.job(training, action)
        found, is_new = await self._ensure(JOBS, training, job)
        _require_lasting(JOBS, found)
        if is_new:
            self._cache.apply(JOBS, found)
        else:
            # The Job may have ended already, and no further event would queue the training.
            self._cache.learn(JOBS, found)

    async def _ensure_network_policy(self, training: Training, wanted: Object) -> None:
        """Create the policy, or undo the changes that others made to it."""
        found, _ = await self._ensure(NETWORK_POLICIES, training, wanted)
        _require_lasting(NETWORK_POLICIES, found)
        if found["spec"] == wanted["spec"]:
            return
        namespace, name = training.identity.namespace, wanted["metadata"]["name"]
        undone = {**found, "spec": wanted["spec"]}
        await self._client.replace(NETWORK_POLICIES, namespace, name, undone)
        message = (
            f"NetworkPolicy {name} was changed, and the operator has undone that before the next "
            "attempt. To admit other pods to the workers, add a NetworkPolicy of your own."
        )
        logger.warning("%s", message, extra=_about(training))
        reset = Event("Warning", Reason.NETWORK_POLICY_RESET, message)
        await self._events.post(training.identity, reset)

    async def _delete_job(self, training: Training, action: DeleteJob) -> None:
        await self._delete(training, JOBS, action.name, action.uid)
        logger.info("deleted Job %s: %s", action.name, action.why, extra=_about(training))
        if action.reason is not None:
            deletion = Event(
                "Warning", action.reason, f"Job {action.name} is deleted: {action.why}"
            )
            # The next decision may come before the watch reports the deletion.
            await self._events.post(training.identity, deletion, once=True)

    async def _ensure(
        self, resource: Resource, training: Training, wanted: Object
    ) -> tuple[Object, bool]:
        """Create an object of the training if it is missing; return it and whether it is new."""
        namespace, name = training.identity.namespace, wanted["metadata"]["name"]
        try:
            made = await self._client.create(resource, namespace, wanted)
        except AlreadyExistsError:
            found = await self._client.get(resource, namespace, name)
            if not is_controlled_by(found, Ref(namespace, training.identity.uid)):
                raise _foreign(resource, training, found) from None
            return found, False
        logger.info("created %s %s", resource.kind, name, extra=_about(training))
        return made, True

    async def _delete(
        self,
        training: Training,
        resource: Resource,
        name: str,
        uid: str,
        *,
        grace_s: int | None = None,
    ) -> None:
        namespace = training.identity.namespace
        try:
            await self._client.delete(resource, namespace, name, uid=uid, grace_s=grace_s)
        except (NotFoundError, ConflictError):
            # It is gone, or another object replaced it: the watch reports that.
            logger.debug("%s %s is gone", resource.kind, name, extra=_about(training))


def claim_differences(wanted: Object, found: Object) -> str:
    """Return which fields of a claim differ from the spec; empty if none does.

    A field that the spec leaves to the cluster, such as the default storage class, is not compared.
    """
    there, here = found.get("spec") or {}, wanted["spec"]
    pairs = [
        (field, there.get(field), here[field])
        for field in ("storageClassName", "accessModes")
        if field in here and there.get(field) != here[field]
    ]
    size = (there.get("resources") or {}).get("requests", {}).get("storage")
    requested = here["resources"]["requests"]["storage"]
    if size is None or parse_quantity(size) != parse_quantity(requested):
        pairs.append(("size", size, requested))
    return "; ".join(
        f"{field}: it has {has}, the spec requires {wants}" for field, has, wants in pairs
    )


def _require_lasting(resource: Resource, found: Object) -> None:
    """Refuse an object that is being deleted.

    Raises:
        ConflictError: it is being deleted; another can be created once it is gone.
    """
    if "deletionTimestamp" in found["metadata"]:
        msg = f"the previous {resource.kind} of that name is still being deleted"
        raise ConflictError(f"creating {resource.kind} {found['metadata']['name']}", 0, msg)


def _foreign(resource: Resource, training: Training, found: Object) -> ForeignObjectError:
    owner = controller_of(found)
    whose = f"{owner['kind']} {owner['name']}" if owner else ""
    name = found["metadata"]["name"]
    return ForeignObjectError(resource.kind, training.identity.namespace, name, whose)


def _about(training: Training) -> dict[str, object]:
    attempt = training.status.current_attempt
    return about(training.identity, attempt=attempt.number if attempt else None)
