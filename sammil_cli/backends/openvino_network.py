"""Networks of torch, run by OpenVINO on the CPU: converted once, compared with torch, and kept."""

import hashlib
import logging
import re
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sammil_cli.backends.backend import Precision
from sammil_cli.backends.kept_networks import forget, kept_folder, kept_or_made
from sammil_cli.backends.openvino_library import Compiled, Config, Core, load_openvino
from sammil_cli.errors import InputError
from sammil_cli.storage.files import digest

log = logging.getLogger(__name__)

_DEVICE = "CPU"
_HINTS = {"float32": "f32", "bfloat16": "bf16"}
_FAR = {"float32": 1e-4, "bfloat16": 0.1}  # a converted network that is further from torch's is refused; relative
# How long converting takes, by ResNet-50 and SAM's encoders: as long as 2.5 runs by torch, and 30 ns for each weight.
_RUNS, _SECONDS_PER_WEIGHT = 2.5, 3e-8
_ADDRESS = re.compile("0x[0-9a-f]+")  # of an object in memory, another one in each process
_LIBRARIES = ("torch", "torchvision", "timm", "segment-anything")  # whose code a network may be written in
_MOST_CHARACTERS = 300  # of what torch or OpenVINO says
# What a network that cannot be converted may raise, in torch's tracer or in OpenVINO.
_AT_CONVERSION = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, NotImplementedError)


def check_precision(setting: str, precision: Precision) -> None:
    """See `backend.check_precision_of`."""
    if precision == "bfloat16" and "BF16" not in _capabilities(load_openvino().Core()):
        raise InputError(
            f"{setting} bfloat16: this processor has no instructions for it that OpenVINO uses (AVX-512, AMX)",
            remedy=f"set {setting}: float32",
        )


def _capabilities(core: Core) -> list[str]:
    return sorted(core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES"))


class OpenVinoNetwork:
    """A module of torch that OpenVINO runs: see `backend.network_by`. Conversion waits for the first picture.

    Sums are in the precision that is asked for, and not in what OpenVINO would choose; there are as many threads as
    torch has.
    """

    def __init__(
        self, module: nn.Module, *, name: str, setting: str, px: int, precision: Precision, one_by_one: bool
    ) -> None:
        self._module, self._name, self._setting = module, name, setting
        self._px, self._precision, self._one_by_one = px, precision, one_by_one

    def __call__(self, pictures: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Pictures (b, 3, px, px) -> the module's outputs.

        Raises:
            InputError: the module cannot be converted, or what comes out is not what torch computes.
        """
        parts = np.split(pictures, len(pictures)) if self._one_by_one else [pictures]
        found = [list(self._compiled(part).values()) for part in parts]
        return [np.concatenate(outputs) for outputs in zip(*found, strict=True)]

    @cached_property
    def _compiled(self) -> Compiled:
        openvino = load_openvino()
        core: Core = openvino.Core()
        key = digest(self._follows_from(openvino, core))
        for _ in range(2):
            network = kept_or_made(key, lambda: self._converted(openvino, core))
            try:
                return core.import_model(network, _DEVICE, self._config())
            except RuntimeError as error:
                forget(key)
                trouble = error
        raise self._refusal(trouble)

    def _config(self) -> Config:
        return {
            "INFERENCE_PRECISION_HINT": _HINTS[self._precision],
            "EXECUTION_MODE_HINT": "ACCURACY" if self._precision == "float32" else "PERFORMANCE",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # else all processes of a machine would be held to its first cores
        }

    def _follows_from(self, openvino: ModuleType, core: Core) -> dict[str, object]:
        """What a converted network follows from."""
        return {
            "network": _digest_of(self._module),
            "shape": [self._px, self._one_by_one],
            "precision": self._precision,
            "openvino": openvino.get_version(),
            "processor": [core.get_property(_DEVICE, "FULL_DEVICE_NAME"), *_capabilities(core)],
            "libraries": {name: _version_of(name) for name in _LIBRARIES},
            "code": hashlib.sha256(Path(__file__).read_bytes()).hexdigest(),
        }

    def _converted(self, openvino: ModuleType, core: Core) -> bytes:
        """The network as OpenVINO runs it on this processor.

        Raises:
            InputError: see `__call__`.
        """
        start = time.perf_counter()
        # As many pictures are compared as are not traced: a trace that has their number in it shows.
        compared = self._pictures(1 if self._one_by_one else 3)
        expected = _run(self._module, compared)
        weights = sum(parameter.numel() for parameter in self._module.parameters())
        log.warning(
            "%s is converted for OpenVINO, once: about %.0f s; it will be kept in %s",
            self._name,
            1 + _RUNS * (time.perf_counter() - start) + _SECONDS_PER_WEIGHT * weights,
            kept_folder(),
        )
        example = self._pictures(1 if self._one_by_one else 2)
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the tracer: what depends on the sizes is constant, as they are
                # OpenVINO's own trace runs the network three more times.
                traced = torch.jit.trace(self._module, example, check_trace=False, strict=False)  # type: ignore[no-untyped-call]
                shape = [len(example) if self._one_by_one else -1, *example.shape[1:]]
                model = openvino.convert_model(traced, example_input=example, input=shape)
            del traced
            compiled = core.compile_model(model, _DEVICE, self._config())
            del model
            found = compiled(compared.numpy()).values()
            apart = max(_apart(one, other) for one, other in zip(found, expected, strict=True))
        except _AT_CONVERSION as error:
            raise self._refusal(error) from error
        if not apart <= _FAR[self._precision]:
            raise self._refusal(f"its results are {apart:.1g} of their size from torch's")
        return bytes(compiled.export_model().getvalue())

    def _refusal(self, why: object) -> InputError:
        return InputError(
            f"OpenVINO cannot run {self._name}: {' '.join(str(why).split())[:_MOST_CHARACTERS]}",
            remedy=f"set {self._setting}: torch",
        )

    def _pictures(self, count: int) -> Tensor:
        generator = torch.Generator().manual_seed(count)
        return torch.randn((count, 3, self._px, self._px), generator=generator)


def _run(module: nn.Module, pictures: Tensor) -> list[NDArray[np.float32]]:
    with torch.inference_mode():
        found: Tensor | Sequence[Tensor] = module(pictures)
    return [output.float().numpy() for output in ([found] if isinstance(found, Tensor) else found)]


def _apart(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    if found.shape != expected.shape:
        return float("inf")
    return float(np.linalg.norm(found - expected) / max(np.linalg.norm(expected), np.finfo(np.float32).tiny))


def _digest_of(module: nn.Module) -> str:
    """What a network is: its parts, their sizes and values, and the sources of their classes, but for torch's own."""
    found = hashlib.sha256(_ADDRESS.sub("", repr(module)).encode())
    for name, part in module.named_modules():
        plain = {key: value for key, value in vars(part).items() if _is_plain(value)}
        found.update(f"{name} {sorted(plain.items())}".encode())
    for name, tensor in chain(module.named_parameters(), module.named_buffers()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    for source in sorted(set(_sources(module))):
        found.update(source.read_bytes())
    return found.hexdigest()


def _is_plain(value: object) -> bool:
    parts = value if isinstance(value, tuple) else (value,)
    return all(isinstance(part, int | float | str) for part in parts)


def _sources(module: nn.Module) -> Iterator[Path]:
    for name in {type(part).__module__ for part in module.modules()}:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and not name.startswith("torch."):
            yield Path(file)


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
