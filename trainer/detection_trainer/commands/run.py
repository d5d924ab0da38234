"""`detection-trainer run FILE`: train, or go on training, until the target is reached.

Or `run --pipeline-config FILE --model-dir URI`, as the OD API's own trainer is started.
"""

import argparse
import sys
import traceback
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from detection_trainer.commands.locations import add_credentials, add_variables, place_uri
from detection_trainer.commands.numbers import seconds
from detection_trainer.commands.pipeline_file import load_training
from detection_trainer.commands.pipeline_run import BESIDE, PipelineRun, make_training
from detection_trainer.contract import runtime
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.report import Outcome, Report
from detection_trainer.contract.training import Training
from detection_trainer.distributed.tf_config import VARIABLE, parse_cluster
from detection_trainer.errors import InvalidConfigError
from detection_trainer.options import (
    Options,
    environment_value,
    parse_credentials,
    require_unchanged,
)
from detection_trainer.reporting.console import Console, open_console
from detection_trainer.reporting.metrics_port import MetricsPort
from detection_trainer.reporting.report_client import Endpoint, ReportClient
from detection_trainer.reporting.reporter import Reporter
from detection_trainer.run.attempt import run_attempt
from detection_trainer.run.context import Attempt
from detection_trainer.run.outcome import (
    error_line,
    last_report,
    outcome_of,
    outcome_of_error,
)
from detection_trainer.run.process import prepare_process
from detection_trainer.stop import StopRequested, StopSignal

INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C ended at once."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add FILE and one option for each variable of `contract.runtime`."""
    parser.add_argument(
        "file", type=Path, nargs="?", help="a DetectionTraining, as kubectl apply takes it"
    )
    _add_pipeline(parser)
    options = {
        "--attempt": (runtime.ATTEMPT, "number of this attempt; default: the next one"),
        "--report-url": (runtime.REPORT_URL, "URL that receives reports; default: none"),
        "--report-token-file": (runtime.REPORT_TOKEN_FILE, "file with the bearer token"),
        "--report-ca-file": (
            runtime.REPORT_CA_FILE,
            "PEM of the authorities to trust for reports over https; default: the system's",
        ),
        "--checkpoint-uri": (
            runtime.CHECKPOINT_URI,
            "checkpoint folder: required for a volumeClaim, otherwise replaces storage.uri",
        ),
        "--config-digest": (runtime.CONFIG_DIGEST, "sha256:<hex> that FILE's bytes must have"),
        "--recorded-step": (
            runtime.RECORDED_STEP,
            "step of a checkpoint that must be in the folder",
        ),
        "--dataset-digest": (
            runtime.DATASET_DIGEST,
            "digest of the training set that a preflight recorded (`trainFiles.digest`)",
        ),
        "--termination-log": (runtime.TERMINATION_LOG, "file for the outcome as JSON"),
        "--metrics-port": (runtime.METRICS_PORT, "port for Prometheus; default: none"),
    }
    add_variables(parser, options, for_people=frozenset({"--checkpoint-uri", "--metrics-port"}))
    parser.add_argument("--cache-dir", type=Path, help="folder for copies of remote datasets")
    parser.add_argument(
        "--report-period",
        type=seconds,
        default=5.0,
        metavar="SECONDS",
        help="seconds between progress lines; 0: a line for each step (default 5)",
    )
    add_credentials(parser)


def _add_pipeline(parser: argparse.ArgumentParser) -> None:
    pipeline = parser.add_argument_group("files of the OD API, instead of FILE")
    pipeline.add_argument(
        "--pipeline-config", metavar="FILE", help="path or URI of the pipeline.config"
    )
    pipeline.add_argument(
        "--model-dir",
        metavar="URI",
        help="folder of an OD API run: training continues its newest checkpoint, if there is one. "
        "The folder is only read; new checkpoints go to the folder of that name with "
        f"{BESIDE} appended, or to --checkpoint-uri",
    )
    pipeline.add_argument("--steps", type=int, help="replaces num_steps")
    pipeline.add_argument(
        "--on-extend",
        choices=("Hold", "Restart"),
        help="learning rate beyond total_steps: Hold keeps the final rate, Restart begins a new "
        "cycle",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run one attempt and return its exit code."""
    prepare_process()
    stop, clock = StopSignal(), partial(datetime.now, UTC)
    stop.install()
    reporter = Reporter(open_console(clock), clock)
    try:
        outcome = _connect_and_run(arguments, reporter, stop)
    except StopRequested:
        outcome = outcome_of(ExitCode.SAVED, _stopped_message(reporter.report))
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whatever ends an attempt becomes its outcome
        outcome = outcome_of_error(error)
        _explain(outcome, error)
    stop.defer_signals()
    reporter.finish(outcome)
    if arguments.termination_log:
        Path(arguments.termination_log).write_text(last_report(reporter.report))
    return int(outcome.exit_code)


def parse_options(arguments: argparse.Namespace) -> Options:
    """Return the options that the command line or the environment gives.

    Raises:
        InvalidConfigError: a number or the credentials are none.
    """
    url = arguments.report_url
    if url and not _is_http(url):
        raise InvalidConfigError(f"--report-url: expected an http(s) URL; received {url!r}")
    token_file, ca_file = arguments.report_token_file, arguments.report_ca_file
    return Options(
        attempt=_number(arguments.attempt, "--attempt"),
        report_url=url,
        report_token_file=Path(token_file) if token_file else None,
        report_ca_file=Path(ca_file) if ca_file else None,
        checkpoint_uri=place_uri(arguments.checkpoint_uri) if arguments.checkpoint_uri else None,
        credentials=parse_credentials(arguments.credentials),
        config_digest=arguments.config_digest,
        recorded_step=_number(arguments.recorded_step, "--recorded-step"),
        dataset_digest=arguments.dataset_digest,
        cache_dir=arguments.cache_dir,
        report_period_s=arguments.report_period,
        metrics_port=_number(arguments.metrics_port, "--metrics-port"),
        cluster=parse_cluster(environment_value(VARIABLE)),
    )


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _connect_and_run(
    arguments: argparse.Namespace, reporter: Reporter, stop: StopSignal
) -> Outcome:
    """Read options and document, connect what listens to the run, and run the attempt."""
    options = parse_options(arguments)
    if options.report_url is not None and options.cluster.is_chief:
        log = partial(_log_connection, reporter.console)
        endpoint = Endpoint(options.report_url, options.report_token_file, options.report_ca_file)
        reporter.connect(ReportClient(endpoint, log))
    if options.metrics_port is not None:
        _serve_metrics(options.metrics_port, reporter)
    training = _read(arguments, options)
    reporter.update(target_steps=training.spec.steps, attempt=options.attempt or 1)
    if training.set_aside and options.report_url is None:
        fields = ", ".join(training.set_aside)
        reporter.console.say(
            "setAside",
            f"only the operator reads these fields of spec, they are ignored here: {fields}",
        )
    for note in training.notes:
        reporter.console.say("pipelineConfig", note)
    return run_attempt(Attempt(training, options, reporter, stop, reporter.clock))


def _read(arguments: argparse.Namespace, options: Options) -> Training:
    if (arguments.file is None) == (arguments.pipeline_config is None):
        raise InvalidConfigError(
            "run: expected either FILE, a DetectionTraining, or --pipeline-config; received "
            f"{'none' if arguments.file is None else 'both'}"
        )
    if arguments.pipeline_config is not None:
        model_dir = arguments.model_dir
        run = PipelineRun(
            config=arguments.pipeline_config,
            model_dir=place_uri(model_dir) if model_dir else None,
            checkpoints=options.checkpoint_uri,
            steps=arguments.steps,
            on_extend=arguments.on_extend,
        )
        return make_training(run, options.credentials)
    alone = ("model_dir", "steps", "on_extend")
    given = [
        f"--{name.replace('_', '-')}" for name in alone if getattr(arguments, name) is not None
    ]
    if given:
        raise InvalidConfigError(
            f"{', '.join(given)} is only valid with --pipeline-config: set the value in the spec "
            f"of {arguments.file} instead"
        )
    require_unchanged(arguments.file, options.config_digest)
    return load_training(arguments.file, options.credentials)


def _serve_metrics(port: int, reporter: Reporter) -> None:
    try:
        served = MetricsPort(port, lambda: reporter.report)
    except (OSError, OverflowError) as error:
        message = f"cannot serve metrics on port {port}, training continues: {error}"
        reporter.console.say("metricsUnserved", message)
    else:
        reporter.console.say("metricsServed", f"serving metrics on port {served.port}")


def _number(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    if not text.isdigit():
        raise InvalidConfigError(f"{option}: expected a whole number; received {text!r}")
    return int(text)


def _log_connection(console: Console, problem: str | None) -> None:
    if problem is None:
        console.say("reportsAnswered", "the operator accepts reports again")
    else:
        message = f"cannot send the report, training continues: {problem}"
        console.say("reportsUnanswered", message)


def _stopped_message(report: Report) -> str:
    newest = f"step {report.checkpoints[0].step}" if report.checkpoints else "none yet"
    return (
        f"stopped on request; the newest committed checkpoint has {newest}: start again to resume"
    )


def _explain(outcome: Outcome, error: Exception) -> None:
    if outcome.exit_code is ExitCode.UNEXPECTED:
        traceback.print_exception(error)
    sys.stderr.write(error_line(outcome.reason, outcome.message) + "\n")
