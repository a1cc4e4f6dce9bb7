"""--device mps: taken for SAM and encoders, refused in words for models; no such hardware is needed to try it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sam_of_64_px import build, weights
from slide_maker import draw_tissue
from torch.utils._python_dispatch import TorchDispatchMode

from sammil_cli import choices
from sammil_cli.cli.options import RunAsked, gpu_options
from sammil_cli.config import ExtractSettings, SamSettings
from sammil_cli.errors import InputError, MissingError
from sammil_cli.features.torch_encoder import TorchEncoder
from sammil_cli.preflight.gpu_memory import gpu_free, gpu_peak
from sammil_cli.project.project import RunOptions
from sammil_cli.regions.proposers import sam
from sammil_cli.regions.sam_engine import generator
from sammil_cli.regions.sam_engine.generator import MaskEngine, MaskSettings
from sammil_cli.runner import machine
from sammil_cli.runner.machine import choose_device, choose_workers, devices
from sammil_cli.runner.worker import own_device

Sammil = Callable[..., Any]
SAM, SUPERPIXELS = (choices.load(choices.PROPOSERS, name) for name in ("sam", "superpixels"))


@pytest.fixture
def a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_may_have_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


def options_of(choice: Any, settings: Any, device: str) -> RunOptions:
    return gpu_options(choice, settings, device, RunAsked(), download=False, needs_weights=False)


def test_sam_and_encoders_take_it_two_slides_at_once(a_mac: None) -> None:
    encoder = choices.load(choices.ENCODERS, "torchvision")
    for choice, settings in ((SAM, SamSettings()), (encoder, ExtractSettings())):
        options = options_of(choice, settings, "mps")
        assert (options.device, options.workers, options.place) == ("mps", 2, "on mps (Apple's GPU)")
    assert (devices("mps"), own_device("mps"), choose_workers(None, "mps")) == (["mps"], "mps", 1)
    assert options_of(SUPERPIXELS, SamSettings(), "mps").device == "cpu"


def test_it_is_not_taken_unasked_and_that_is_said(a_mac: None) -> None:
    options = options_of(SAM, SamSettings(), "auto")
    assert (options.device, options.place) == ("cpu", "on the CPU (Apple's GPU is left alone; --device mps takes it)")


def test_it_is_missed_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(MissingError, match="--device mps: torch sees no GPU of Apple's") as missing:
        choose_device("mps", mps=True)
    assert missing.value.remedy == "use --device cpu"
    assert choose_device("mps", here=False, mps=True) == "mps"
    with pytest.raises(InputError, match="'mps:0' is unknown") as refused:
        choose_device("mps:0", mps=True)
    assert refused.value.remedy == "use auto, cpu, cuda, cuda:1 or mps"


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_models_are_not_trained_or_judged_there(
    sammil: Sammil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, a_mac: None, command: str
) -> None:
    (tmp_path / "params.yaml").write_text("seed: 3\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    answer = sammil(command, "--device", "mps")
    assert answer.code == 2
    assert "float64 in places, which Apple's GPUs do not have" in answer.err
    assert "fix: use --device cpu here; sammil sam, extract and predict take mps for SAM and the encoder" in answer.err


def test_float16_and_openvino_are_refused_there() -> None:
    with pytest.raises(InputError, match="sam_precision float16 needs a CUDA GPU, and SAM is to run on the mps"):
        sam.check(SamSettings(sam_precision="float16").model_dump(), "mps")
    sam.check(SamSettings(sam_precision="bfloat16").model_dump(), "mps")
    with pytest.raises(InputError, match="sam_backend openvino computes on the CPU only, and --device is mps"):
        sam.check(SamSettings(sam_backend="openvino").model_dump(), "mps")
    encoder = TorchEncoder(torch.nn.Identity(), name="identity", dim=3, input_px=8, device="cpu", sha256="")
    encoder._device = "mps"
    with pytest.raises(InputError, match="encode_precision float16 needs a CUDA GPU, and the encoder is to run on"):
        encoder.compute_in("float16")


def test_its_memory_is_not_asked_for_as_cudas() -> None:
    assert (gpu_free("mps"), gpu_peak("mps")) == (0, 0)


class NoFloat64(TorchDispatchMode):
    """Lets nothing leave the host in float64: what an Apple GPU would refuse."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor) and found.dtype == torch.float64 and not func.is_view:
            raise AssertionError(f"{func} gives float64")
        return found


def test_sam_computes_nothing_in_float64_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build()
    model.load_state_dict(weights())
    none: dict[str, Any] = {"pred_iou_thresh": -1e9, "stability_thresh": -1.0}
    settings = MaskSettings(points_per_side=3, crop_layers=1, crop_points_downscale=1, **none)
    engine, image = MaskEngine(model.eval(), settings), draw_tissue(seed=1, tumour=True)[300:364, 430:494]
    expected = engine.generate(image)
    with pytest.raises(AssertionError, match="gives float64"), NoFloat64():
        engine.generate(image)
    monkeypatch.setattr(generator, "_knows_float64", lambda device: False)
    with NoFloat64():
        found = engine.generate(image)
    masks = [[(record.mask.box, record.mask.runs.tolist()) for record in records] for records in (found, expected)]
    assert masks[0] == masks[1] != []
    np.testing.assert_allclose([record.point for record in found], [record.point for record in expected])
