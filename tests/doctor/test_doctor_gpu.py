"""Doctor: why a GPU is used, or is not. There is none where the tests run, so driver and torch are stood in for."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sammil_cli.doctor import causes, gpu
from sammil_cli.doctor.finding import Asked, Check, Finding

ASKED = Asked(params=Path("params.yaml"))
PROC = """NVRM version: NVIDIA UNIX {kind}x86_64 Kernel Module  {version}  Release Build
GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04)
"""


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No driver, no container, torch built for CUDA 13.0 that sees no GPU; the returned file is the driver's."""
    for name in ("CUDA_VISIBLE_DEVICES", "SAMMIL_IMAGE", "APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(causes, "_MARKS", ())
    monkeypatch.setattr(gpu, "_DRIVER", tmp_path / "version")
    monkeypatch.setattr(gpu, "cuda_of_driver", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    return tmp_path / "version"


def only(check: Check) -> Finding:
    (finding,) = check(ASKED)
    return finding


@pytest.mark.parametrize("kind", ["", "Open Kernel Module for "])
def test_the_drivers_version_is_read_from_the_kernel(machine: Path, kind: str) -> None:
    assert gpu.driver_version() is None
    machine.write_text(PROC.format(kind=kind, version="580.95.05"))
    assert gpu.driver_version() == "580.95.05"


def test_without_a_driver_it_is_a_note_with_the_way_to_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = only(gpu.driver)
    assert (finding.state, finding.found) == ("note", "no NVIDIA driver here; everything runs on the CPU")
    assert "nvidia.com" in finding.remedy
    monkeypatch.setenv("SAMMIL_IMAGE", "sammil 1")
    assert "docker run --gpus all" in only(gpu.driver).remedy
    monkeypatch.setenv("APPTAINER_CONTAINER", "/x.sif")
    assert "apptainer run --nv" in only(gpu.driver).remedy


def test_a_container_started_without_gpus_sees_the_kernels_driver_but_no_library(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.write_text(PROC.format(kind="", version="580.95.05"))
    monkeypatch.setenv("SAMMIL_IMAGE", "sammil 1")
    finding = only(gpu.driver)
    assert finding.state == "note"
    assert "libcuda.so.1 is not in here" in finding.found
    assert "--gpus all" in finding.remedy


def test_a_driver_too_old_for_torch_is_wrong(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.write_text(PROC.format(kind="", version="535.104.05"))
    monkeypatch.setattr(gpu, "cuda_of_driver", lambda: (12, 2))
    finding = only(gpu.driver)
    assert finding.state == "wrong"
    assert "driver 535.104.05 supports CUDA up to 12.2, torch was built for CUDA 13.0" in finding.found
    assert finding.remedy == "install NVIDIA driver 580 or newer"
    assert finding.facts == {"driver": "535.104.05", "driver_cuda": "12.2", "torch_cuda": "13.0"}


def test_torch_for_the_cpu_only_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "cuda_of_driver", lambda: (13, 0))
    monkeypatch.setattr(torch.version, "cuda", None)
    finding = only(gpu.driver)
    assert finding.state == "note"
    assert "built for the CPU only" in finding.found
    assert "pip install --force-reinstall 'torch==" in finding.remedy


@pytest.mark.parametrize(("seen", "state"), [("", "note"), ("-1", "note"), ("NoDevFiles", "note"), ("7", "wrong")])
def test_gpus_that_are_hidden(monkeypatch: pytest.MonkeyPatch, seen: str, state: str) -> None:
    monkeypatch.setattr(gpu, "cuda_of_driver", lambda: (13, 0))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
    finding = only(gpu.driver)
    assert finding.state == state
    assert f"CUDA_VISIBLE_DEVICES={seen!r}" in finding.found
    assert "unset CUDA_VISIBLE_DEVICES" in finding.remedy


def test_a_driver_that_should_do_is_wrong_with_torchs_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "cuda_of_driver", lambda: (13, 1))

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA unknown error")

    monkeypatch.setattr(torch, "zeros", fail)
    finding = only(gpu.driver)
    assert finding.state == "wrong"
    assert "torch says: CUDA unknown error" in finding.found
    assert "nvidia-smi" in finding.remedy


class Card:
    """Stands in for torch.cuda: one GPU, which computes on the CPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, free: float = 20.0, capability: tuple[int, int] = (8, 9)):
        facts = SimpleNamespace(name="NVIDIA Test 4", major=capability[0], minor=capability[1])
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: facts)
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_86", "sm_90"])
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(free * 2**30), 24 * 2**30))
        monkeypatch.setattr(torch, "device", lambda *_: "cpu")


def test_a_gpu_that_computes_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    Card(monkeypatch)
    assert only(gpu.driver).state == "ok"
    finding = only(gpu.devices)
    assert (finding.state, finding.name) == ("ok", "cuda:0")
    assert finding.found == "NVIDIA Test 4, 20.0 of 24.0 GiB free, compute capability 8.9, computes"
    assert finding.facts["free_bytes"] == 20 * 2**30


def test_a_gpu_whose_memory_is_taken_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    Card(monkeypatch, free=1.5)
    assert only(gpu.devices).state == "note"
    assert "nvidia-smi" in only(gpu.devices).remedy


def test_a_gpu_that_torch_was_not_built_for_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    Card(monkeypatch, capability=(6, 1))
    finding = only(gpu.devices)
    assert finding.state == "wrong"
    assert "compute capability 6.1" in finding.found


def test_a_gpu_that_fails_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    Card(monkeypatch)

    def busy(_: object) -> None:
        raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable")

    monkeypatch.setattr(torch.cuda, "mem_get_info", busy)
    finding = only(gpu.devices)
    assert finding.state == "wrong"
    assert "devices are busy" in finding.found


@pytest.mark.parametrize(
    ("capability", "built_for", "runs"),
    [
        ((8, 6), ["sm_86"], True),
        ((8, 9), ["sm_86"], True),  # a later one of the same generation
        ((8, 0), ["sm_86"], False),
        ((12, 0), ["sm_90"], False),
        ((12, 0), ["sm_90", "compute_90"], True),  # translated by the driver
        ((12, 1), ["sm_120"], True),
        ((9, 0), ["sm_90a"], True),
    ],
)
def test_code_runs_on_its_generation(capability: tuple[int, int], built_for: list[str], runs: bool) -> None:
    assert gpu.runs_on(capability, built_for) is runs


def test_the_library_of_the_driver_says_which_cuda_it_supports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    class Library:
        def __init__(self, name: str) -> None:
            assert name == "libcuda.so.1"

        def cuDriverGetVersion(self, number: object) -> int:
            number._obj.value = 13020  # type: ignore[attr-defined]
            return 0

    monkeypatch.setattr(gpu.ctypes, "CDLL", Library)
    assert gpu.cuda_of_driver() == (13, 2)
