"""The same YAML runs without Kubernetes: stopped and started again, it has equal results."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import yaml

from detection_trainer.checkpoints.format import committed_steps, open_checkpoint
from detection_trainer.contract.exit_codes import ExitCode
from tests.support.cluster.site import CONTROL_STEPS, ONE_THREAD, Result, Workspace

SAVED_STEP = 40


def test_stopped_by_sigterm_and_started_again(
    workspace: Workspace, control: Result, tmp_path: Path
) -> None:
    file = tmp_path / "training.yaml"
    file.write_text(yaml.safe_dump(workspace.document("by-hand", steps=CONTROL_STEPS)))
    command = [sys.executable, "-m", "detection_trainer", "run", str(file)]
    places = {prefix: str(keys) for prefix, keys in workspace.site.store.credentials.items()}
    command += ["--credentials", json.dumps(places), "--cache-dir", str(tmp_path / "cache")]
    assert stop_once_saved(command) == ExitCode.SAVED

    folder = workspace.site.store.folder(workspace.folder_uri("by-hand"))
    saved = committed_steps(folder)[-1]
    assert SAVED_STEP <= saved < CONTROL_STEPS

    again = subprocess.run(
        command, check=False, env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert again.returncode == ExitCode.COMPLETED
    assert f"resumes from the run's own checkpoint of step {saved}" in again.stdout
    newest = open_checkpoint(folder.child(f"step-{CONTROL_STEPS:08d}"))
    assert newest.manifest.digest == control.digest, "as in the cluster, on the same machine"


def environment() -> dict[str, str]:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {**os.environ, "PYTHONPATH": path, **{one["name"]: one["value"] for one in ONE_THREAD}}


def stop_once_saved(command: list[str]) -> int:
    """Start a training and ask it to stop once a checkpoint is committed; return its exit code."""
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            event = json.loads(line)
            if event["event"] == "saved" and event["step"] >= SAVED_STEP:
                run.send_signal(signal.SIGTERM)
                break
        run.stdout.read()
    return run.returncode
