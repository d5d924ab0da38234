"""The four parts of the story, each a few commands and the promises that they show kept."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.screen import Screen
from sandbox.kube import TRAININGS, Kube, Object, condition, phase
from sandbox.tools import Tools, run

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMESPACE = "vision"
LABEL = "detectiontraining.dev/training"

STEPS_MORE = 420
"""What the finished training is raised to."""
NOISE = 0.02
"""Bound on what mAP may lose by chance: from three seeds, see docs/benchmarks.md."""
TIMEOUT_S = 900.0
UNSAVED_STEPS = 10


@dataclass(frozen=True)
class Stage:
    """Where the story plays."""

    tools: Tools
    kube: Kube
    screen: Screen

    def kubectl(self, *words: str) -> str:
        """Show and run one kubectl command in the demo's namespace."""
        self.screen.command("kubectl", "-n", NAMESPACE, *words)
        return run([*self.tools.kubectl, "-n", NAMESPACE, *words])

    def apply(self, name: str) -> str:
        """Apply one of the examples; return its path in the API."""
        self.kubectl("apply", "-f", str((EXAMPLES / f"{name}.yaml").relative_to(EXAMPLES.parent)))
        return f"{TRAININGS.format(namespace=NAMESPACE)}/{name}"

    def follow(self, path: str, *phases: str) -> Object:
        """Watch a training until it is in one of `phases`."""
        return self.screen.follow(
            self.kube, path, lambda found: phase(found) in phases, timeout_s=TIMEOUT_S
        )

    def pods(self, training: str) -> list[Object]:
        """Return the pods of a training."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector={LABEL}={training}"
        return self.kube.items(path)


def interrupted(stage: Stage) -> Object:
    """Train; kill the pod half-way; return the completed training."""
    stage.screen.chapter(
        "a. Train, and lose the pod half-way",
        "A detector learns tree crowns from scratch. Half-way its pod is killed with no grace, as "
        "by a lost node or a preemption: the next attempt goes on from the last checkpoint.",
    )
    path = stage.apply("trees")
    half = stage.kube.get(path)["spec"]["steps"] // 2
    stage.screen.follow(
        stage.kube,
        path,
        # Between two checkpoints, so that there is something to lose.
        lambda found: _step(found) >= max(half, _checkpoint(found) + UNSAVED_STEPS),
        timeout_s=TIMEOUT_S,
    )
    pod = stage.pods("trees")[0]["metadata"]["name"]
    stage.kubectl("delete", "pod", pod, "--force", "--grace-period=0")
    done = stage.follow(path, "Complete", "Failed", "Refused")
    status = done["status"]
    lost = (status.get("interruptions") or [{}])[0]
    stage.screen.promise(
        "the status shows the interruption, where it resumed and what was lost",
        f"{lost.get('reason')} at step {lost.get('lastReportedStep')}, resumed from "
        f"{lost.get('resumedFromStep')}, {lost.get('stepsLost')} steps lost",
        # Often none are: the kubelet leaves a moment, and the trainer needs no more to save.
        kept=lost.get("resumedFromStep", 0) > 0 and "stepsLost" in lost,
    )
    stage.screen.promise(
        "it completes all the same, its metrics in the status",
        f"phase {phase(done)} at step {status['step']}, {_metrics(status)}",
        kept=phase(done) == "Complete" and "mAP" in status.get("metrics", {}),
    )
    return done


def extended(stage: Stage, before: Object) -> Object:
    """Raise `steps` of the finished training; return it once it is complete again."""
    stage.screen.chapter(
        "b. Train on later, forgetting nothing",
        "The question this product began with. The finished training is simply given more steps: "
        "weights, optimizer and data position go on where they stood.",
    )
    path = f"{TRAININGS.format(namespace=NAMESPACE)}/trees"
    merge = f'{{"spec":{{"steps":{STEPS_MORE}}}}}'
    stage.kubectl("patch", "dt", "trees", "--type=merge", "-p", merge)
    reached = before["status"]["step"]
    stage.follow(path, "Queued", "Starting", "Running", "Failed", "Refused")
    done = stage.follow(path, "Complete", "Failed", "Refused")
    status = done["status"]
    attempt = status["currentAttempt"]
    stage.screen.promise(
        "the finished training goes on from its last step",
        f"resumed from {attempt.get('resumedFromStep')}, now at {status['step']}",
        kept=attempt.get("resumedFromStep") == reached and status["step"] == STEPS_MORE,
    )
    rates = [part["status"].get("progress", {}).get("learningRate") for part in (before, done)]
    cycles = status["schedule"]["cycles"]
    stage.screen.promise(
        "the learning rate goes where the schedule says",
        f"{rates[0]} when it was complete, {rates[1]} now; cycles "
        + ", ".join(f"{c['start']} to {c['start'] + c['decaySteps']}" for c in cycles),
        kept=None not in rates,
    )
    was, now = (float(part["status"]["metrics"]["mAP"]) for part in (before, done))
    stage.screen.promise(
        f"nothing is forgotten: mAP is at least what it was, less {NOISE} of noise",
        f"mAP {was:.3f} before, {now:.3f} after; mAP50 {_map50(before):.3f} → {_map50(done):.3f}",
        kept=now >= was - NOISE,
    )
    return done


def other_classes(stage: Stage) -> Object:
    """Take over the feature extractor for other classes; return the completed training."""
    stage.screen.chapter(
        "c. New classes: restore.mode detection",
        "Dead and alive trees, in one photograph with 37 boxes. Backbone and FPN are taken over, "
        "the heads begin afresh. (So little data shows the restore; it claims no quality.)",
    )
    done = stage.follow(stage.apply("trees-health"), "Complete", "Failed", "Refused")
    restored = done["status"].get("restored") or {}
    groups = restored.get("groups") or {}
    counted = ", ".join(
        f"{group} {counts['restored']} restored, {counts['fresh']} fresh"
        for group, counts in sorted(groups.items())
    )
    taken = all(groups.get(g, {}).get("fresh") == 0 for g in ("backbone", "feature_extractor"))
    fresh = all(groups.get(g, {}).get("restored") == 0 for g in ("box_head", "class_head"))
    stage.screen.promise(
        "backbone and FPN are taken over, the heads are fresh, and the status says so",
        f"from step {restored.get('step')} of trees: {counted}",
        kept=phase(done) == "Complete" and taken and fresh,
    )
    return done


def refused(stage: Stage) -> Object:
    """Ask for what cannot fit; return the refused training."""
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
    """Go on from another training's checkpoint in a record of its own."""
    stage.screen.chapter(
        "e. The same, in a record of its own: continueFrom",
        "A new training goes on where `trees` stood, and leaves that one as it is.",
    )
    done = stage.follow(stage.apply("trees-longer"), "Complete", "Failed", "Refused")
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
    """Show that nobody wrote into the user's resources but their status."""
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


def _step(training: Object | None) -> int:
    return int(((training or {}).get("status") or {}).get("step") or 0)


def _checkpoint(training: Object | None) -> int:
    latest = ((training or {}).get("status") or {}).get("latestCheckpoint") or {}
    return int(latest.get("step") or 0)


def _map50(training: Object) -> float:
    return float(training["status"]["metrics"]["mAP50"])


def _metrics(status: Object) -> str:
    metrics = status.get("metrics") or {}
    return ", ".join(f"{name} {metrics[name]}" for name in ("mAP", "mAP50") if name in metrics)
