"""Pure functions from a pod to what `plan` is given (core/state.py)."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from detection_operator import names
from detection_operator.cluster.api.resources import Object, controller_of
from detection_operator.cluster.observe.parse import (
    parse_index,
    parse_time,
    text_of,
    whole_number,
)
from detection_operator.core.state import Container, Pod, PodPhase, Termination, Waiting

NOT_YET = frozenset({"PodInitializing", "ContainerCreating"})
"""Waiting reasons that mean only that another step is not done yet."""


def parse_pod(body: Object) -> Pod:
    """Return a pod as its status reports it."""
    metadata, status = body["metadata"], body.get("status") or {}
    conditions = {text_of(c["type"]): c for c in status.get("conditions") or []}
    container = _container(status)
    state = container.get("state") or {}
    ended = state.get("terminated") or {}
    started = (state.get("running") or ended).get("startedAt")
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        job_name=text_of(controller_of(body).get("name")),
        index=parse_index(metadata.get("labels") or {}),
        phase=_pod_phase(text_of(status.get("phase")) or "Pending"),
        node=text_of((body.get("spec") or {}).get("nodeName")),
        deleting_since=parse_time(metadata.get("deletionTimestamp")),
        forced=metadata.get("deletionGracePeriodSeconds") == 0,
        unschedulable=_condition(conditions.get("PodScheduled"), "False"),
        waiting=_waiting(status, state, _condition(conditions.get("PodScheduled"), "True")),
        others=tuple(_others(body)),
        claims=_claims(body),
        disruption=_condition(conditions.get("DisruptionTarget"), "True"),
        pod_reason=text_of(status.get("reason")),
        pod_message=text_of(status.get("message")),
        # Share one string between thousands of pods of one image.
        image_id=sys.intern(str(container.get("imageID") or "")),
        running_since=parse_time(started),
        termination=_termination(ended),
    )


def _pod_phase(text: str) -> PodPhase:
    try:
        return PodPhase(text)
    except ValueError:
        return PodPhase.UNKNOWN


def _container(status: Object) -> Object:
    """Return the status of the trainer's container."""
    found: list[Object] = status.get("containerStatuses") or []
    return next((c for c in found if c.get("name") == names.CONTAINER), {})


def _waiting(status: Object, state: Object, scheduled: Waiting | None) -> Waiting | None:
    """Return why the trainer's container waits: itself, or for an init container that waits.

    A waiting state has no time: the pod waits since it was `scheduled`.
    """
    if state.get("running") or state.get("terminated"):
        # A sidecar may still wait for a restart: the trainer does not wait for it.
        return None
    since = scheduled.since if scheduled else None
    waits = [_waits(init, since) for init in status.get("initContainerStatuses") or []]
    waiting = state.get("waiting")
    waits.append(_waiting_state(waiting, since) if waiting else None)
    return next((wait for wait in waits if wait and wait.reason not in NOT_YET), None)


def _waits(init: Object, since: datetime | None) -> Waiting | None:
    """Return why an init container waits, with its last end."""
    waiting = (init.get("state") or {}).get("waiting")
    if not waiting:
        return None
    found = _waiting_state(waiting, since)
    last = _termination((init.get("lastState") or {}).get("terminated") or {})
    ending = f" Its last run ended: {last.description}" if last is not None else ""
    return replace(found, container=text_of(init.get("name")), message=f"{found.message}{ending}")


def _others(body: Object) -> Iterator[Container]:
    """Yield the containers beside the trainer's that run or have failed."""
    spec, status = body.get("spec") or {}, body.get("status") or {}
    sidecars = {
        init.get("name")
        for init in spec.get("initContainers") or []
        if init.get("restartPolicy") == "Always"
    }
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(kind) or []:
            name, is_init = text_of(container.get("name")), kind == "initContainerStatuses"
            if not is_init and name == names.CONTAINER:
                continue
            state = container.get("state") or {}
            running, ended = "running" in state, _termination(state.get("terminated") or {})
            if not running and (ended is None or ended.exit_code == 0):
                continue
            has_started = name in sidecars and container.get("started") is True
            blocks_start = is_init and running and not has_started
            yield Container(name, is_init, blocks_start, running, ended)


def _claims(body: Object) -> tuple[str, ...]:
    """Return the claims that a pod without a node mounts."""
    spec = body.get("spec") or {}
    if spec.get("nodeName"):
        return ()
    found = []
    for volume in spec.get("volumes") or []:
        if name := text_of((volume.get("persistentVolumeClaim") or {}).get("claimName")):
            found.append(sys.intern(name))
        elif "ephemeral" in volume:
            found.append(f"{body['metadata']['name']}-{text_of(volume.get('name'))}")
    return tuple(found)


def _condition(condition: Object | None, status: str) -> Waiting | None:
    if condition is None or condition.get("status") != status:
        return None
    since = parse_time(condition.get("lastTransitionTime"))
    return _waiting_state(condition, since)


def _waiting_state(state: Object, since: datetime | None) -> Waiting:
    return Waiting(text_of(state.get("reason")), text_of(state.get("message")), since)


def _termination(terminated: Object) -> Termination | None:
    if not terminated:
        return None
    return Termination(
        exit_code=whole_number(terminated.get("exitCode", 0), at_least=-(2**31)),
        reason=text_of(terminated.get("reason")),
        message=text_of(terminated.get("message")),
        finished_at=parse_time(terminated.get("finishedAt")),
    )
