"""The part of an attempt that needs TensorFlow: dataset, detector, weights, loop, evaluation.

`attempt` imports this only once it is clear that there is something to compute.
"""

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras

from detection_trainer.checkpoints.fence_watch import FenceWatch
from detection_trainer.checkpoints.format import Checkpoint, Snapshot
from detection_trainer.checkpoints.manifest import Environment, Manifest
from detection_trainer.checkpoints.manifest_builder import RunDescription
from detection_trainer.checkpoints.resume_check import require_same_classes, require_same_records
from detection_trainer.checkpoints.saver import Saver
from detection_trainer.contract.base import canonical_digest
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.report import Outcome
from detection_trainer.contract.spec import Place, TrainingSpec
from detection_trainer.data.dataset import Dataset, open_dataset
from detection_trainer.data.label_map import load_classes
from detection_trainer.data.pipeline import explained, training_batches
from detection_trainer.data.source import require_pinned
from detection_trainer.distributed.distribution import (
    ALONE,
    Distribution,
    losing_peers,
    start_distribution,
)
from detection_trainer.distributed.rendezvous import Decision, gather_all
from detection_trainer.errors import TrainerError
from detection_trainer.evaluation.evaluator import Evaluator
from detection_trainer.models import build_detector
from detection_trainer.reporting.console import Console
from detection_trainer.reporting.tensorboard import EventLog
from detection_trainer.run.attempt import Attempt, Beginning
from detection_trainer.run.early_stopping import EarlyStop, go_on_counting
from detection_trainer.run.initial_state import Origin, take_origin
from detection_trainer.run.loop import Evaluate, Surroundings, TrainingLoop
from detection_trainer.run.outcome import early_outcome, outcome_of
from detection_trainer.run.tensorflow_setup import prepare_tensorflow
from detection_trainer.training.cycles import describe_extension
from detection_trainer.training.step import TrainingStep
from detection_trainer.weights.restore import weights_digest


@dataclass(frozen=True, slots=True)
class Data:
    """The classes and the validated records of a run."""

    classes: list[str]
    train: Dataset
    validation: Dataset | None


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run computes with, beside its state."""

    data: Data
    distribution: Distribution
    environment: Environment


def run_session(attempt: Attempt, beginning: Beginning) -> Outcome:
    """Train to the target, evaluate and save; returns the outcome of that.

    Raises:
        StopRequested: asked to stop; what was trained is committed.
        TrainerError: the attempt fails.
    """
    spec = attempt.spec
    environment = prepare_tensorflow(spec)
    resumed = beginning.resumed
    data = open_data(attempt, resumed)
    cluster = attempt.options.cluster
    gather_all(cluster, attempt.subject, Decision(step=resumed.step if resumed else None))
    with losing_peers(cluster, attempt.stop):
        distribution = start_distribution(spec, cluster, attempt.stop)
        environment = environment.model_copy(update={"world_size": distribution.replicas})
        parts = Parts(data, distribution, environment)
        return _train(attempt, beginning, parts)


def _train(attempt: Attempt, beginning: Beginning, parts: Parts) -> Outcome:
    spec, data, distribution = attempt.spec, parts.data, parts.distribution
    update = build_update(spec, len(data.classes), distribution)
    origin = take_origin(beginning.start, beginning.store, attempt, data.classes, update)
    require_same_state(distribution, data, update.snapshot(origin.step))
    if origin.resumed is not None:
        require_same_records(origin.resumed.manifest, data.train.digest)
    evaluator = None
    if data.validation is not None:
        evaluator = Evaluator(update.detector, data.validation, spec)
    events = EventLog(
        beginning.store.folder,
        origin.step,
        clock=attempt.clock,
        pictures=evaluator.pictures if evaluator is not None else tuple,
        before_write=beginning.fence.check,
    )
    attempt.reporter.watch(events)
    early_stop = EarlyStop(spec.early_stopping, spec.steps, None)
    if origin.resumed is not None:
        early_stop = go_on_counting(spec.early_stopping, spec.steps, origin.resumed)
    session = _Session(attempt, beginning, parts, update, origin, evaluator, events, early_stop)
    session.tell_origin()
    if origin.resumed is None:
        # From here on every attempt is alike, and the source may vanish.
        session.commit(update.snapshot(origin.step))
    with distribution.ending_together():
        return session.train()


def open_data(attempt: Attempt, resumed: Checkpoint | None = None) -> Data:
    """Open and validate label map, training and validation set.

    Raises:
        DatasetChangedError: the classes are not those of the checkpoint `resumed`.
        DataInvalidError: label map or records cannot be trained on.
    """
    spec, options = attempt.spec, attempt.options
    credentials = options.credentials
    classes = load_classes(spec.dataset, credentials)
    if resumed is not None:
        # Reading the records may take minutes.
        require_same_classes(resumed.manifest, classes)
    cache_dir = options.cache_dir or Path(tempfile.gettempdir()) / "detection-trainer"

    def opened(place: Place, purpose: str) -> Dataset:
        attempt.stop.raise_if_requested()
        dataset = open_dataset(
            place,
            classes,
            cache_dir=cache_dir,
            credentials=credentials,
            max_bad_records=spec.dataset.max_bad_records,
            purpose=purpose,
        )
        _tell_dataset(attempt.reporter.console, dataset, purpose)
        return dataset

    if options.dataset_digest is not None:
        require_pinned(spec.dataset.train, options.dataset_digest, credentials)
    validation = spec.dataset.validation
    return Data(
        classes=classes,
        train=opened(spec.dataset.train, "train"),
        validation=None if validation is None else opened(validation, "validation"),
    )


def _tell_dataset(console: Console, dataset: Dataset, purpose: str) -> None:
    about = dataset.summary
    sizes = ", ".join(f"{count} {size}" for size, count in about.boxes_per_size.items())
    message = (
        f"{purpose}: {about.images} images in {about.files} files, {about.boxes} boxes ({sizes})"
    )
    if about.bad_record_count:
        message += f"; passes over {about.bad_record_count} bad records: {about.bad_records[0]}"
    counts = {"boxesPerClass": about.boxes_per_class, "boxesPerSize": about.boxes_per_size}
    console.say("dataset", message, digest=about.digest, badRecords=about.bad_records, **counts)


def require_same_state(distribution: Distribution, data: Data, state: Snapshot) -> None:
    """Let all workers find that they train one model on the same records.

    Raises:
        PeerLostError: they do not.
    """
    if distribution.cluster.size > 1:
        distribution.require_same("records", data.train.digest)
        distribution.require_same("classes", canonical_digest(data.classes))
        distribution.require_same("state", weights_digest({**state.weights, **state.optimizer}))


def build_update(
    spec: TrainingSpec, num_classes: int, distribution: Distribution = ALONE
) -> TrainingStep:
    """Build detector and optimizer; fresh weights are a pure function of the seed."""
    keras.utils.set_random_seed(spec.seed)
    with distribution.scope():
        detector = build_detector(spec.model, num_classes, freeze=spec.freeze, seed=spec.seed)
        return TrainingStep(detector, spec, distribution)


@dataclass(frozen=True, slots=True)
class _Session:
    """A run whose state is in place."""

    attempt: Attempt
    beginning: Beginning
    parts: Parts
    update: TrainingStep
    origin: Origin
    evaluator: Evaluator | None
    events: EventLog
    early_stop: EarlyStop

    def train(self) -> Outcome:
        spec = self.attempt.spec
        saver = Saver(self.commit, self.tell_delay)
        watch = FenceWatch(self.beginning.fence)
        surroundings = Surroundings(
            saver=saver,
            store=self.beginning.store,
            reporter=self.attempt.reporter,
            stop=self.parts.distribution,
            watch=watch,
            early_stop=self.early_stop,
            agree=self.parts.distribution.agree,
            report_period_s=self.attempt.options.report_period_s,
        )
        evaluate, distribution = self._evaluation(), self.parts.distribution
        loop = TrainingLoop(self.update, spec, self.origin.cycles, surroundings, evaluate)
        step = self.origin.step
        try:
            train = self.parts.data.train
            batches = training_batches(train, spec, step, distribution.shard)
            reached = loop.run(step, explained(batches, train))
        finally:
            watch.close()
            saver.close()
            with suppress(TrainerError):
                self.events.flush(now=True)

        if self.early_stop.is_over and reached < spec.steps:
            return early_outcome(self.early_stop.message(reached))
        return outcome_of(ExitCode.COMPLETED, f"reached step {reached} of {spec.steps}")

    def commit(self, snapshot: Snapshot) -> None:
        """Commit a snapshot and tell of it; in the saver's thread or the loop's."""
        store, reporter = self.beginning.store, self.attempt.reporter
        began = self.attempt.clock()
        checkpoint = store.commit(snapshot, self.description().manifest, self.beginning.fence)
        reporter.saved(checkpoint, (self.attempt.clock() - began).total_seconds())
        store.apply_retention()
        reporter.checkpoints(store)
        self.events.flush()

    def _evaluation(self) -> Evaluate | None:
        if self.evaluator is None:
            return None

        def evaluate(evaluator: Evaluator) -> dict[str, float]:
            with self.update.averaged():
                return evaluator.metrics(self.attempt.stop.raise_if_requested)

        return partial(evaluate, self.evaluator)

    def tell_delay(self, snapshot: Snapshot, error: Exception) -> None:
        """Tell of a save that failed and that a later one makes up for."""
        message = f"saving step {snapshot.step} failed, training goes on: {error}"
        self.attempt.reporter.console.say("saveDelayed", message, step=snapshot.step)

    def description(self) -> RunDescription:
        """Return what all checkpoints of this attempt say alike."""
        return RunDescription(
            identity=self.attempt.training.identity,
            spec=self.attempt.spec,
            attempt=self.beginning.fence.attempt,
            classes=self.parts.data.classes,
            cycles=self.origin.cycles,
            environment=self.parts.environment,
            dataset_digest=self.parts.data.train.digest,
            restored=self.origin.restored,
            clock=self.attempt.clock,
            patience=self.early_stop.patience,
        )

    def tell_origin(self) -> None:
        """Tell where the attempt begins, and what differs from before."""
        reporter, origin = self.attempt.reporter, self.origin
        reporter.update(
            step=origin.step,
            resumed_from_step=origin.step,
            classes=self.parts.data.classes,
            cycles=origin.cycles,
            restored=origin.restored,
            metrics={} if origin.resumed is None else origin.resumed.record.metrics,
        )
        reporter.checkpoints(self.beginning.store)
        reporter.console.say("started", _origin_message(origin), step=origin.step)
        if origin.came_from is not None:
            self._tell_changes(origin.came_from.manifest)

    def _tell_changes(self, before: Manifest) -> None:
        console, origin = self.attempt.reporter.console, self.origin
        extension = describe_extension(self.attempt.spec, before.cycles, origin.cycles, origin.step)
        if extension is not None:
            console.say("extended", extension, step=origin.step)
        changed = before.environment.differences(self.parts.environment)
        if changed:
            message = f"the bits may differ from an uninterrupted run: {'; '.join(changed)}"
            console.say("environmentChanged", message)


def _origin_message(origin: Origin) -> str:
    if origin.resumed is not None:
        return f"resumes from its own checkpoint of step {origin.step}"
    restored = origin.restored
    if restored is None:
        return "begins from scratch at step 0"
    counts = f"{restored.variables.restored} variables taken over, {restored.variables.fresh} fresh"
    if restored.mode is None:
        return f"continues {restored.uri} at step {origin.step}: {counts}"
    return f"begins at step 0, restored by mode {restored.mode} from {restored.uri}: {counts}"
