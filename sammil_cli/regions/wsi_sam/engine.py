"""Automatic masks of WSI-SAM: the points of SAM's generator, each seen in HR and in LR (docs/methods.md §12, §14)."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sammil_cli.choices import Named
from sammil_cli.regions.sam_engine.crops import Crop
from sammil_cli.regions.sam_engine.generator import Ask, MaskRecord, MaskSettings, PointGrid
from sammil_cli.regions.sam_engine.image_encoder import prepare
from sammil_cli.regions.sam_engine.rates import asked, random_sam, silence, time_engine
from sammil_cli.regions.sam_models.build import EARLY_WIDTH
from sammil_cli.regions.sam_models.embed import Embedder, Seen
from sammil_cli.regions.wsi_sam.decoder import DualDecoder, only
from sammil_cli.regions.wsi_sam.field import RATIO
from sammil_cli.regions.wsi_sam.model import WsiSam
from sammil_cli.regions.wsi_sam.prompts import MIDDLE, Prompts, encode
from sammil_cli.slides.pixels import RGB


class DualEngine(PointGrid):
    """A WSI-SAM on its device, in eval mode; `generate` may be called again and again."""

    def __init__(self, model: WsiSam, settings: MaskSettings) -> None:
        super().__init__(model.sam, settings)
        embedder = Embedder(model.sam, settings.precision, settings.compiled, settings.backend)
        self.encoder: Callable[[Tensor], Seen] = embedder.see
        self.decoder = DualDecoder(model.sam, model.high, model.low, settings.precision)

    def generate(self, image: RGB, around: RGB, tissue: NDArray[np.bool_] | None = None) -> list[MaskRecord]:
        """See `PointGrid.records`; each prompt has one mask, rated by SAM for its mask token 0.

        Args:
            around: the picture's LR, see `View`.
        """

        def see(crops: Sequence[Crop]) -> list[Ask]:
            windows = [low_window(crop, max(image.shape[:2])) for crop in crops]
            side = [max(crop.shape) for crop in crops]
            low = [around[y : y + s, x : x + s] for (x, y), s in zip(windows, side, strict=True)]
            pictures = [*(crop.cut(image) for crop in crops), *low]
            seen = self.encoder(torch.cat([prepare(picture, self._model) for picture in pictures]))
            return [
                self._asker(embedding, early, low_embedding, self._shift(crop, window, image))
                for embedding, early, low_embedding, crop, window in zip(
                    seen.embedding, seen.early, seen.embedding[len(crops) :], crops, windows, strict=False
                )
            ]

        return self.records(image, tissue, see)

    def _shift(self, crop: Crop, window: tuple[int, int], image: RGB) -> Tensor:
        """(2,): what p / 2 lacks of a point p's place on the crop's LR, in pixels of the model's input."""
        corner = np.array(crop.box[:2]) / RATIO + max(image.shape[:2]) / (2 * RATIO) - window
        scale = self._model.image_encoder.img_size / max(crop.shape)
        return torch.as_tensor(corner * scale, dtype=torch.float32, device=self._model.device)

    def _asker(self, high: Tensor, early: Tensor, low: Tensor, shift: Tensor) -> Ask:
        picture = self.decoder.look(high, early, low)
        encoder = self._model.prompt_encoder

        def ask(points: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
            # SAM's generator lays its points as if they were pixels, half a pixel off; here they are the same ones.
            there = points.float()[:, None] + MIDDLE
            labels = torch.ones_like(there[..., 0])
            sparse, sparse_low = (
                encode(Prompts(points=each, labels=labels), encoder)[0] for each in (there, there / RATIO + shift)
            )
            decoded = self.decoder.decode(picture, sparse, sparse_low)
            return decoded.predicted_iou, lambda kept: self.decoder.draw(picture, only(decoded, kept[:, 0]))

        return ask


def measure(settings: Named, device: str, image: RGB) -> dict[str, float]:
    """Seconds per crop, its LR included, and per prompt, as of `rates.measure`; what the LR shows does not matter."""
    sam = random_sam(settings, device)
    with torch.device(device):
        model = WsiSam(sam, EARLY_WIDTH[settings["sam_model"]]).eval()
    for branch in (model.high, model.low):
        silence(branch.hf_mlp)
    engine = DualEngine(model, asked(settings, device))
    around = np.zeros((max(image.shape[:2]),) * 2 + (3,), np.uint8)
    return time_engine(engine, lambda: engine.generate(image, around), settings, device)


def low_window(crop: Crop, side_px: int) -> tuple[int, int]:
    """Left and top of a crop's LR on the LR of its picture, whose longest side has `side_px` pixels.

    A picture's LR is a square of `side_px` pixels that shows twice the field of the square at its picture's top left,
    around the same middle: p is at p / 2 + side_px / 4. A crop's longest side of c pixels shows c / 2 pixels of it, and
    its LR c: whole pixels, to a half, which the mapping of prompts takes into account.
    """
    side = max(crop.shape)
    left, top = (min(max(0, round(at / RATIO + (side_px - side) / (2 * RATIO))), side_px - side) for at in crop.box[:2])
    return left, top
