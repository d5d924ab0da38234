"""`detection-trainer evaluate FILE`: the COCO metrics of a run's checkpoint, as JSON.

Writes nothing into the run's folder: metrics there are the running trainer's to write.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from detection_trainer.checkpoint import Checkpoint, checkpoint_name, find_checkpoint
from detection_trainer.commands.places import add_credentials, place_uri
from detection_trainer.contract import runtime
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.spec import Place, TrainingSpec
from detection_trainer.contract.training import read_training
from detection_trainer.errors import InvalidConfigError
from detection_trainer.options import Options, environment_value, parse_credentials
from detection_trainer.storage import open_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add FILE, which checkpoint of it, and where its folder lies."""
    parser.add_argument("file", type=Path, help="a DetectionTraining, as kubectl apply takes it")
    parser.add_argument("--step", type=int, help="which checkpoint; default: the newest")
    parser.add_argument(
        "--checkpoint-uri",
        default=environment_value(runtime.CHECKPOINT_URI),
        help="checkpoint folder; needed for a volumeClaim, else in place of storage.uri",
    )
    parser.add_argument("--cache-dir", type=Path, help="where remote datasets are copied to")
    add_credentials(parser)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and print the metrics."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    spec = read_training(arguments.file).spec
    if spec.dataset.validation is None:
        msg = f"{arguments.file}: evaluating takes dataset.validation, which is absent: add it"
        raise InvalidConfigError(msg)
    uri = place_uri(arguments.checkpoint_uri) if arguments.checkpoint_uri else None
    options = Options(checkpoint_uri=uri, credentials=parse_credentials(arguments.credentials))
    checkpoint = choose_checkpoint(spec, options, arguments.step)
    metrics = _evaluate(spec, spec.dataset.validation, options, checkpoint, arguments.cache_dir)
    document = {"step": checkpoint.step, "digest": checkpoint.manifest.digest, "metrics": metrics}
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return ExitCode.COMPLETED


def choose_checkpoint(spec: TrainingSpec, options: Options, step: int | None) -> Checkpoint:
    """Return the checkpoint of `step` in the run's folder, or its newest."""
    folder = open_folder(options.checkpoint_folder(spec), options.credentials)
    return find_checkpoint(folder if step is None else folder.child(checkpoint_name(step)))


def _evaluate(
    spec: TrainingSpec,
    place: Place,
    options: Options,
    checkpoint: Checkpoint,
    cache_dir: Path | None,
) -> dict[str, float]:
    # TensorFlow takes seconds to import; `--help` and refusals need none of it.
    from detection_trainer.data.dataset import open_dataset  # noqa: PLC0415
    from detection_trainer.evaluation import Evaluator  # noqa: PLC0415
    from detection_trainer.inference import load_detector  # noqa: PLC0415

    dataset = open_dataset(
        place,
        checkpoint.manifest.classes,
        cache_dir=cache_dir or Path(tempfile.gettempdir()) / "detection-trainer",
        credentials=options.credentials,
        max_bad_records=spec.dataset.max_bad_records,
        purpose="validation",
    )
    return Evaluator(load_detector(checkpoint), dataset, spec).metrics()
