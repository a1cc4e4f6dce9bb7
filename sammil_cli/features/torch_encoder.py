"""Encoders around torch models; apart from `encoder.py`, so that others need no torch, which takes seconds to load."""

from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from sammil_cli.backends.backend import Backend, Network, Precision, check_backend, check_precision_of, network_by
from sammil_cli.errors import InputError
from sammil_cli.features.encoder_details import EncoderDetails, preparation_words
from sammil_cli.slides.pixels import RGB

Colours = tuple[tuple[float, float, float], tuple[float, float, float]]  # mean and deviation of red, green, blue

IMAGENET: Colours = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class TorchEncoder:
    """An encoder around a torch module that maps images (b, 3, h, w) to (b, dim) or (b, dim, h', w').

    `known`: what is known of it besides its preparation and precision, which are this class's own.
    """

    INTERPOLATION = "area (bicubic where enlarged)"

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
        known: EncoderDetails = EncoderDetails(pooling="pooled"),  # noqa: B008 - frozen
    ) -> None:
        self.name, self.dim, self.weights_sha256 = name, dim, sha256
        averaged = _Averaged(module).eval().to(device)
        self._module = averaged.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._input_px, self._device, self._colours, self._known = input_px, device, colours, known
        mean, sd = (np.array(values, np.float32) for values in colours)
        # Of each colour's bytes: (1, 256, 3).
        self._normalised = ((np.arange(256, dtype=np.float32)[:, None] / 255 - mean) / sd)[None]
        self._precision: Precision = "float32"
        self._backend: Backend = "torch"
        self._run: Network = self._by_torch

    @property
    def details(self) -> EncoderDetails:
        """What a bag says of it."""
        return replace(self._known, precision=self._precision, preparation=self.preparation)

    @property
    def preparation(self) -> str:
        """See `encoder_details.preparation_words`."""
        side, (mean, sd) = self._input_px, self._colours
        return preparation_words(input_px=side, resize_px=side, interpolation=self.INTERPOLATION, mean=mean, sd=sd)

    def run_by(self, backend: Backend) -> None:
        """Has the network run by another backend than torch, with the same features but for rounding.

        Raises:
            InputError: it does not run on the encoder's device. MissingError: it is not installed.
        """
        check_backend(backend, "encode_backend", self._device)
        self._backend = backend
        self._settle()

    def compute_in(self, precision: Precision) -> None:
        """Computes products of matrices in less than float32, as torch's autocast does; features stay float32.

        Raises:
            InputError: float16 without a CUDA device, or a backend that cannot compute so on this processor.
        """
        if precision == "float16" and not self._device.startswith("cuda"):
            raise InputError(
                f"encode_precision float16 needs a CUDA GPU, and the encoder is to run on the {self._device}",
                remedy="set encode_precision to bfloat16 or float32, or run with --device cuda",
            )
        check_precision_of(self._backend, "encode_precision", precision)
        self._precision = precision
        self._settle()

    def _settle(self) -> None:
        if self._backend == "torch":
            self._run = self._by_torch
            return
        self._run = network_by(
            self._backend,
            self._module,
            name=self.name,
            setting="encode_backend",
            px=self._input_px,
            precision=self._precision,
            one_by_one=False,
        )

    def prepare(self, patch: RGB) -> NDArray[np.float32]:
        """Resizes to the input side and normalises: (3, s, s), with colours last in memory, as `encode` wants them."""
        return np.asarray(cv2.LUT(self.fitted(patch), self._normalised), np.float32).transpose(2, 0, 1)

    def fitted(self, patch: RGB) -> RGB:
        """The patch at the input side; as it is where it has that."""
        return patch if patch.shape[:2] == (self._input_px, self._input_px) else self.resized(patch)

    def resized(self, patch: RGB) -> RGB:
        """The patch at the input side: averaged over areas where it is larger, bicubic where it is smaller."""
        method = cv2.INTER_AREA if patch.shape[0] > self._input_px else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(patch, (self._input_px, self._input_px), interpolation=method), np.uint8)

    def encode(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Encoder.encode`; feature maps are averaged over their positions."""
        (features,) = self._run(batch)
        return features

    def _by_torch(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        less = None if self._precision == "float32" else getattr(torch, self._precision)
        with torch.inference_mode(), torch.autocast(torch.device(self._device).type, less, enabled=less is not None):
            images = torch.from_numpy(batch).to(self._device).contiguous(memory_format=torch.channels_last)
            return [np.asarray(self._module(images).cpu().numpy())]


class _Averaged(torch.nn.Module):
    """What a network gives, as float32, feature maps averaged over their positions."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (b, 3, h, w) -> (b, dim)."""
        output: torch.Tensor = self.network(images).float()
        return output.mean((2, 3)) if output.ndim == 4 else output
