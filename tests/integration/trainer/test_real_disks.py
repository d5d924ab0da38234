"""Checkpoint folders on disks that are really full or really read-only (tmpfs, as root)."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from detection_trainer.errors import TrainerError
from detection_trainer.storage import open_folder
folder = open_folder(sys.argv[1])
try:
    folder.write("step-00000010/model.safetensors", b"x" * 4_000_000)
except TrainerError as error:
    print(type(error).__name__, int(error.exit_code), error)
print("left:", [entry.path for entry in folder.list()])
"""


def write_on(disk: Path, mount_options: str) -> str:
    """Write 4 MB on a tmpfs with these options, in a separate mount namespace."""
    disk.mkdir()
    mount = f"mount -t tmpfs -o {mount_options} tmpfs {disk}"
    script = f'{mount} && exec "$0" -c "$1" file://{disk}/run'
    command = ["unshare", "--mount", "sh", "-c", script, sys.executable, PROGRAM]
    environment = {"PYTHONPATH": "trainer", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
    root = Path(__file__).parents[3]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=root, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("options", "expected"),
    [("size=1m", "StorageFullError 74"), ("size=8m,ro", "AccessDeniedError 57")],
    ids=["full", "read-only"],
)
def test_a_disk_that_refuses_writes_is_reported_and_keeps_no_partial_file(
    tmp_path: Path, options: str, expected: str
) -> None:
    printed = write_on(tmp_path / "disk", options)
    assert printed.startswith(expected)
    assert str(tmp_path) in printed
    assert printed.rstrip().endswith("left: []")
