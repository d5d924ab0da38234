"""`run --pipeline-config --model-dir`: as the OD API's own trainer is started."""

from pathlib import Path

import numpy as np
import pytest

from detection_trainer.__main__ import main
from detection_trainer.checkpoints.format import find_checkpoint
from detection_trainer.commands.locations import place_uri
from detection_trainer.commands.pipeline_run import PipelineRun, make_training
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.model import Model
from detection_trainer.contract.pipeline_config.mapping import read_pipeline_config
from detection_trainer.errors import InvalidConfigError
from detection_trainer.models import build_detector
from detection_trainer.storage import open_folder
from detection_trainer.weights.odapi.names import object_paths
from sandbox.samples.datasets import CLASSES, Drawn, write_dataset
from tests.support.trainer.bundles import SLOT, VALUE, write_bundle
from tests.support.trainer.pipeline_configs import config_text
from tests.support.trainer.runs import commit

REACHED = 25


def small_config(folder: Path) -> str:
    """Return a FPNLite of 64 px and 8 channels, its data beside it."""
    text = config_text("ssd_mobilenet_v2_fpnlite_320x320")
    for old, new in (
        ("320", "64"),
        ("num_classes: 90", f"num_classes: {len(CLASSES)}"),
        ("depth: 128", "depth: 8"),
        ("num_layers_before_predictor: 4", "num_layers_before_predictor: 1"),
        ("batch_size: 128", "batch_size: 2"),
        ("num_steps: 50000", f"num_steps: {REACHED + 1}"),
        ("total_steps: 50000", f"total_steps: {REACHED + 1}"),
        ("warmup_steps: 1000", "warmup_steps: 5"),
        ('"PATH_TO_BE_CONFIGURED"\n  num_steps', '"/zoo/ckpt-0"\n  num_steps'),
        (
            'label_map_path: "PATH_TO_BE_CONFIGURED"',
            f'label_map_path: "{folder}/label_map.pbtxt"',
        ),
    ):
        assert old in text, old
        text = text.replace(old, new)
    # Without validation data: an evaluation would take as long again.
    return text.replace('"PATH_TO_BE_CONFIGURED"', '"train.tfrecord"', 1)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("od_api")
    write_dataset(folder / "train.tfrecord", [Drawn(seed=seed) for seed in range(3)])
    (folder / "label_map.pbtxt").write_text(
        "".join(f"item {{ id: {i} name: '{n}' }}\n" for i, n in enumerate(CLASSES, start=1))
    )
    (folder / "pipeline.config").write_text(small_config(folder))
    return folder / "pipeline.config"


@pytest.fixture(scope="module")
def model_dir(config: Path) -> Path:
    """A model_dir after 25 steps, as the OD API's main loop leaves it."""
    model = Model.model_validate(read_pipeline_config(config.read_text(), "/").fields["model"])
    detector = build_detector(model, len(CLASSES), seed=1)
    paths = object_paths(model, len(CLASSES))
    named = {f"model/{paths[p]}": v.numpy() for p, v in detector.variables.items()}
    slots = {f"{path}{SLOT}{VALUE}": np.zeros_like(value) for path, value in named.items()}
    tensors = {f"{path}{VALUE}": value for path, value in named.items()} | slots
    folder = config.parent / "model_dir"
    write_bundle(folder / "ckpt-2", {**tensors, f"step{VALUE}": np.array(REACHED, np.int64)})
    (folder / "checkpoint").write_text('model_checkpoint_path: "ckpt-2"\n')
    return folder


def test_it_continues_from_the_model_dir_into_a_folder_beside_it(
    config: Path, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(config.parent)
    before = sorted(path.name for path in model_dir.iterdir())
    words = ["run", "--pipeline-config", str(config), "--model-dir", str(model_dir)]
    assert main(words) == ExitCode.COMPLETED
    found = find_checkpoint(open_folder(f"{place_uri(str(model_dir))}-detection-training"))
    assert found.step == REACHED + 1
    assert found.manifest.restored is not None
    assert found.manifest.restored.step == REACHED
    assert found.manifest.restored.uri.endswith("/model_dir/ckpt-2")
    assert sorted(path.name for path in model_dir.iterdir()) == before, "it is only read"


def test_a_model_dir_without_a_checkpoint_leaves_the_configuration_unchanged(
    config: Path, tmp_path: Path
) -> None:
    run = PipelineRun(str(config), model_dir=tmp_path.as_uri(), steps=7, on_extend="Restart")
    spec = make_training(run, {}).spec
    assert spec.continue_from is None
    assert spec.restore is not None
    assert (spec.restore.mode, spec.restore.from_.uri) == (
        "classification",
        "file:///zoo/ckpt-0",
    )
    assert (spec.steps, spec.optimizer.schedule.on_extend) == (7, "Restart")
    assert spec.checkpoints.storage.uri == f"{tmp_path.as_uri()}-detection-training"


def test_a_label_map_of_other_classes_is_reported_before_any_training(
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(config.parent)
    other = tmp_path / "pipeline.config"
    counted = f"num_classes: {len(CLASSES)}"
    other.write_text(config.read_text().replace(counted, "num_classes: 90"))
    words = ["run", "--pipeline-config", str(other), "--model-dir", str(tmp_path / "model_dir")]
    assert main(words) == ExitCode.DATA_INVALID
    printed = capsys.readouterr()
    assert "label_map.pbtxt: expected 90 classes" in printed.out + printed.err
    assert not list(tmp_path.glob("model_dir*/step-*"))


def test_without_a_model_dir_the_folder_of_checkpoints_must_be_given(config: Path) -> None:
    with pytest.raises(InvalidConfigError, match=r"--model-dir.*--checkpoint-uri"):
        make_training(PipelineRun(str(config)), {})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "run: expected either FILE, a DetectionTraining, or --pipeline-config; received none"),
        (["a.yaml", "--pipeline-config", "b"], "received both"),
        (["a.yaml", "--steps", "5"], "--steps is only valid with --pipeline-config"),
    ],
)
def test_contradictory_options_are_reported(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *words]) == ExitCode.INVALID_CONFIG
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "files", [["ckpt-9.index", "ckpt-10.index"], ["train/ckpt-10.index"]], ids=["in it", "below"]
)
def test_a_model_dir_whose_state_file_is_missing_is_refused(
    config: Path, tmp_path: Path, files: list[str]
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(
        InvalidConfigError, match=r"no file 'checkpoint'.*/ckpt-10; to start from scratch"
    ):
        make_training(PipelineRun(str(config), model_dir=tmp_path.as_uri()), {})


def test_a_checkpoint_named_by_itself_needs_no_state_file(
    config: Path, model_dir: Path, tmp_path: Path
) -> None:
    for file in model_dir.glob("ckpt-2.*"):
        (tmp_path / file.name).symlink_to(file)
    uri = f"{tmp_path.as_uri()}/ckpt-2"
    spec = make_training(PipelineRun(str(config), model_dir=uri), {}).spec
    assert spec.continue_from is not None
    assert spec.continue_from.uri == uri


def test_the_fine_tune_checkpoint_may_be_in_the_model_dir(config: Path, tmp_path: Path) -> None:
    text = config.read_text().replace("/zoo/ckpt-0", f"{tmp_path}/zoo/ckpt-0")
    own = tmp_path / "pipeline.config"
    own.write_text(text)
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo/ckpt-0.index").touch()
    training = make_training(PipelineRun(str(own), model_dir=tmp_path.as_uri()), {})
    assert training.spec.restore is not None
    assert any("has no checkpoint: the run starts with" in note for note in training.notes)


def test_the_run_s_own_checkpoints_may_be_in_the_model_dir(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    commit(open_folder(out.as_uri()), 1)
    run = PipelineRun(str(config), model_dir=tmp_path.as_uri(), checkpoints=out.as_uri())
    assert make_training(run, {}).spec.continue_from is None


def test_a_model_dir_of_this_trainer_is_resumed(config: Path, tmp_path: Path) -> None:
    commit(open_folder(tmp_path.as_uri()), 1)
    for uri in (tmp_path.as_uri(), f"{tmp_path.as_uri()}/step-00000001"):
        spec = make_training(PipelineRun(str(config), model_dir=uri), {}).spec
        assert spec.continue_from is not None
        assert spec.continue_from.uri == uri
    same = PipelineRun(str(config), model_dir=tmp_path.as_uri(), checkpoints=tmp_path.as_uri())
    assert make_training(same, {}).spec.continue_from is None


def test_a_missing_model_dir_is_reported(config: Path, tmp_path: Path) -> None:
    uri = (tmp_path / "absent").as_uri()
    notes = make_training(PipelineRun(str(config), model_dir=uri), {}).notes
    assert f"--model-dir {uri} does not exist, or is empty: the run starts with" in notes[-1]
