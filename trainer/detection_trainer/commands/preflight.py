"""`detection-trainer preflight FILE`: check everything that can be checked without training."""

import argparse
import json
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from detection_trainer.commands.locations import add_credentials, add_variables, place_uri
from detection_trainer.commands.pipeline_file import load_training
from detection_trainer.commands.preflight_table import preflight_lines
from detection_trainer.contract import runtime
from detection_trainer.contract.base import dump
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.packing import MAX_PACKED, pack
from detection_trainer.contract.report import Outcome
from detection_trainer.contract.training import Training
from detection_trainer.errors import InvalidConfigError
from detection_trainer.options import (
    Options,
    parse_credentials,
    require_unchanged,
)
from detection_trainer.preflight import PreflightResult, run_preflight
from detection_trainer.run.outcome import (
    error_line,
    outcome_of,
    outcome_of_error,
    termination_message,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add FILE, and the values that the operator passes in environment variables."""
    parser.add_argument("file", type=Path, help="a DetectionTraining, as kubectl apply takes it")
    options = {
        "--checkpoint-uri": (runtime.CHECKPOINT_URI, "checkpoint folder, for a volumeClaim"),
        "--config-digest": (runtime.CONFIG_DIGEST, "sha256:<hex> that FILE's bytes must have"),
        "--termination-log": (runtime.TERMINATION_LOG, "file for the outcome as JSON"),
    }
    add_variables(parser, options, for_people=frozenset({"--checkpoint-uri"}))
    parser.add_argument(
        "--cache-dir",
        type=Path,
        help="folder for copies of remote datasets; default: no copies are kept",
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=("table", "json"),
        help="table: a verdict and a table; json: all that was found, or the refusal. Default: a "
        "table on a terminal, otherwise JSON of what was found",
    )
    add_credentials(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print what was found; returns the exit code that the run would end with."""
    try:
        training = _read(arguments)
        config = _packed(training)
        result = _check(training, arguments)
    except Exception as error:  # noqa: BLE001 - whatever ends the check becomes its outcome
        outcome = outcome_of_error(error)
        _explain(outcome, error)
        if arguments.output == "json":
            sys.stdout.write(json.dumps(dump(outcome), indent=2, ensure_ascii=False) + "\n")
    else:
        passed = outcome_of(ExitCode.COMPLETED, result.message)
        found = {"dataset": result.train_files, "pipeline_config": config}
        outcome = passed.model_copy(update=found)
        _print(result, arguments.output)
    if arguments.termination_log:
        Path(arguments.termination_log).write_text(termination_message(outcome))
    return int(outcome.exit_code)


def _print(result: PreflightResult, output: str | None) -> None:
    """Print a table, or JSON; a pod's log has no terminal and keeps the JSON."""
    if (output or ("table" if sys.stdout.isatty() else "json")) == "table":
        sys.stdout.writelines(f"{line}\n" for line in preflight_lines(result))
        return
    sys.stdout.write(json.dumps(dump(result), indent=2, ensure_ascii=False) + "\n")


def _read(arguments: argparse.Namespace) -> Training:
    require_unchanged(arguments.file, arguments.config_digest)
    return load_training(arguments.file, parse_credentials(arguments.credentials))


def _packed(training: Training) -> str | None:
    """Return what was read at `pipelineConfig.uri` as it is reported to the operator.

    Raises:
        InvalidConfigError: it does not fit.
    """
    if training.config_text is None:
        return None
    packed = pack(training.config_text)
    if len(packed) > MAX_PACKED:
        raise InvalidConfigError(
            f"the pipeline.config at pipelineConfig.uri has {len(packed)} characters after "
            f"compression; a pod can report at most {MAX_PACKED}: use "
            "pipelineConfig.configMapKeyRef or inline, or remove its comments"
        )
    return packed


def _check(training: Training, arguments: argparse.Namespace) -> PreflightResult:
    uri = arguments.checkpoint_uri
    options = Options(
        checkpoint_uri=place_uri(uri) if uri else None,
        credentials=parse_credentials(arguments.credentials),
        config_digest=arguments.config_digest,
        cache_dir=arguments.cache_dir,
    )
    with _cache(arguments.cache_dir) as cache_dir:
        return run_preflight(training, options, cache_dir)


@contextmanager
def _cache(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="detection-trainer-") as folder:
        yield Path(folder)


def _explain(outcome: Outcome, error: Exception) -> None:
    if outcome.exit_code is ExitCode.UNEXPECTED:
        traceback.print_exception(error)
    sys.stderr.write(error_line(outcome.reason, outcome.message) + "\n")
    for difference in outcome.differences:
        sys.stderr.write(f"  {difference}\n")
