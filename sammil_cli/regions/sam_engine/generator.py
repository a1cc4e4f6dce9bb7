"""Automatic masks: what SAM sees when it is asked about a grid of points (docs/methods.md §14).

The records equal those of `segment_anything.SamAutomaticMaskGenerator` for the same parameters, up to ties that
rounding decides; what is asked and what is kept is the same, how it is computed is not (see the modules beside).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.modeling import Sam
from segment_anything.utils.amg import is_box_near_crop_edge
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor
from torchvision.ops.boxes import batched_nms

from sammil_cli.backends.backend import Backend, Precision
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.regions.sam_engine.batching import Batches
from sammil_cli.regions.sam_engine.crops import Crop, lay_crops
from sammil_cli.regions.sam_engine.decoder import MaskDecoder
from sammil_cli.regions.sam_engine.image_encoder import prepare
from sammil_cli.regions.sam_engine.upsample import Upsampler
from sammil_cli.regions.sam_models.embed import Embedder
from sammil_cli.slides.pixels import RGB

_NMS_IOU = 0.7  # of boxes, within a crop and between crops, as published
_OUTSIDE = -1e3  # a logit far below all thresholds


@dataclass(frozen=True, kw_only=True)
class MaskRecord:
    """A mask of the picture, SAM's rating of it, the prompt x, y and the crop x0, y0, x1, y1 that it came from."""

    mask: RegionMask
    predicted_iou: float
    stability: float
    point: tuple[float, float]
    crop_box: tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class _Candidates:
    """Masks of a crop before duplicates are dropped; `logits` only where they matter: `window` (x0, y0, x1, y1)."""

    boxes: Tensor  # (k, 4) x0, y0, x1, y1 in the crop's pixels, the last pixels included
    predicted_iou: Tensor  # (k,)
    stability: Tensor  # (k,)
    points: Tensor  # (k, 2) in the crop's pixels
    logits: list[Tensor]
    windows: list[tuple[int, int, int, int]]


@dataclass(frozen=True, kw_only=True)
class MaskSettings:
    """How a model is asked.

    The first five are the official generator's points_per_side, pred_iou_thresh, stability_score_thresh, crop_n_layers
    and crop_n_points_downscale_factor.

    Args:
        precision: of the products; half precision moves borders by a pixel here and there.
        backend: what runs the image encoder. compiled: whether torch compiles it.
        prompts_at_once: None = what suits the device; halved when memory runs out.
    """

    points_per_side: int
    pred_iou_thresh: float
    stability_thresh: float
    crop_layers: int
    crop_points_downscale: int
    precision: Precision = "float32"
    backend: Backend = "torch"
    compiled: bool = False
    prompts_at_once: int | None = None


# What a crop answers to points (p, 2) in the model's input: ratings (p, m) of m masks each, and what draws the logits
# (k, l, l) of those that a mask (p, m) names, in its order.
Ask = Callable[[Tensor], tuple[Tensor, Callable[[Tensor], Tensor]]]


class PointGrid:
    """What is asked about a picture, and which of the masks are kept, whatever model sees it and draws them."""

    def __init__(self, model: Sam, settings: MaskSettings) -> None:
        self._model, self._settings = model, settings
        on_gpu = model.device.type != "cpu"
        # On a CPU two prompts stay in the cache; a GPU wants many.
        self._prompts = Batches(settings.prompts_at_once or (64 if on_gpu else 2), "prompt")
        self._crops = Batches(8 if on_gpu else 1, "crop")
        self._drawn = Batches(64 if on_gpu else 8, "mask")
        self._resize = ResizeLongestSide(model.image_encoder.img_size)

    def records(
        self, image: RGB, tissue: NDArray[np.bool_] | None, see: Callable[[Sequence[Crop]], Sequence[Ask]]
    ) -> list[MaskRecord]:
        """The masks of a picture (h, w, 3), in the official order.

        Args:
            tissue: (h, w); where it is given, only points on tissue are asked about.
            see: what encodes some crops together.

        Raises:
            SlideError: `E_MEMORY`, not even one prompt at a time fits.
        """
        shape = (image.shape[0], image.shape[1])
        crops = lay_crops(
            shape,
            tissue=tissue,
            points_per_side=self._settings.points_per_side,
            layers=self._settings.crop_layers,
            points_downscale=self._settings.crop_points_downscale,
        )
        with torch.inference_mode():
            seen = self._crops.map(lambda batch: list(zip(batch, see(batch), strict=True)), crops)
            found = [record for batch in seen for crop, ask in batch for record in self._look(crop, ask, shape)]
        return _without_duplicates(found) if self._settings.crop_layers else found

    def _look(self, crop: Crop, ask: Ask, shape: tuple[int, int]) -> list[MaskRecord]:
        """The masks of one crop of a picture of `shape`, without duplicates, best first."""
        side = self._model.image_encoder.img_size
        upsampler = Upsampler(
            logits_px=4 * self._model.prompt_encoder.image_embedding_size[0],
            input_px=side,
            shown_px=self._resize.get_preprocess_shape(*crop.shape, side),
            out_px=crop.shape,
            device=self._model.device,
        )

        def asked(points: Sequence[NDArray[np.float64]]) -> _Candidates:
            return self._ask(crop, ask, np.asarray(points), upsampler, shape)

        parts = list(self._prompts.map(asked, list(crop.points)))
        boxes = torch.cat([part.boxes for part in parts]).float()
        rated = torch.cat([part.predicted_iou for part in parts])
        kept = batched_nms(boxes, rated, torch.zeros_like(rated), _NMS_IOU).tolist()
        return self._records(crop, parts, kept, upsampler)

    def _ask(
        self, crop: Crop, ask: Ask, points: NDArray[np.float64], upsampler: Upsampler, shape: tuple[int, int]
    ) -> _Candidates:
        """The masks of some prompts of a crop that pass the thresholds."""
        device = self._model.device
        prompts = _moved(self._resize.apply_coords(points, crop.shape), device)
        predicted_iou, draw = ask(prompts)
        good = predicted_iou > self._settings.pred_iou_thresh
        if self._settings.pred_iou_thresh <= 0:  # as published: 0 turns the filter off
            good = torch.ones_like(good)
        logits = draw(good)
        masks = upsampler(logits)
        boxes = masks.boxes()
        height, width = shape
        edge = is_box_near_crop_edge(boxes, list(crop.box), [0, 0, width, height])
        passed = ~edge & masks.any()
        if self._settings.stability_thresh > 0:
            passed &= masks.stability >= self._settings.stability_thresh
        boxes, logits = boxes[passed], logits[passed]
        windows = upsampler.support(boxes)
        asked = _moved(points, device)[:, None].expand(*good.shape, -1)
        return _Candidates(
            boxes=boxes,
            predicted_iou=predicted_iou[good][passed],
            stability=masks.stability[passed],
            points=asked[good][passed],
            logits=[mask[y0:y1, x0:x1].clone() for mask, (x0, y0, x1, y1) in zip(logits, windows, strict=True)],
            windows=windows,
        )

    def _records(
        self, crop: Crop, parts: Sequence[_Candidates], kept: Sequence[int], upsampler: Upsampler
    ) -> list[MaskRecord]:
        logits = [mask for part in parts for mask in part.logits]
        windows = [window for part in parts for window in part.windows]
        side = 4 * self._model.prompt_encoder.image_embedding_size[0]

        def draw(batch: Sequence[int]) -> list[RegionMask]:
            full = torch.full((len(batch), side, side), _OUTSIDE, device=self._model.device)
            for place, number in enumerate(batch):
                x0, y0, x1, y1 = windows[number]
                full[place, y0:y1, x0:x1] = logits[number]
            masks = upsampler(full)
            return encode_masks(masks.draw(), masks.boxes())

        drawn = [mask for batch in self._drawn.map(draw, kept) for mask in batch]
        x, y, *_ = crop.box
        columns = [
            torch.cat([getattr(part, name) for part in parts])[list(kept)].tolist()
            for name in ("predicted_iou", "stability", "points")
        ]
        return [
            MaskRecord(
                mask=mask.moved(x, y),
                predicted_iou=predicted_iou,
                stability=stability,
                point=(point[0] + x, point[1] + y),
                crop_box=crop.box,
            )
            for mask, predicted_iou, stability, point in zip(drawn, *columns, strict=True)
        ]


class MaskEngine(PointGrid):
    """A SAM model of the official classes, on its device, in eval mode; `generate` may be called again and again."""

    def __init__(self, model: Sam, settings: MaskSettings) -> None:
        super().__init__(model, settings)
        self.encoder: Callable[[Tensor], Tensor] = Embedder(
            model, settings.precision, settings.compiled, settings.backend
        )
        self.decoder = MaskDecoder(model, settings.precision)

    def generate(self, image: RGB, tissue: NDArray[np.bool_] | None = None) -> list[MaskRecord]:
        """See `PointGrid.records`; each prompt has three masks, and SAM's rating of each."""

        def see(crops: Sequence[Crop]) -> list[Ask]:
            pictures = [crop.cut(image) for crop in crops]
            embeddings = self.encoder(torch.cat([prepare(picture, self._model) for picture in pictures]))
            return [self._asker(embedding) for embedding in embeddings]

        return self.records(image, tissue, see)

    def _asker(self, embedding: Tensor) -> Ask:
        picture = self.decoder.look(embedding)

        def ask(points: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
            decoded = self.decoder.decode(picture, points)
            return decoded.predicted_iou, partial(self.decoder.draw, decoded)

        return ask


def encode_masks(masks: Tensor, boxes: Tensor) -> list[RegionMask]:
    """Masks (m, h, w), none empty, and their boxes (m, 4) x0, y0, x1, y1, the last pixels included -> region masks.

    Run lengths are found on the masks' device: only the places where a run ends are copied.
    """
    count, rows, columns = masks.shape
    flat = masks.transpose(1, 2).reshape(count, rows * columns)
    starts = torch.nn.functional.pad(flat, (1, 0))
    mask, place = (starts[:, 1:] ^ starts[:, :-1]).nonzero(as_tuple=True)
    ends = np.searchsorted(mask.cpu().numpy(), np.arange(1, count))
    places = np.split(place.cpu().numpy(), ends)
    encoded = []
    for changes, (x0, y0, x1, y1) in zip(places, boxes.tolist(), strict=True):
        runs = np.diff(np.concatenate([[0], changes, [rows * columns]]))
        box = (x0, y0, x1 - x0 + 1, y1 - y0 + 1)
        encoded.append(RegionMask.of_canvas_runs(runs.astype(np.uint32), box, rows))
    return encoded


def _moved(points: NDArray[np.float64], device: torch.device) -> Tensor:
    """Points on a device; in float32 where there is no float64."""
    exact = torch.as_tensor(points)
    return (exact if _knows_float64(device) else exact.float()).to(device)


def _knows_float64(device: torch.device) -> bool:
    return device.type != "mps"


def _without_duplicates(records: Sequence[MaskRecord]) -> list[MaskRecord]:
    """Drops masks that another crop sees, too; those of smaller crops stay, and come first."""
    if not records:
        return []
    boxes = torch.tensor([record.mask.box for record in records], dtype=torch.float32)
    boxes[:, 2:] += boxes[:, :2] - 1  # the last pixels included
    areas = torch.tensor([(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (record.crop_box for record in records)])
    kept = batched_nms(boxes, 1 / areas, torch.zeros(len(records)), _NMS_IOU)
    return [records[number] for number in kept.tolist()]
