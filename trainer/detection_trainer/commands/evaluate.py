"""`detection-trainer evaluate FILE`: the COCO metrics of a run's checkpoint.

A table on a terminal, else JSON. Writes nothing into the run's folder: metrics there are the
running trainer's to write.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from detection_trainer.checkpoints.format import Checkpoint
from detection_trainer.commands.locations import add_credentials, choose_checkpoint, place_uri
from detection_trainer.commands.numbers import step
from detection_trainer.commands.pipeline_file import load_training
from detection_trainer.contract import runtime
from detection_trainer.contract.dataset import Place
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.errors import InvalidConfigError
from detection_trainer.options import Options, environment_value, parse_credentials
from detection_trainer.run.process import prepare_process


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add FILE, which checkpoint of it, and where its folder lies."""
    parser.add_argument("file", type=Path, help="a DetectionTraining, as kubectl apply takes it")
    parser.add_argument("--step", type=step, help="which checkpoint; default: the newest")
    parser.add_argument(
        "--checkpoint-uri",
        default=environment_value(runtime.CHECKPOINT_URI),
        help="checkpoint folder: required for a volumeClaim, otherwise replaces storage.uri",
    )
    parser.add_argument("--cache-dir", type=Path, help="folder for copies of remote datasets")
    parser.add_argument("--json", action="store_true", help="print JSON on a terminal too")
    add_credentials(parser)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and print the metrics."""
    prepare_process()
    spec = load_training(arguments.file, parse_credentials(arguments.credentials)).spec
    if spec.dataset.validation is None:
        msg = f"{arguments.file}: evaluation needs dataset.validation, which is missing: add it"
        raise InvalidConfigError(msg)
    uri = place_uri(arguments.checkpoint_uri) if arguments.checkpoint_uri else None
    run_uri = Options(checkpoint_uri=uri).checkpoint_folder(spec)
    checkpoint = choose_checkpoint(run_uri, arguments.credentials, arguments.step)
    metrics = _evaluate(spec, spec.dataset.validation, arguments, checkpoint)
    if sys.stdout.isatty() and not arguments.json:
        Console().print(metrics_table(checkpoint.step, metrics))
        return ExitCode.COMPLETED
    document = {"step": checkpoint.step, "digest": checkpoint.manifest.digest, "metrics": metrics}
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return ExitCode.COMPLETED


def metrics_table(step: int, metrics: Mapping[str, float]) -> Table:
    """Return the metrics as people read them: first those of all classes, then class by class."""
    table = Table("METRIC", f"STEP {step}", box=None)
    for name, value in sorted(metrics.items(), key=lambda metric: "/" in metric[0]):
        # Text, not markup: a class may be called `[tree]`.
        table.add_row(Text(name), f"{value:.4f}")
    return table


def _evaluate(
    spec: TrainingSpec, place: Place, arguments: argparse.Namespace, checkpoint: Checkpoint
) -> dict[str, float]:
    # TensorFlow takes seconds to import; `--help` and refusals need none of it.
    from detection_trainer.data.cache import default_cache_dir  # noqa: PLC0415
    from detection_trainer.data.dataset import open_dataset  # noqa: PLC0415
    from detection_trainer.evaluation.evaluator import Evaluator  # noqa: PLC0415
    from detection_trainer.evaluation.inference import load_detector  # noqa: PLC0415

    dataset = open_dataset(
        place,
        checkpoint.manifest.classes,
        cache_dir=arguments.cache_dir or default_cache_dir(),
        credentials=parse_credentials(arguments.credentials),
        max_bad_records=spec.dataset.max_bad_records,
        purpose="validation",
    )
    return Evaluator(load_detector(checkpoint), dataset, spec).metrics()
