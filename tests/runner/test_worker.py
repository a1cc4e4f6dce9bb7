"""Inside a worker process: its share of the machine, its GPU, and what becomes of a GPU's trouble."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from sammil_cli.errors import SlideError
from sammil_cli.project.project import RunOptions
from sammil_cli.runner import machine, worker
from sammil_cli.runner.executor import Answer, Call, Limits, open_executor
from sammil_cli.runner.executors._fit_workers import places
from sammil_cli.runner.isolation import IsolatedProcesses
from sammil_cli.runner.worker import Place

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")


@pytest.fixture(autouse=True)
def no_threads_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Callable[[Place], None]:
    """Puts this process where a worker process would be."""
    return lambda place: monkeypatch.setitem(worker._state, "place", place)


def gpus(patch: pytest.MonkeyPatch, count: int, lost: tuple[int, ...] = ()) -> list[int]:
    """So many GPUs, some of which do not answer; returns the list of those that were made current."""
    current: list[int] = []

    def make_current(index: int) -> None:
        if index in lost:
            raise RuntimeError("CUDA error: unspecified launch failure")
        current.append(index)

    patch.setattr(torch.cuda, "is_available", lambda: count > 0)
    patch.setattr(torch.cuda, "device_count", lambda: count)
    patch.setattr(torch.cuda, "set_device", make_current)
    patch.setattr(torch, "zeros", lambda *shape, device: None)
    return current


def test_processes_share_the_cores(place: Callable[[Place], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "usable_cores", lambda: 16)
    found = []
    for processes in (1, 3, 16, 40):
        place(Place(processes=processes))
        found.append(worker.threads())
    assert found == [16, 5, 1, 1]


def shares(workers: int) -> list[Answer]:
    calls = (Call(slide_id=str(n), function=("executor_work", "share"), arguments=(str(n),)) for n in range(workers))
    with open_executor(RunOptions(workers=workers), Limits()) as executor:
        return list(executor.answers(calls))


def test_torch_and_opencv_take_no_more_than_the_process_s_share() -> None:
    cores = machine.usable_cores()
    each = max(1, cores // 2)
    assert sorted(answer.value for answer in shares(2)) == [(each, each, each, 0), (each, each, each, 1)]


def test_threads_that_the_user_asked_for_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (answer,) = shares(1)
    cores = machine.usable_cores()
    assert answer.value == (1, cores, cores, 0)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "250000 100000"}, 2),
        ({"cpu.max": "20000 100000"}, 1),
        ({"pod/cpu.max": "400000 100000", "cpu.max": "600000 100000"}, 4),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
    ],
)
def test_a_container_s_quota_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: int
) -> None:
    cgroups(tmp_path, monkeypatch, files)
    assert machine.usable_cores() == cores


def cgroups(folder: Path, patch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{text}\n")
    (folder / "own").write_text("0::/pod\n")
    patch.setattr(machine, "_CGROUP", folder)
    patch.setattr(machine, "_OWN_CGROUP", folder / "own")
    patch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)


def test_memory_is_what_the_machine_and_the_container_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    5000 kB\n")
    monkeypatch.setattr(machine, "_MEMINFO", tmp_path / "meminfo")
    cgroups(tmp_path, monkeypatch, {"memory.max": "max", "memory.current": "1000"})
    assert machine.available_bytes() == 5000 * 1024
    # 3 000 000 of 4 000 000 bytes are taken, of which 500 000 are files that were read.
    held = {"memory.max": "4000000", "memory.current": "3000000", "memory.stat": "anon 7\ninactive_file 500000"}
    cgroups(tmp_path, monkeypatch, held)
    assert machine.available_bytes() == 1_500_000


def test_each_slot_has_its_gpu(place: Callable[[Place], None], monkeypatch: pytest.MonkeyPatch) -> None:
    current = gpus(monkeypatch, 3)
    found = []
    for slot in range(5):
        place(Place(slot=slot, processes=5))
        found.append(worker.own_device("cuda"))
    assert found == ["cuda:0", "cuda:1", "cuda:2", "cuda:0", "cuda:1"]
    assert current == [0, 1, 2, 0, 1]
    assert worker.own_device("cuda:2") == "cuda:2"
    assert worker.own_device("cpu") == "cpu"
    assert current == [0, 1, 2, 0, 1, 2]


def test_a_gpu_that_is_lost_is_passed_over_unless_it_was_named(
    place: Callable[[Place], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(monkeypatch, 3, lost=(1, 2))
    place(Place(slot=1, processes=3))
    assert worker.own_device("cuda") == "cuda:0"
    with pytest.raises(SlideError, match=r"--device cuda:1; torch sees 3 .*unspecified launch failure") as refused:
        worker.own_device("cuda:1")
    assert refused.value.code == "E_DEVICE"
    assert not refused.value.set_aside
    assert "--device cpu" in refused.value.remedy


@pytest.mark.parametrize(("device", "count"), [("cuda", 0), ("cuda:2", 2)])
def test_a_gpu_that_this_machine_lacks_is_named(monkeypatch: pytest.MonkeyPatch, device: str, count: int) -> None:
    gpus(monkeypatch, count)
    with pytest.raises(SlideError, match=f"no GPU for --device {device}; torch sees {count} in") as refused:
        worker.own_device(device)
    assert refused.value.code == "E_DEVICE"


ERRORS = {
    "CUDA error: an illegal memory access was encountered\nfor debugging …": (
        "E_DEVICE",
        "the GPU failed: CUDA error: an illegal memory access was encountered for debugging …",
        "--device cpu",
    ),
    "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED": (
        "E_DEVICE",
        "the GPU failed: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        "--device cpu",
    ),
    "No CUDA GPUs are available": ("E_DEVICE", "the GPU failed: No CUDA GPUs are available", "--device cpu"),
    "CUDA error: out of memory": ("E_MEMORY", "not enough memory on the GPU", "in params.yaml; or --device cpu"),
    "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried": (
        "E_MEMORY",
        "not enough memory",
        "a smaller batch_size",
    ),
    "mat1 and mat2 shapes cannot be multiplied": (
        "E_BUG",
        "RuntimeError: mat1 and mat2 shapes cannot be multiplied",
        "report",
    ),
}


@pytest.mark.parametrize("message", ERRORS)
def test_what_torch_says_of_a_gpu_is_told_with_the_way_out(message: str) -> None:
    code, words, way_out = ERRORS[message]
    with pytest.raises(SlideError) as told:
        worker.attempt(("executor_work", "gpu_trouble"), ("a", message))
    assert told.value.code == code
    assert told.value.message.partition(" (")[0] == words
    assert "\n" not in told.value.message
    assert way_out in told.value.remedy


def test_fewer_workers_are_advised_where_there_are_several(place: Callable[[Place], None]) -> None:
    for processes in (1, 2):
        place(Place(processes=processes))
        assert ("fewer --workers" in worker.trouble_of(MemoryError()).remedy) == (processes > 1)


def test_too_little_memory_on_the_gpu_is_told_so() -> None:
    error = worker.trouble_of(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"))
    assert (error.code, error.message) == ("E_MEMORY", "not enough memory on the GPU")


@pytest.fixture
def processes() -> Iterator[IsolatedProcesses]:
    started = IsolatedProcesses(Limits(), place=Place())
    yield started
    started.stop()


def test_a_process_whose_gpu_failed_is_replaced_and_no_other(processes: IsolatedProcesses) -> None:
    def run(slide: str, function: str, *arguments: str) -> Answer:
        return processes.run(Call(slide_id=slide, function=("executor_work", function), arguments=(slide, *arguments)))

    first = run("fine", "process").value
    bug = run("a", "gpu_trouble", "a mere bug").error
    assert bug is not None
    assert bug.code == "E_BUG"
    assert run("fine", "process").value == first
    error = run("a", "gpu_trouble", "CUDA error: device-side assert triggered").error
    assert error is not None
    assert error.code == "E_DEVICE"
    start = time.monotonic()
    assert run("fine", "process").value != first
    assert time.monotonic() - start < 20


def test_workers_of_one_host_have_slots_of_their_own() -> None:
    found = places({"tcp://b:1": ("b", 2), "tcp://a:2": ("a", 1), "tcp://a:1": ("a", 4), "tcp://c:1": ("c", 0)})
    assert found == {
        "tcp://a:1": Place(slot=0, processes=5),
        "tcp://a:2": Place(slot=4, processes=5),
        "tcp://b:1": Place(slot=0, processes=2),
        "tcp://c:1": Place(slot=0, processes=1),
    }
