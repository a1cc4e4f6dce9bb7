"""What stands in for a picture and for trained weights in `bench_sam.py`: a canvas, and masks as SAM would see them."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LOGITS_PX, INPUT_PX = 256, 1024
OBJECT_PX = (12, 32, 96)  # spacing of the objects that the three masks of a prompt show, in pixels of the logits
STEEPNESS = 4.0  # logits per pixel at an edge; up to 10 on either side, as SAM's
UNSURE_SHARE, UNSURE_STEEPNESS = 0.1, 0.4
NOISES, NOISE = 32, 0.5


def draw_canvas(side_px: int, tissue_share: float) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A seeded picture (side, side, 3) of stained tissue on glass, and where the tissue is; its share is exact."""
    rng = np.random.default_rng(0)
    shape, grain = (cv2.GaussianBlur(rng.standard_normal((side_px, side_px)), None, sigma) for sigma in (60, 1.5))
    tissue = shape > np.quantile(shape, 1 - tissue_share)
    stain = np.array([175, 105, 160]) + 400 * grain[..., None] * np.array([1, 1, 0.7])
    return np.where(tissue[..., None], stain, 243).clip(0, 255).astype(np.uint8), tissue


class Fields:
    """Mask logits and ratings that depend on the prompt only: ellipses, of which neighbouring prompts see the same.

    `seconds`: what making them took so far, on `clock`; `prompts`: how many there were.
    """

    def __init__(self, device: str, clock: Callable[[], float] = time.process_time) -> None:
        self.seconds, self.prompts, self._clock, self._device = 0.0, 0, clock, device
        coarse = np.random.default_rng(1).standard_normal((NOISES, 16, 16)).astype(np.float32)
        noise = np.stack([cv2.resize(one, (LOGITS_PX, LOGITS_PX)) for one in coarse])
        self._noise = torch.from_numpy(NOISE * noise).to(device)
        self._axis = torch.arange(LOGITS_PX, device=device, dtype=torch.float32) + 0.5

    def ratings(self, points: Tensor) -> Tensor:
        """The predicted IoUs (p, 3) of prompts (p, 2) in pixels of the model's input; one in five is below 0.6."""
        start = self._clock()
        drawn = [self._of_prompt(*point).uniform(0.5, 1.0, 3) for point in points.tolist()]
        self.prompts += len(drawn)
        rated = torch.tensor(np.array(drawn), device=self._device, dtype=torch.float32)
        self.seconds += self._clock() - start
        return rated

    def logits(self, points: Tensor) -> Tensor:
        """The mask logits (p, 3, 256, 256)."""
        start = self._clock()
        shapes = np.array([self._objects(x, y) for x, y in points.tolist()], np.float32)  # (p, 3, 6)
        x, y, rx, ry, steepness, noise = torch.from_numpy(shapes).to(self._device)[..., None].unbind(2)
        field = (((self._axis - y) / ry) ** 2)[..., :, None] + (((self._axis - x) / rx) ** 2)[..., None, :]
        field.sqrt_().neg_().add_(1).mul_((steepness * (rx + ry) / 2)[..., None]).clamp_(-10, 10)
        for number in range(len(field)):  # without a copy of the noise of all masks
            field[number] += self._noise[noise[number, :, 0].long()]
        self.seconds += self._clock() - start
        return field

    def _objects(self, x: float, y: float) -> list[list[float]]:
        """Centre, radii, steepness and noise of the objects around a prompt."""
        found, own = [], self._of_prompt(x, y)
        own.uniform(size=3)  # the ratings
        for size in OBJECT_PX:
            column, row = (int(place * LOGITS_PX / INPUT_PX // size) for place in (x, y))
            rng = np.random.default_rng([size, column + 1, row + 1])
            centre = (np.array([column, row]) + rng.uniform(0.3, 0.7, 2)) * size
            radii = rng.uniform(0.35, 0.7, 2) * size
            steepness = UNSURE_STEEPNESS if own.uniform() < UNSURE_SHARE else STEEPNESS
            found.append([*centre, *radii, steepness, own.integers(NOISES)])
        return found

    @staticmethod
    def _of_prompt(x: float, y: float) -> np.random.Generator:
        return np.random.default_rng([round(16 * x), round(16 * y)])


def stand_in_officially(model: Any, fields: Fields) -> None:
    """Lets the official model's decoder run and puts the fields in place of what it gives."""
    asked: list[Tensor] = []
    decode = model.mask_decoder.forward
    model.prompt_encoder.register_forward_pre_hook(
        lambda _, __, named: asked.append(named["points"][0][:, 0]), with_kwargs=True
    )

    def forward(**inputs: Any) -> tuple[Tensor, Tensor]:
        decode(**inputs)
        points = asked.pop()
        return fields.logits(points), fields.ratings(points)

    model.mask_decoder.forward = forward


class StandInDecoder:
    """Our engine's decoder, with the fields in place of what it gives."""

    def __init__(self, decoder: Any, fields: Fields) -> None:
        self._decoder, self._fields = decoder, fields
        self.look = decoder.look
        self._points = torch.empty(0)

    def decode(self, picture: Any, points: Tensor) -> Any:
        """As the decoder's, rated by the fields."""
        self._points = points
        return replace(self._decoder.decode(picture, points), predicted_iou=self._fields.ratings(points))

    def draw(self, decoded: Any, kept: Tensor) -> Tensor:
        """As the decoder's, drawn by the fields."""
        self._decoder.draw(decoded, kept)
        return self._fields.logits(self._points)[kept]
