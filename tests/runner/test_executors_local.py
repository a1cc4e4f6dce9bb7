"""Processes on this machine: what the contract of executors does not say."""

import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes_seen import descendants, gone

from sammil_cli.project.project import RunOptions
from sammil_cli.runner import isolation, worker
from sammil_cli.runner.executor import Call, Limits, open_executor
from sammil_cli.runner.isolation import IsolatedProcesses
from sammil_cli.runner.worker import Place

MIB = 2**20


@pytest.fixture
def processes() -> Iterator[IsolatedProcesses]:
    """Without limits; ended with the test, and none is left then."""
    before = set(descendants(os.getpid()))
    started = IsolatedProcesses(Limits(), place=Place())
    yield started
    started.stop()
    assert gone(set(descendants(os.getpid())) - before)


def call(function: str, *arguments: object) -> Call:
    return Call(slide_id="s", function=("executor_work", function), arguments=("s", *arguments))


def test_a_process_that_has_grown_much_is_replaced(
    processes: IsolatedProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "_MOST_GROWTH_BYTES", 100 * MIB)
    held = [processes.run(call("hold", 40)).value for _ in range(8)]
    # The first slide's memory is the measure; 40, 80 and 120 MiB more: the fourth slide is a process's last one.
    assert [held.count(pid) for pid in dict.fromkeys(held)] == [4, 4]


def test_a_process_that_is_killed_between_two_slides_costs_no_slide(processes: IsolatedProcesses) -> None:
    _, first = processes.run(call("value")).value
    os.kill(first, signal.SIGKILL)
    answer = processes.run(call("value"))
    assert answer.error is None
    assert answer.value[1] != first
    _, second = answer.value
    os.kill(second, signal.SIGKILL)
    time.sleep(0.5)  # long enough for the pool to have seen it
    assert processes.run(call("value")).error is None


@pytest.mark.alone
def test_a_process_does_not_import_the_main_module(processes: IsolatedProcesses) -> None:
    answer = processes.run(Call(slide_id="s", function=("executor_work", "has_module"), arguments=("pytest",)))
    assert answer.error is None
    assert answer.value is False
    assert sys.modules["__main__"].__spec__ is not None or hasattr(sys.modules["__main__"], "__file__")


def test_memory_is_that_of_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = worker.resident_bytes()
    block = mmap.mmap(-1, 64 * MIB)  # pages of its own: the heap may have room that counts as resident already
    for page in range(0, len(block), mmap.PAGESIZE):
        block[page] = 1
    assert 60 * MIB < worker.resident_bytes() - before < 90 * MIB
    now = worker.resident_bytes()
    block.close()
    monkeypatch.setattr(worker, "_STATM", tmp_path / "no-proc")
    monkeypatch.setattr(worker, "_STATUS", tmp_path / "no-proc")
    assert worker.resident_bytes() > 0.9 * now  # the peak


STARTED = """
from sammil_cli.runner.executor import Call, Limits, open_executor
from sammil_cli.project.project import RunOptions
from sammil_cli.runner.worker import Place
with open_executor(RunOptions(workers=2), Limits()) as executor:
    for answer in executor.answers(
        Call(slide_id=s, function=("executor_work", "trouble"), arguments=(s,)) for s in ("fine", "hangs", "hangs")
    ):
        print("begun", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_goes_on_when_sammil_itself_is_killed(number: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    # Without a guard of its main module, too: see `processes._BareProcess`.
    with subprocess.Popen([sys.executable, "-c", STARTED], stdout=subprocess.PIPE, env=environment) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == b"begun\n"
        family = descendants(started.pid)
        assert family
        started.send_signal(number)
        started.wait()
    assert gone(family, seconds=3)


def test_more_workers_than_slides_are_not_started(tmp_path: Path) -> None:
    before = set(descendants(os.getpid()))
    with open_executor(RunOptions(workers=8), Limits()) as executor:
        started = [len(set(descendants(os.getpid())) - before) for _ in executor.answers(iter([call("value", 0.1)]))]
    assert started == [1]
