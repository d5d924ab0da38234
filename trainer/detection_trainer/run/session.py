"""The chief's run: it trains as every worker does, and also evaluates, saves and reports.

`attempt` imports this, and with it TensorFlow, only once there is something to compute.
"""

from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from detection_trainer.checkpoints.fence_watch import FenceWatch
from detection_trainer.checkpoints.format import Snapshot
from detection_trainer.checkpoints.manifest_builder import RunDescription
from detection_trainer.checkpoints.saver import Saver
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.report import Outcome
from detection_trainer.distributed.rendezvous import Decision, gather_all
from detection_trainer.errors import TrainerError
from detection_trainer.evaluation.evaluator import Evaluator
from detection_trainer.reporting.tensorboard import EventLog
from detection_trainer.run.context import Attempt, Beginning
from detection_trainer.run.early_stopping import EarlyStop, resume_counting
from detection_trainer.run.loop import Evaluate, LoopServices, TrainingLoop
from detection_trainer.run.outcome import early_outcome, outcome_of
from detection_trainer.run.start_report import report_start
from detection_trainer.run.startup import StartedRun, open_inputs, started_run


def run_session(attempt: Attempt, beginning: Beginning) -> Outcome:
    """Train to the target, evaluate, save, and return the outcome.

    Raises:
        StopRequested: a signal requested a stop; the trained steps are committed.
        TrainerError: the attempt fails.
    """
    resumed = beginning.resumed
    inputs = open_inputs(attempt, resumed)
    decision = Decision(step=None if resumed is None else resumed.step)
    gather_all(attempt.options.cluster, attempt.subject, decision)
    with started_run(attempt, inputs, beginning.start, beginning.store) as run:
        session = _make_session(attempt, beginning, run)
        session.report_and_commit_start()
        with run.distribution.ending_together():
            return session.run_loop()


def _make_session(attempt: Attempt, beginning: Beginning, run: StartedRun) -> "_Session":
    spec, datasets, initial = attempt.spec, run.datasets, run.initial
    evaluator = None
    if datasets.validation is not None:
        evaluator = Evaluator(run.update.detector, datasets.validation, spec)
    events = EventLog(
        beginning.store.folder,
        initial.step,
        clock=attempt.clock,
        pictures=evaluator.pictures if evaluator is not None else tuple,
        before_write=beginning.fence.check,
    )
    attempt.reporter.watch(events)
    early_stop = EarlyStop(spec.early_stopping, spec.steps, None)
    if initial.resumed is not None:
        early_stop = resume_counting(spec.early_stopping, spec.steps, initial.resumed)
    return _Session(attempt, beginning, run, evaluator, events, early_stop)


@dataclass(frozen=True, slots=True)
class _Session:
    """A started run with what only the chief has: fence, metrics and event files."""

    attempt: Attempt
    beginning: Beginning
    run: StartedRun
    evaluator: Evaluator | None
    events: EventLog
    early_stop: EarlyStop

    def report_and_commit_start(self) -> None:
        """Report the initial state, and commit it unless the attempt resumes."""
        initial = self.run.initial
        report_start(self.attempt, self.beginning.store, self.run)
        if initial.resumed is None:
            # A retry resumes from this checkpoint, so the source may be deleted now.
            self.commit(self.run.update.snapshot(initial.step))

    def run_loop(self) -> Outcome:
        """Run the loop together with the threads that save and watch the fence."""
        spec, run = self.attempt.spec, self.run
        saver = Saver(self.commit, self.report_delay)
        watch = FenceWatch(self.beginning.fence)
        loop = TrainingLoop(
            run.update,
            spec,
            run.initial.cycles,
            self._services(saver, watch),
            self._evaluation(),
        )
        try:
            reached = loop.run(run.initial.step, run.batches)
        finally:
            watch.close()
            saver.close()
            # Event files are optional: they must not hide the outcome or the error of the run.
            with suppress(TrainerError):
                self.events.flush(now=True)
        if self.early_stop.is_over and reached < spec.steps:
            return early_outcome(self.early_stop.message(reached))
        return outcome_of(ExitCode.COMPLETED, f"reached step {reached} of {spec.steps}")

    def commit(self, snapshot: Snapshot) -> None:
        """Commit and report a snapshot; runs in the saver's thread or in the loop's."""
        store, reporter = self.beginning.store, self.attempt.reporter
        began = self.attempt.clock()
        checkpoint = store.commit(snapshot, self.description().manifest, self.beginning.fence)
        reporter.saved(checkpoint, (self.attempt.clock() - began).total_seconds())
        store.apply_retention()
        reporter.checkpoints(store)
        self.events.flush()

    def report_delay(self, snapshot: Snapshot, error: Exception) -> None:
        """Log a failed save; a later save replaces it."""
        message = f"saving step {snapshot.step} failed, training continues: {error}"
        self.attempt.reporter.console.say("saveDelayed", message, step=snapshot.step)

    def description(self) -> RunDescription:
        """Return the values that all checkpoints of this attempt share."""
        datasets, initial = self.run.datasets, self.run.initial
        return RunDescription(
            identity=self.attempt.training.identity,
            spec=self.attempt.spec,
            attempt=self.beginning.fence.attempt,
            classes=datasets.classes,
            cycles=initial.cycles,
            environment=self.run.environment,
            dataset_digest=datasets.train.digest,
            restored=initial.restored,
            clock=self.attempt.clock,
            patience=self.early_stop.patience,
        )

    def _services(self, saver: Saver, watch: FenceWatch) -> LoopServices:
        return LoopServices(
            saver=saver,
            store=self.beginning.store,
            reporter=self.attempt.reporter,
            stop=self.run.distribution,
            watch=watch,
            early_stop=self.early_stop,
            agree=self.run.distribution.agree,
            report_period_s=self.attempt.options.report_period_s,
        )

    def _evaluation(self) -> Evaluate | None:
        if self.evaluator is None:
            return None

        def evaluate(evaluator: Evaluator) -> dict[str, float]:
            with self.run.update.averaged():
                return evaluator.metrics(self.attempt.stop.raise_if_requested)

        return partial(evaluate, self.evaluator)
