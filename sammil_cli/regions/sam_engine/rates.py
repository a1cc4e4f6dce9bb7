"""What SAM costs, counted and measured; the time does not depend on the weights, so none are needed."""

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.modeling import Sam
from segment_anything.modeling.mask_decoder import MLP
from torch import Tensor

from sammil_cli.choices import Named
from sammil_cli.regions.sam_engine.crops import lay_crops
from sammil_cli.regions.sam_engine.generator import MaskEngine, MaskSettings
from sammil_cli.regions.sam_models.build import build_sam
from sammil_cli.slides.pixels import RGB

Encoded = TypeVar("Encoded")

_ALL = -1e9  # below any rating: on tissue SAM rates most of its masks higher than the threshold, so all are drawn
_POINTS = {"cpu": 6, "cuda": 24, "mps": 24}  # along a side; a GPU does 64 at once


def count(settings: Named, tissue: NDArray[np.bool_]) -> dict[str, float]:
    """How many crops of a picture are encoded, and how many prompts decoded, from its tissue (h, w)."""
    crops = lay_crops(
        (tissue.shape[0], tissue.shape[1]),
        points_per_side=settings["sam_points_per_side"],
        layers=settings["sam_crop_layers"],
        points_downscale=settings["sam_crop_points_downscale"],
        tissue=tissue if settings["sam_points"] == "tissue" else None,
    )
    return {"crops": len(crops), "prompts": sum(len(crop.points) for crop in crops)}


def measure(settings: Named, device: str, image: RGB) -> dict[str, float]:
    """Seconds per crop and per prompt of the model that the settings name, on a device, for a picture (h, w, 3).

    The weights are random ones.
    """
    engine = MaskEngine(random_sam(settings, device), asked(settings, device))
    return time_engine(engine, lambda: engine.generate(image), settings, device)


def random_sam(settings: Named, device: str) -> Sam:
    """The model that the settings name, with random weights that draw no border: SAM's masks have little of it."""
    with torch.device(device), torch.no_grad():
        model = build_sam(settings["sam_model"])
        for head in model.mask_decoder.output_hypernetworks_mlps:
            silence(head)
    return model


def silence(head: MLP) -> None:
    """Makes the last layer's outputs 0."""
    with torch.no_grad():
        head.layers[-1].weight.zero_()
        head.layers[-1].bias.zero_()


def asked(settings: Named, device: str) -> MaskSettings:
    """How `time_engine` wants an engine to be asked: by torch, as converting a model for another takes minutes."""
    return MaskSettings(
        points_per_side=_POINTS[torch.device(device).type],
        pred_iou_thresh=_ALL,
        stability_thresh=settings["sam_stability_thresh"],
        crop_layers=0,
        crop_points_downscale=1,
        precision=settings["sam_precision"],
        compiled=settings["sam_compile"],
    )


class Encodes(Protocol[Encoded]):
    """An engine, whose encoder sees all pictures of a batch at once."""

    encoder: Callable[[Tensor], Encoded]


def time_engine(
    engine: Encodes[Encoded], generate: Callable[[], object], settings: Named, device: str
) -> dict[str, float]:
    """Seconds per crop and per prompt of what an engine generates, asked as of `asked`."""
    kind = torch.device(device).type
    if kind != "cpu" or settings["sam_compile"]:
        generate()  # the first picture loads and chooses kernels
    encode, encoding = engine.encoder, 0.0

    def timed(pixels: Tensor) -> Encoded:
        nonlocal encoding
        begin = _now(device)
        seen = encode(pixels)
        encoding += _now(device) - begin
        return seen

    engine.encoder = timed
    begin = _now(device)
    generate()
    whole = _now(device) - begin
    return {"crops": encoding, "prompts": (whole - encoding) / _POINTS[kind] ** 2}


def _now(device: str) -> float:
    """Seconds of a clock, once the device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()
    return time.perf_counter()
