"""The four parts of the story: each is a few commands and the promises that they verify."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from demo.screen import Screen
from detection_operator.api.v1alpha1 import Spec, Status
from detection_operator.core.reports import decimal
from detection_trainer.contract.schedule import learning_rate
from sandbox.site.kube import TRAININGS, Kube, Object, condition, phase
from sandbox.site.tools import Tools, run

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMESPACE = "vision"
LABEL = "detectiontraining.dev/training"

MORE_STEPS = 120
"""The number of steps that are added to the finished training."""
NOISE = 0.02
"""Limit of what mAP may lose by chance: from three seeds, see docs/benchmarks.md."""
TIMEOUT_S = 1800.0
ENDED = ("Complete", "Failed", "Refused")


@dataclass(frozen=True)
class Stage:
    """The cluster and the screen of the story."""

    tools: Tools
    kube: Kube
    screen: Screen

    def kubectl(self, *arguments: str) -> str:
        """Show and run one kubectl command in the demo's namespace."""
        self.screen.command("kubectl", "-n", NAMESPACE, *arguments)
        return run([*self.tools.kubectl, "-n", NAMESPACE, *arguments])

    def apply(self, name: str) -> str:
        """Apply one of the examples; return its path in the API."""
        self.kubectl("apply", "-f", str((EXAMPLES / f"{name}.yaml").relative_to(EXAMPLES.parent)))
        return f"{TRAININGS.format(namespace=NAMESPACE)}/{name}"

    def follow(self, path: str, *phases: str) -> Object:
        """Show a training until it is in one of `phases`."""
        return self.screen.follow(
            self.kube, path, lambda found: phase(found) in phases, timeout_s=TIMEOUT_S
        )

    def pods(self, training: str) -> list[Object]:
        """Return the pods of a training."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector={LABEL}={training}"
        return self.kube.items(path)


def interrupted(stage: Stage) -> Object:
    """Train, kill the pod in the middle, and return the completed training."""
    stage.screen.chapter(
        "a. Train, and lose the pod in the middle",
        "A detector learns tree crowns from scratch. In the middle its pod is deleted by force, "
        "without a grace period. The next attempt resumes from the last checkpoint.",
    )
    path = stage.apply("trees")
    kill_in_the_middle(stage, path)
    done = stage.follow(path, *ENDED)
    status = done["status"]
    lost = (status.get("interruptions") or [{}])[0]
    at, resumed = lost.get("lastReportedStep", 0), lost.get("resumedFromStep", 0)
    stage.screen.promise(
        "the status shows the interruption, where it resumed and what was lost",
        f"{lost.get('reason')} at step {at} of {status['targetSteps']}, resumed from {resumed}, "
        f"{lost.get('stepsLost')} steps lost",
        # Often no step is lost: the kubelet waits a moment, and the trainer saves in that time.
        kept=0 < resumed < status["targetSteps"]
        and 0 < at < status["targetSteps"]
        and "stepsLost" in lost,
    )
    stage.screen.promise(
        "it completes all the same, its metrics in the status",
        f"phase {phase(done)} at step {status['step']}, {_metrics(status)}",
        kept=phase(done) == "Complete" and "mAP" in status.get("metrics", {}),
    )
    return done


def kill_in_the_middle(stage: Stage, path: str) -> None:
    """Delete the training's pod by force once a checkpoint exists and steps are left.

    A checkpoint appears in the status at once; a step between two checkpoints is written only from
    time to time, and a slow machine may show the last step first. If a fast machine completes the
    training before its pod can be deleted, the training gets as many steps again for another try.
    """
    first = stage.kube.get(path)["spec"]["steps"]
    for steps in count(first, first):
        found = _follow(stage, path, _saved_beyond(steps - first))
        running = [pod for pod in stage.pods("trees") if pod["status"].get("phase") == "Running"]
        if phase(found) not in ENDED and running:
            name = running[0]["metadata"]["name"]
            stage.kubectl("delete", "pod", name, "--force", "--grace-period=0")
            found = _follow(stage, path, _was_interrupted)
        if _was_interrupted(found) or phase(found) in {"Failed", "Refused"}:
            return
        stage.screen.print(
            "The training was complete before its pod could be deleted: the demo tries again."
        )
        raise_steps(stage, "trees", steps + first)


Wanted = Callable[[Object | None], bool]


def _nothing_else(_found: Object | None) -> bool:
    return False


def _follow(stage: Stage, path: str, until: Wanted = _nothing_else) -> Object:
    """Show a training until it has ended with all its steps, or `until` accepts its state."""

    def is_over(found: Object | None) -> bool:
        steps = (found or {}).get("spec", {}).get("steps", 0)
        return phase(found) in ENDED and _target(found) >= steps

    return stage.screen.follow(
        stage.kube, path, lambda found: until(found) or is_over(found), timeout_s=TIMEOUT_S
    )


def raise_steps(stage: Stage, training: str, steps: int) -> None:
    """Set `spec.steps` of a training."""
    merge = f'{{"spec":{{"steps":{steps}}}}}'
    stage.kubectl("patch", "dt", training, "--type=merge", "-p", merge)


def extended(stage: Stage, before: Object) -> Object:
    """Raise `steps` of the finished training; return it once it is complete again."""
    stage.screen.chapter(
        "b. Train on later, forgetting nothing",
        "The question this product began with. The finished training gets more steps: it resumes "
        "with its weights, its optimizer and its position in the data.",
    )
    path = f"{TRAININGS.format(namespace=NAMESPACE)}/trees"
    reached = before["status"]["step"]
    target = reached + MORE_STEPS
    raise_steps(stage, "trees", target)
    done = _follow(stage, path)
    status = done["status"]
    attempt = status["currentAttempt"]
    stage.screen.promise(
        "the finished training resumes from its last step",
        f"resumed from {attempt.get('resumedFromStep')}, now at {status['step']}",
        kept=attempt.get("resumedFromStep") == reached and status["step"] == target,
    )
    rates = [(_rate(part), scheduled_rate(part)) for part in (before, done)]
    stage.screen.promise(
        "the learning rate is the schedule's",
        ", then ".join(
            f"{shown} at step {part['status']['step']} (schedule: {expected})"
            for part, (shown, expected) in zip((before, done), rates, strict=True)
        ),
        kept=all(shown == expected for shown, expected in rates),
    )
    was, now = (float(part["status"]["metrics"]["mAP"]) for part in (before, done))
    stage.screen.promise(
        f"nothing is forgotten: mAP is at least what it was, less {NOISE} of noise",
        f"mAP {was:.3f} before, {now:.3f} after; mAP50 {_map50(before):.3f} → {_map50(done):.3f}",
        kept=now >= was - NOISE,
    )
    return done


def other_classes(stage: Stage) -> Object:
    """Restore the feature extractor for other classes; return the completed training."""
    stage.screen.chapter(
        "c. New classes: restore.mode detection",
        "Dead and alive trees, in one photograph with 37 boxes. Backbone and FPN are restored, the "
        "heads start fresh. (This little data shows the restore; it does not make a good model.)",
    )
    done = stage.follow(stage.apply("trees-health"), *ENDED)
    restored = done["status"].get("restored") or {}
    groups = restored.get("groups") or {}
    counted = ", ".join(
        f"{group} {counts['restored']} restored, {counts['fresh']} fresh"
        for group, counts in sorted(groups.items())
    )
    taken = all(groups.get(g, {}).get("fresh") == 0 for g in ("backbone", "feature_extractor"))
    fresh = all(groups.get(g, {}).get("restored") == 0 for g in ("box_head", "class_head"))
    stage.screen.promise(
        "backbone and FPN are restored, the heads are fresh, and the status shows it",
        f"from step {restored.get('step')} of trees: {counted}",
        kept=phase(done) == "Complete" and taken and fresh,
    )
    return done


def refused(stage: Stage) -> Object:
    """Request what cannot fit; return the refused training."""
    stage.screen.chapter(
        "d. What cannot fit is refused before a pod exists",
        "The same classes again, but with restore.mode full: the class head's shapes differ.",
    )
    done = stage.follow(stage.apply("trees-wrong"), "Refused", "Complete", "Failed", "Running")
    stalled = condition(done, "Stalled")
    message = stalled.get("message", "")
    stage.screen.promise(
        "it is refused, naming what differs and what to use",
        f"{stalled.get('reason')}: {message}",
        kept=phase(done) == "Refused" and "class_head" in message and "detection" in message,
    )
    pods = stage.pods("trees-wrong")
    stage.screen.promise("no pod was made", f"{len(pods)} pods", kept=not pods)
    return done


def continued(stage: Stage, source: Object) -> Object:
    """Continue from another training's checkpoint in a new resource."""
    stage.screen.chapter(
        "e. The same in a new resource: continueFrom",
        "A new training continues from the newest checkpoint of `trees`, which stays as it is.",
    )
    path = stage.apply("trees-longer")
    if source["status"]["step"] >= stage.kube.get(path)["spec"]["steps"]:
        raise_steps(stage, "trees-longer", source["status"]["step"] + MORE_STEPS)
    done = stage.follow(path, *ENDED)
    status = done["status"]
    started = min(c["step"] for c in status["checkpoints"])
    stage.screen.promise(
        "a continuation starts at the source's step",
        f"from step {status.get('restored', {}).get('step')}, its first checkpoint {started}, "
        f"complete at {status['step']}, {_metrics(status)}",
        kept=phase(done) == "Complete" and status["restored"]["step"] == source["status"]["step"],
    )
    return done


def untouched(stage: Stage) -> None:
    """Show that nothing in the user's resources was written except their status."""
    found = stage.kube.items(TRAININGS.format(namespace=NAMESPACE))
    added = [problem for training in found for problem in _added(training)]
    stage.screen.promise(
        "no annotation, label or finalizer that the user did not set",
        ", ".join(added) or f"none on {len(found)} trainings",
        kept=not added,
    )


def _added(training: Object) -> Iterator[str]:
    metadata = training["metadata"]
    mine = "kubectl.kubernetes.io/last-applied-configuration"
    found: dict[str, Any] = {
        "annotations": set(metadata.get("annotations") or {}) - {mine},
        "labels": metadata.get("labels"),
        "finalizers": metadata.get("finalizers"),
    }
    for kind, values in found.items():
        if values:
            yield f"{metadata['name']} has {kind} {sorted(values)}"


def scheduled_rate(training: Object) -> str | None:
    """Return the schedule's rate for the last update, in the format of the status."""
    status = Status.model_validate({"schedule": training["status"]["schedule"]})
    cycles = status.schedule.cycles if status.schedule else []
    optimizer = Spec.model_validate(training["spec"]).optimizer
    return decimal(learning_rate(optimizer, cycles, training["status"]["step"] - 1))


def _rate(training: Object) -> str | None:
    rate: str | None = training["status"].get("progress", {}).get("learningRate")
    return rate


def _target(training: Object | None) -> int:
    return int(((training or {}).get("status") or {}).get("targetSteps") or 0)


def _was_interrupted(training: Object | None) -> bool:
    return bool(((training or {}).get("status") or {}).get("interruptions"))


def _saved_beyond(step: int) -> Wanted:
    return lambda found: _checkpoint(found) > step


def _checkpoint(training: Object | None) -> int:
    latest = ((training or {}).get("status") or {}).get("latestCheckpoint") or {}
    return int(latest.get("step") or 0)


def _map50(training: Object) -> float:
    return float(training["status"]["metrics"]["mAP50"])


def _metrics(status: Object) -> str:
    metrics = status.get("metrics") or {}
    return ", ".join(f"{name} {metrics[name]}" for name in ("mAP", "mAP50") if name in metrics)
