"""Encoders around torch models; apart from `encoder.py`, so that others need no torch, which takes seconds to load."""

from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from sammil_cli.errors import InputError
from sammil_cli.slides.pixels import RGB

Precision = Literal["float32", "bfloat16", "float16"]
Colours = tuple[tuple[float, float, float], tuple[float, float, float]]  # mean and deviation of red, green, blue

IMAGENET: Colours = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class TorchEncoder:
    """An encoder around a torch module that maps images (b, 3, h, w) to (b, dim) or (b, dim, h', w')."""

    def __init__(
        self,
        module: torch.nn.Module,
        *,
        name: str,
        dim: int,
        input_px: int,
        device: str,
        sha256: str,
        colours: Colours = IMAGENET,
    ) -> None:
        self.name, self.dim, self.weights_sha256 = name, dim, sha256
        self._module = module.eval().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._input_px, self._device = input_px, device
        mean, sd = (np.array(values, np.float32) for values in colours)
        self._normalised = ((np.arange(256, dtype=np.float32)[:, None] / 255 - mean) / sd)[
            None
        ]  # of each colour's bytes
        self._autocast = torch.autocast(torch.device(device).type, enabled=False)

    def compute_in(self, precision: Precision) -> None:
        """Computes products of matrices in less than float32, as torch's autocast does; features stay float32.

        Raises:
            InputError: float16 without a CUDA device.
        """
        if precision == "float16" and not self._device.startswith("cuda"):
            raise InputError(
                f"encode_precision float16 needs a CUDA GPU, and the encoder is to run on the {self._device}",
                remedy="set encode_precision to bfloat16 or float32, or run with --device cuda",
            )
        kind = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
        self._autocast = torch.autocast(torch.device(self._device).type, kind, enabled=kind is not None)

    def prepare(self, patch: RGB) -> NDArray[np.float32]:
        """Resizes to the input side and normalises: (3, s, s), with colours last in memory, as `encode` wants them."""
        if patch.shape[:2] != (self._input_px, self._input_px):
            patch = self.resized(patch)
        return np.asarray(cv2.LUT(patch, self._normalised), np.float32).transpose(2, 0, 1)

    def resized(self, patch: RGB) -> RGB:
        """The patch at the input side: averaged over areas where it is larger, bicubic where it is smaller."""
        method = cv2.INTER_AREA if patch.shape[0] > self._input_px else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(patch, (self._input_px, self._input_px), interpolation=method), np.uint8)

    def encode(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Encoder.encode`; feature maps are averaged over their positions."""
        with torch.inference_mode(), self._autocast:
            images = torch.from_numpy(batch).to(self._device).contiguous(memory_format=torch.channels_last)
            output: torch.Tensor = self._module(images)
            output = output.float()
            if output.ndim == 4:
                output = output.mean((2, 3))
            return np.asarray(output.cpu().numpy())
