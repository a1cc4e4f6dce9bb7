"""Models that answer prompts: WSI-SAM, and any SAM alone; what they are asked, and what they answer."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
import shapely
import torch
from numpy.typing import NDArray
from segment_anything.modeling import Sam
from torch import Tensor

from sammil_cli.config import SamSettings
from sammil_cli.prompting.asked import Prompt
from sammil_cli.regions.proposers import sam, wsi_sam
from sammil_cli.regions.sam_engine.image_encoder import prepare
from sammil_cli.regions.sam_models.build import load_sam
from sammil_cli.regions.sam_models.embed import Embedder
from sammil_cli.regions.wsi_sam.field import Field
from sammil_cli.regions.wsi_sam.model import Answer, WsiSam
from sammil_cli.regions.wsi_sam.prompts import Prompts, encode
from sammil_cli.regions.wsi_sam.tokens import load_wsi_sam, read_tokens
from sammil_cli.runner.worker import own_device
from sammil_cli.slides.pixels import RGB
from sammil_cli.tissue.mask import paint_rings

_CERTAIN = 6.907  # ln(0.999 / 0.001): the certainty that SAM is given for a drawn area, as in micro-sam
_MASK_SHRINK = 4  # pixels of the picture per pixel of a mask that is given to SAM

Ask = Callable[[Prompts], Answer]


class Promptable(Protocol):
    """A model that looks at a field once, and then answers any number of prompts on it.

    `side_px`: pixels along the picture's side. `needs_low`: whether it looks at LR, too. `mask_levels`: what a mask
    that it is given has outside and inside. `trained_mpp`: µm per pixel of the HR of its training, if known.
    """

    side_px: int
    needs_low: bool
    trained_mpp: float | None
    mask_levels: tuple[float, float]

    def look(self, high: RGB, low: RGB | None) -> Ask:
        """Embeds the pictures of a field; what it gives answers prompts on HR."""
        ...


class PlainSam:
    """SAM, MobileSAM, MedSAM, PathoSAM: HR alone, by the model's own prompt encoder and mask decoder.

    One point may mean a part or the whole: of it SAM draws three masks, and the one that it rates best is taken. All
    other prompts get the one mask for unambiguous prompts. Both as published (Kirillov et al., 2023).
    """

    needs_low = False
    trained_mpp: float | None = None
    mask_levels = (-_CERTAIN, _CERTAIN)

    def __init__(self, model: Sam, embedder: Embedder) -> None:
        self._sam, self._embedder = model, embedder
        self.side_px: int = model.image_encoder.img_size

    def look(self, high: RGB, low: RGB | None = None) -> Ask:
        """See `Promptable`; LR is not looked at."""
        with torch.inference_mode():
            embedding = self._embedder(prepare(high, self._sam))

        @torch.inference_mode()
        def answer(prompts: Prompts) -> Answer:
            encoder = self._sam.prompt_encoder
            sparse, dense = encode(prompts.to(embedding.device), encoder)
            masks, ratings = self._sam.mask_decoder(
                image_embeddings=embedding,
                image_pe=encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=prompts.points is not None and prompts.points.shape[1] == 1,
            )
            return _best(masks, ratings)

        return answer


class TwoResolutions:
    """WSI-SAM: HR and LR, one mask for any prompt."""

    needs_low = True
    mask_levels = (0.0, 255.0)  # as it was trained

    def __init__(self, model: WsiSam, embedder: Embedder, trained_mpp: float | None = None) -> None:
        self._model, self._embedder, self.trained_mpp = model, embedder, trained_mpp
        self.side_px = model.side_px

    def look(self, high: RGB, low: RGB | None) -> Ask:
        """See `Promptable`.

        Raises:
            ValueError: without LR.
        """
        if low is None:
            raise ValueError("WSI-SAM looks at two resolutions")
        with torch.inference_mode():
            # One by one: what a picture becomes must not depend on what lies beside it in a batch.
            seen_high, seen_low = (self._embedder.see(prepare(picture, self._model.sam)) for picture in (high, low))

        def answer(prompts: Prompts) -> Answer:
            return self._model.predict(seen_high, seen_low, prompts.to(seen_high.embedding.device))

        return answer


def _best(masks: Tensor, ratings: Tensor) -> Answer:
    """Of each prompt's masks (p, m, h, w) the one with the best rating (p, m)."""
    best = ratings.argmax(1)
    rows = torch.arange(len(masks), device=masks.device)
    return Answer(logits=masks[rows, best], predicted_iou=ratings[rows, best])


def asked_of(prompt: Prompt, field: Field, *, as_mask: bool, mask_levels: Sequence[float]) -> Prompts:
    """A prompt as the model is asked on HR of a field: its points, its box, or its area as a coarse mask.

    Args:
        as_mask: an area is given as it is, not as the box around it.
        mask_levels: what a mask has outside and inside.
    """
    if not prompt.is_area:
        wanted, unwanted = (field.of_slide(shapely.get_coordinates(part)) for part in (prompt.shape, prompt.outside))
        labels = torch.cat([torch.ones(len(wanted)), torch.zeros(len(unwanted))])
        points = torch.as_tensor(np.concatenate([wanted, unwanted]), dtype=torch.float32)
        return Prompts(points=points[None], labels=labels[None])
    if not as_mask:
        x0, y0, x1, y1 = shapely.bounds(prompt.shape).tolist()
        corners = field.of_slide(np.array([[x0, y0], [x1, y1]]))
        return Prompts(boxes=torch.as_tensor(corners.reshape(1, 4), dtype=torch.float32))
    outside, inside = mask_levels
    painted = torch.as_tensor(_coarse_mask(prompt.shape, field))
    return Prompts(masks=torch.where(painted, inside, outside)[None, None].float())


def _coarse_mask(area: shapely.Geometry, field: Field) -> NDArray[np.bool_]:
    """An area (side / 4, side / 4): True where a pixel's centre lies in it; at least one pixel."""
    side = field.out_px // _MASK_SHRINK
    rings = [ring for part in shapely.get_parts(area) for ring in (part.exterior, *part.interiors)]
    places = [field.of_slide(shapely.get_coordinates(ring)) / _MASK_SHRINK for ring in rings]
    painted = paint_rings(places, (side, side))
    if not painted.any():
        middle = shapely.get_coordinates(shapely.point_on_surface(area))
        x, y = np.clip(field.of_slide(middle)[0] / _MASK_SHRINK, 0, side - 1).astype(int)
        painted[y, x] = True
    return painted


@contextlib.contextmanager
def with_threads(count: int | None) -> Iterator[None]:
    """Within the block torch uses this number of threads: sums that are shared out otherwise round otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@lru_cache(maxsize=1)
def load_promptable(settings: SamSettings, device: str) -> Promptable:
    """The model that the settings name, one per process: WSI-SAM where they name its tokens, else SAM alone.

    Raises:
        MissingError: no weights, or they do not fit the model or each other.
    """
    how = settings.sam_precision, settings.sam_compile, settings.sam_backend
    if settings.wsi_sam_tokens is None:
        path, _ = sam.wanted_weights(settings.model_dump()).find()
        alone = load_sam(path, settings.sam_model, settings.sam_colours).to(own_device(device))
        return PlainSam(alone, Embedder(alone, *how))
    (path, sha256), (tokens, _) = wsi_sam.wanted_weights(settings.model_dump()).files()
    model = load_wsi_sam(path, settings.sam_model, tokens, sam_sha256=sha256, colours=settings.sam_colours).to(
        own_device(device)
    )
    facts = read_tokens(tokens).facts
    return TwoResolutions(model, Embedder(model.sam, *how), trained_mpp=facts.mpp if facts else None)
