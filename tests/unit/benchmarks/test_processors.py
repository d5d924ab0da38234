import os
import threading
import time

import pytest

from benchmarks.hostile.other_work import other_work
from benchmarks.hostile.processors import PROGRAMS, Processors, program_of

OTHER = 1


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ('python3 -c "Runs in a hostile pod, by `python3 -c`: ..." {}', "attackers"),
        ("kubectl exec hostile -- python3 -c Runs in a hostile pod", "attackers"),
        ("python3 -m detection_operator", "operator"),
        ("python3 -m detection_trainer run", "trainer"),
        ("components kube-apiserver --etcd-servers x", "API server"),
        ("components etcd --data-dir x", "etcd"),
        ("kubelet --config x", "others"),
    ],
)
def test_a_process_belongs_to_the_program_of_its_command_line(command: str, program: str) -> None:
    assert program_of(OTHER, command) == program


def test_what_the_benchmark_itself_does_is_part_of_the_attacks() -> None:
    assert program_of(os.getpid(), "python -m benchmarks.hostile") == "attackers"
    assert "attackers" in PROGRAMS


def test_the_time_of_this_process_is_counted() -> None:
    processors = Processors()
    with processors.counting():
        until = time.process_time() + 0.2
        while time.process_time() < until:
            pass
    assert 0.1 < processors.share("attackers") * processors.elapsed_s < 2


def test_other_work_is_counted_by_itself_and_ends() -> None:
    processors, deadline = Processors(), time.monotonic() + 60
    with other_work(0.5):
        while not processors.ticks["other work"]:
            assert time.monotonic() < deadline, "it did not begin"
            with processors.counting():
                threading.Event().wait(0.1)
    assert processors.beside("other work") >= 0
