"""The GPU: driver against torch's CUDA, why none is used, and a computation on each."""

import ctypes
import os
import re
from collections.abc import Iterator
from pathlib import Path

from sammil_cli.doctor.causes import in_container, install, is_apptainer, one_line
from sammil_cli.doctor.finding import Asked, Finding, State, note, ok, wrong
from sammil_cli.doctor.python_packages import BROKEN

GROUP = "GPU"
_DRIVER = Path("/proc/driver/nvidia/version")  # the host's, seen from a container, too
_OLDEST_DRIVER = {12: "525", 13: "580"}  # for each major version of CUDA, by NVIDIA's release notes; minor ones follow
_LITTLE_GIB = 4.0  # the weights of SAM ViT-H alone take 2.4 GiB


def driver_version() -> str | None:
    """The version of the NVIDIA driver in the kernel; None without one."""
    try:
        words = _DRIVER.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", words)
    return found[1] if found else None


def cuda_of_driver() -> tuple[int, int] | None:
    """The newest CUDA that the driver's library supports; None where there is no such library."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
        number = ctypes.c_int()
        failed = library.cuDriverGetVersion(ctypes.byref(number))
    except (OSError, AttributeError):
        return None
    return None if failed else (number.value // 1000, number.value % 1000 // 10)


def driver(_: Asked) -> Iterator[Finding]:
    """Whether torch can use a GPU, and if not, why."""
    try:
        import torch

        usable = torch.cuda.is_available()
    except BROKEN:
        yield note(GROUP, "driver", "not looked at: torch cannot be loaded", "see torch above")
        return
    version, newest = driver_version(), cuda_of_driver()
    facts = {"driver": version, "driver_cuda": _dotted(newest), "torch_cuda": torch.version.cuda}
    if usable:
        found = f"{version or 'there'}, for CUDA up to {_dotted(newest) or '?'}; torch uses CUDA {torch.version.cuda}"
        yield ok(GROUP, "driver", found, **facts)
        return
    state, found, remedy = _why_not(torch.version.cuda, version, newest)
    words = "" if state == "note" else f" (torch says: {_torchs_words()})"
    yield Finding(group=GROUP, name="driver", state=state, found=found + words, remedy=remedy, facts=facts)


def _why_not(built: str | None, version: str | None, newest: tuple[int, int] | None) -> tuple[State, str, str]:
    """State, reason and fix where torch cannot use a GPU, the first reason that holds."""
    if version is None and newest is None:
        found = "no NVIDIA driver here; everything runs on the CPU"
        return "note", found, f"if this machine has a GPU: {_give_gpus()}"
    if built is None:
        found = f"driver {version or _dotted(newest)} is here, but this torch was built for the CPU only"
        return "note", found, install("torch", "torchvision")
    if newest is None:
        found = f"this machine has driver {version}, but its library libcuda.so.1 is not in here"
        return "note", found, _give_gpus()
    needed = int(built.partition(".")[0])
    if newest[0] < needed:
        oldest = _OLDEST_DRIVER.get(needed)
        found = f"driver {version or '?'} supports CUDA up to {_dotted(newest)}, torch was built for CUDA {built}"
        return "wrong", found, f"install NVIDIA driver {oldest or 'for CUDA ' + built}{' or newer' * bool(oldest)}"
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if seen is not None and not re.match(r"\s*(\d|GPU-|MIG-)", seen):
        return "note", f"CUDA_VISIBLE_DEVICES={seen!r} hides all GPUs", "unset CUDA_VISIBLE_DEVICES"
    if seen is not None:
        found = f"CUDA_VISIBLE_DEVICES={seen!r} names no GPU that torch can use"
        return "wrong", found, "unset CUDA_VISIBLE_DEVICES, or name one that nvidia-smi -L lists"
    found = f"driver {version or '?'} is here, but torch finds no GPU"
    return "wrong", found, f"look at nvidia-smi; {_give_gpus()}; after a driver update, restart the machine"


def _give_gpus() -> str:
    if is_apptainer():
        return "apptainer run --nv …"
    if in_container():
        return "docker run --gpus all …, with the NVIDIA Container Toolkit on the host"
    return "install its driver (https://www.nvidia.com/drivers)"


def _torchs_words() -> str:
    import torch

    try:
        torch.zeros(1, device="cuda")
    except (RuntimeError, AssertionError) as error:
        return one_line(error)
    return "nothing"


def devices(_: Asked) -> Iterator[Finding]:
    """Each GPU: what it is, free memory, and a computation on it."""
    try:
        import torch

        number = torch.cuda.device_count() if torch.cuda.is_available() else 0
    except BROKEN:
        return
    for index in range(number):
        yield _device(index)


def _device(index: int) -> Finding:
    import torch

    name, place = f"cuda:{index}", torch.device("cuda", index)
    try:
        facts = torch.cuda.get_device_properties(place)
        capability = (int(facts.major), int(facts.minor))
        built_for = torch.cuda.get_arch_list()
        known: dict[str, object] = {"name": facts.name, "capability": _dotted(capability), "built_for": built_for}
        if not runs_on(capability, built_for):
            found = f"{facts.name} has compute capability {_dotted(capability)}, which this torch was not built for"
            return wrong(GROUP, name, found, "use --device cpu, or a torch that was built for it", **known)
        free, total = torch.cuda.mem_get_info(place)
        numbers = torch.arange(4096, dtype=torch.float32, device=place).view(64, 64)
        same = torch.equal((numbers @ torch.eye(64, device=place)).cpu(), numbers.cpu())
    except RuntimeError as error:
        remedy = "look at nvidia-smi: is it taken (exclusive mode), or lost? else --device cpu, or another one"
        return wrong(GROUP, name, f"a first computation failed: {one_line(error)}", remedy)
    gib = free / 2**30
    known |= {"free_bytes": free, "total_bytes": total}
    found = f"{facts.name}, {gib:.1f} of {total / 2**30:.1f} GiB free, compute capability {_dotted(capability)}"
    if not same:
        return wrong(GROUP, name, f"{found}: it computes wrong", "do not use it; test the card's memory", **known)
    if gib < _LITTLE_GIB:
        return note(GROUP, name, found, "nvidia-smi shows who has its memory; end that, or use another GPU", **known)
    return ok(GROUP, name, f"{found}, computes", **known)


def runs_on(capability: tuple[int, int], built_for: list[str]) -> bool:
    """Whether code for one of these architectures (`sm_86`, `compute_90`) runs on a GPU of that compute capability."""
    major, minor = capability
    for text in built_for:
        kind, _, digits = text.rstrip("af").partition("_")
        if not digits.isdigit():
            continue
        of = (int(digits[:-1]), int(digits[-1]))
        if (of[0] == major and of[1] <= minor) if kind == "sm" else of <= capability:
            return True
    return not built_for


def _dotted(pair: tuple[int, int] | None) -> str | None:
    return None if pair is None else f"{pair[0]}.{pair[1]}"
