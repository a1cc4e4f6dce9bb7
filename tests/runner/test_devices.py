"""Which devices a run takes, and how many processes."""

import contextlib
from concurrent.futures import Future
from pathlib import Path
from types import ModuleType

import pytest
import torch
from encoded_project import make_project

import sammil_cli.runner.machine as rules
from sammil_cli import choices
from sammil_cli.cli.options import RunAsked, gpu_options
from sammil_cli.config import SamSettings, TrainSettings
from sammil_cli.errors import InputError, MissingError
from sammil_cli.jobs.train import TrainJob
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner import machine
from sammil_cli.runner.machine import choose_device, choose_workers, devices
from sammil_cli.stages import train

SAM, SUPERPIXELS = (choices.load(choices.PROPOSERS, name) for name in ("sam", "superpixels"))


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_may_have_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)


def test_folds_go_to_every_gpu_one_process_each(
    three_gpus: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose_device("auto") == "cuda"
    assert devices("cuda") == ["cuda:0", "cuda:1", "cuda:2"]
    monkeypatch.chdir(make_project(tmp_path / "project", {}))
    asked: list[int] = []
    places: list[str] = []

    class Pool:
        def schedule(self, work: object, args: list[TrainJob]) -> Future[None]:
            places.append(args[0].device)
            future: Future[None] = Future()
            future.set_exception(LookupError("there is no such GPU here"))
            return future

    def pool(workers: int, *, gpu: bool) -> contextlib.nullcontext[Pool]:
        assert gpu  # CUDA does not work in a copy of a process
        asked.append(workers)
        return contextlib.nullcontext(Pool())

    monkeypatch.setattr(train, "process_pool", pool)
    with pytest.raises(LookupError, match="there is no such GPU here"):
        train.run(Project(), TrainSettings(folds=4), RunOptions(device="cuda", workers=1))
    assert asked == [3]
    assert places == ["cuda:0", "cuda:1", "cuda:2", "cuda:0"]


def test_without_a_driver_torch_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(machine.ctypes, "CDLL", no_library)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("torch was asked"))
    assert choose_device("auto") == "cpu"
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == "cuda"


def test_a_named_gpu_is_the_only_one(three_gpus: None) -> None:
    assert choose_device("cuda:2") == "cuda:2"
    assert devices("cuda:2") == ["cuda:2"]
    assert choose_workers(None, "cuda:2") == 1
    with pytest.raises(MissingError, match=r"sees 3 GPU\(s\)"):
        choose_device("cuda:3")


def test_a_gpu_of_another_machine_need_not_be_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device in ("cuda", "cuda:7", "cpu"):
        assert choose_device(device, here=False) == device
    assert choose_device("auto", here=False) == "cpu"
    with pytest.raises(MissingError, match=r"sees 0 GPU\(s\)"):
        choose_device("cuda")
    with pytest.raises(InputError, match="unknown"):
        choose_device("cuda:x", here=False)


def test_what_is_asked_for_wins(three_gpus: None) -> None:
    assert choose_workers(5, "cuda") == 5
    assert devices("cpu") == ["cpu"]
    with pytest.raises(InputError, match="unknown"):
        choose_device("tpu")


def options_of(choice: ModuleType, device: str, workers: int | None = None, executor: str = "local") -> RunOptions:
    scheduler = None if executor == "local" else "tcp://node1:8786"
    asked = RunAsked(workers=workers, executor=executor, scheduler=scheduler)
    return gpu_options(choice, SamSettings(), device, asked, download=False, needs_weights=False)


def test_slides_go_to_every_gpu_two_at_once(three_gpus: None) -> None:
    for device in ("auto", "cuda"):
        options = options_of(SAM, device)
        assert (options.device, options.workers) == ("cuda", 6)
        assert options.place == "on cuda:0, cuda:1, cuda:2 (3 GPUs)"
    one = options_of(SAM, "cuda:1", 1)
    assert (one.device, one.workers) == ("cuda:1", 1)
    assert one.place == "on cuda:1 (1 GPU)"
    assert options_of(SAM, "cuda:1").workers == 2


def test_what_uses_no_gpu_takes_none(three_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "usable_cores", lambda: 5)
    options = options_of(SUPERPIXELS, "auto")
    assert (options.device, options.workers) == ("cpu", 5)
    assert options.place == "on the CPU (superpixels uses no GPU)"
    assert not getattr(choices.load(choices.ENCODERS, "texture"), "USES_GPU", True)


def test_it_is_said_why_no_gpu_is_used(three_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = options_of(SAM, "cpu", 2)
    assert chosen.place == "on the CPU (3 GPU(s) are left alone, as asked)"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    fallen_back = options_of(SAM, "auto", 2)
    assert fallen_back.place == "on the CPU (no GPU is visible to torch)"


def test_the_gpus_of_a_cluster_are_not_looked_for_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    options = options_of(SAM, "cuda", executor="dask")
    assert (options.device, options.workers) == ("cuda", 1)
    assert options.place == "on GPUs of the dask workers"
