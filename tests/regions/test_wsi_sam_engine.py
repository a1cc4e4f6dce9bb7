"""Automatic masks of WSI-SAM: what each point is answered, and that HR, LR and prompts show one place."""

from typing import Any

import cv2
import numpy as np
import pytest
import shapely
import torch
from numpy.typing import NDArray
from sam_pair import INPUT_PX
from slide_maker import GLASS, array_slide
from torch.nn.functional import interpolate
from wsi_sam_small import small_wsi_sam

from sammil_cli.regions.propose import View, propose_regions
from sammil_cli.regions.region_map import Proposal
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.regions.sam_engine.crops import Crop, lay_crops
from sammil_cli.regions.sam_engine.generator import MaskRecord, MaskSettings
from sammil_cli.regions.sam_engine.image_encoder import prepare
from sammil_cli.regions.sam_models.embed import Embedder
from sammil_cli.regions.wsi_sam.decoder import only
from sammil_cli.regions.wsi_sam.engine import DualEngine, low_window
from sammil_cli.regions.wsi_sam.field import to_low
from sammil_cli.regions.wsi_sam.model import WsiSam
from sammil_cli.regions.wsi_sam.prompts import Prompts
from sammil_cli.tissue.mask import TissueMask

SHAPE = (150, 210)  # rows, columns: smaller than the model's input, and no square
EVERY: dict[str, Any] = {
    "points_per_side": 3,
    "pred_iou_thresh": 0,
    "stability_thresh": 0,
    "crop_layers": 0,
    "crop_points_downscale": 1,
}


@pytest.fixture(scope="module")
def model() -> WsiSam:
    """Rates its masks above 0, below which a threshold means none."""
    made = small_wsi_sam()
    with torch.no_grad():
        made.sam.mask_decoder.iou_prediction_head.layers[-1].bias += 1
    return made


def pictures() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture and what lies around it: noise in blocks, of which each shows a part."""
    side = max(SHAPE)
    blocks = np.random.default_rng(0).integers(0, 255, (28, 28, 3), dtype=np.uint8)
    scene = cv2.resize(blocks, (2 * side, 2 * side), interpolation=cv2.INTER_CUBIC)
    image = scene[side // 2 : side // 2 + SHAPE[0], side // 2 : side // 2 + SHAPE[1]]
    return image, cv2.resize(scene, (side, side), interpolation=cv2.INTER_AREA)


def by_predict(model: WsiSam, image: NDArray[np.uint8], around: NDArray[np.uint8], point: Any) -> tuple[Any, float]:
    """The mask (h, w) of a point of the picture, drawn pixel by pixel, by way of `WsiSam.predict`."""
    see = Embedder(model.sam).see
    scale = INPUT_PX / max(SHAPE)
    rows, columns = (int(side * scale + 0.5) for side in SHAPE)
    x, y = point
    there = torch.tensor([[[x * columns / SHAPE[1], y * rows / SHAPE[0]]]], dtype=torch.float32) + 0.5
    prompts = Prompts(points=there, labels=torch.ones(1, 1))
    answer = model.predict(see(prepare(image, model.sam)), see(prepare(around, model.sam)), prompts)
    grown = interpolate(answer.logits[None], (INPUT_PX,) * 2, mode="bilinear", align_corners=False)
    shown = interpolate(grown[..., :rows, :columns], SHAPE, mode="bilinear", align_corners=False)[0, 0]
    return (shown > 0).numpy(), answer.predicted_iou.item()


def test_each_point_has_the_one_mask_that_predict_gives_it(model: WsiSam) -> None:
    image, around = pictures()
    records = candidates(model, EVERY, image, around)
    for record in records:
        mask, predicted_iou = by_predict(model, image, around, record.point)
        found = record.mask.within((0, 0, SHAPE[1], SHAPE[0]))
        assert (found != mask).mean() < 1e-3
        assert record.predicted_iou == pytest.approx(predicted_iou, abs=1e-4)
    assert len({record.point for record in records}) == len(records) > 4
    together = DualEngine(model, MaskSettings(**EVERY)).generate(image, around)
    best = max(record.predicted_iou for record in records)
    assert together[0].predicted_iou == pytest.approx(best, abs=1e-5)


def test_what_lies_around_the_picture_counts(model: WsiSam) -> None:
    image, around = pictures()
    engine = DualEngine(model, MaskSettings(**EVERY))
    here, elsewhere = (engine.generate(image, each) for each in (around, around[::-1].copy()))
    again = engine.generate(image, around)
    whole = (0, 0, SHAPE[1], SHAPE[0])
    assert not np.array_equal(here[0].mask.within(whole), elsewhere[0].mask.within(whole))
    for one, same in zip(here, again, strict=True):
        np.testing.assert_array_equal(one.mask.within(whole), same.mask.within(whole))


@pytest.mark.parametrize(
    ("setting", "score"), [("pred_iou_thresh", "predicted_iou"), ("stability_thresh", "stability")]
)
def test_thresholds_are_on_the_rating_of_mask_token_0_and_on_the_stability_of_the_fused_logits(
    model: WsiSam, setting: str, score: str
) -> None:
    image, around = pictures()
    every = candidates(model, EVERY, image, around)
    middle = float(np.median([getattr(record, score) for record in every]))
    assert middle > 0
    found = candidates(model, {**EVERY, setting: middle - 1e-6}, image, around)
    kept = [record.point for record in every if getattr(record, score) > middle - 1e-6]
    assert 0 < len(kept) < len(every)
    assert [record.point for record in found] == kept


def candidates(model: WsiSam, settings: dict[str, Any], image: Any, around: Any) -> list[MaskRecord]:
    """The records before duplicates are dropped: each point asked alone."""
    found = []
    for crop in lay_crops(SHAPE, points_per_side=settings["points_per_side"], layers=0, points_downscale=1):
        for x, y in np.floor(crop.points).astype(int):
            alone = np.zeros(SHAPE, bool)
            alone[y, x] = True
            found += DualEngine(model, MaskSettings(**settings)).generate(image, around, alone)
    return found


# ---------------------------------------------------------------------------------------------- geometry

CENTRE = (431.0, 262.0)  # of the cross, level-0 pixels
BOUNDS = (37, 21, 810, 570)


class Keeps:
    """Keeps its views, as a proposer that wants to see what lies around."""

    partition, wider = False, True
    weights_sha256: str | None = None

    def __init__(self) -> None:
        self.views: list[View] = []

    def propose(self, view: View) -> list[Proposal]:
        self.views.append(view)
        return [Proposal(mask=RegionMask.of(view.tissue))]


def painted() -> NDArray[np.uint8]:
    """A slide that is no square, with a red cross of 8 px; outside of its bounds it is glass."""
    image = np.full((640, 900, 3), GLASS, np.uint8)
    image[BOUNDS[1] : BOUNDS[1] + BOUNDS[3], BOUNDS[0] : BOUNDS[0] + BOUNDS[2]] = (200, 200, 210)
    x, y = (int(at) for at in CENTRE)
    image[y - 4 : y + 4, x - 40 : x + 40] = image[y - 40 : y + 40, x - 4 : x + 4] = (255, 0, 0)
    return image


def cross_of(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """x, y of the cross's middle, counted from the picture's corner."""
    red = np.clip(picture[..., 0].astype(float) - picture[..., 1] - 5, 0, None)
    ys, xs = np.indices(red.shape) + 0.5
    return np.array([(xs * red).sum(), (ys * red).sum()]) / red.sum()


def views(box: shapely.Polygon, **canvas: Any) -> list[View]:
    slide = array_slide(painted(), mpp=0.5, bounds_px=BOUNDS)
    tissue = TissueMask(
        slide_id="array",
        polygons=shapely.MultiPolygon([box]),
        slide_mpp=slide.mpp,
        slide_size_px=slide.size_px,
        bounds_px=slide.bounds_px,
    )
    keeps = Keeps()
    propose_regions(slide, tissue, keeps, **canvas)
    return keeps.views


@pytest.mark.parametrize(
    "canvas",
    [
        {"canvas_px": 256},
        {"canvas_px": 512},
        {"canvas_px": 200, "mpp": 0.75},
        {"canvas_px": 301, "mpp": 0.61, "overlap": 0.5},
    ],
    ids=str,
)
def test_a_painted_cross_lies_at_one_place_in_hr_in_lr_and_on_the_slide(canvas: dict[str, Any]) -> None:
    seen = 0
    for view in views(shapely.box(301, 150, 760, 480), **canvas):
        assert view.around is not None
        side = max(view.image.shape[:2])
        assert view.around.shape == (side, side, 3)
        on_low = (np.array(CENTRE) - view.origin_px) / view.downsample / 2 + side / 4
        if (on_low > 25).all() and (on_low < side - 25).all():  # all of the cross
            np.testing.assert_allclose(cross_of(view.around), on_low, atol=0.6)
        rows, columns = view.tissue.shape
        at = (np.array(CENTRE) - view.origin_px) / view.downsample
        reach = 45 / view.downsample
        if reach < at[0] < columns - reach and reach < at[1] < rows - reach:
            high = cross_of(view.image)
            np.testing.assert_allclose(high, at, atol=0.6)
            np.testing.assert_allclose(cross_of(view.around), to_low(high[None], side)[0], atol=0.6)
            seen += 1
    assert seen


def test_around_is_white_outside_of_the_slide_and_only_who_wants_it_has_it() -> None:
    (view,) = views(shapely.box(40, 30, 300, 250), canvas_px=512)
    assert view.around is not None
    assert (view.around[:40, :40] == GLASS).all() or (view.around[:40, :40] == 255).all()
    Keeps.wider = False
    try:
        (plain,) = views(shapely.box(40, 30, 300, 250), canvas_px=512)
    finally:
        Keeps.wider = True
    assert plain.around is None


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_a_crop_s_lr_shows_the_same_place_and_prompts_are_mapped_to_it(model: WsiSam, layers: int) -> None:
    """Where a cross is on a crop's LR is where a prompt in its middle is asked on LR."""
    (view,) = views(shapely.box(301, 150, 760, 480), canvas_px=512)
    image, around = view.image, view.around
    assert around is not None
    engine = DualEngine(model, MaskSettings(**{**EVERY, "crop_layers": layers}))
    side, middle = max(image.shape[:2]), cross_of(image)
    met = 0
    crops = lay_crops((image.shape[0], image.shape[1]), points_per_side=2, layers=layers, points_downscale=1)
    for crop in crops:
        (x, y), size = low_window(crop, side), max(crop.shape)
        assert 0 <= min(x, y) <= max(x, y) <= side - size
        window = around[y : y + size, x : x + size]
        assert window.shape[:2] == (size, size)
        point = middle - crop.box[:2]
        scale = INPUT_PX / size
        shift = engine._shift(crop, (x, y), image).numpy()
        asked = point * scale / 2 + shift
        on_window = to_low(middle[None], side)[0] - (x, y)
        np.testing.assert_allclose(asked, on_window * scale, atol=1e-3)
        if on_window.min() > 25 and on_window.max() < size - 25:
            np.testing.assert_allclose(cross_of(window) * scale, asked, atol=0.6 * scale)
            met += 1
    assert met


def test_the_whole_picture_s_prompts_are_shifted_by_a_quarter_of_the_side(model: WsiSam) -> None:
    engine, crop = DualEngine(model, MaskSettings(**EVERY)), Crop(box=(0, 0, 80, 40), points=np.empty((0, 2)))
    assert low_window(crop, 80) == (0, 0)
    assert engine._shift(crop, (0, 0), np.zeros((40, 80, 3), np.uint8)).tolist() == [INPUT_PX / 4] * 2


def test_masks_that_are_not_wanted_are_not_drawn(model: WsiSam) -> None:
    image, around = pictures()
    middle = float(np.median([record.predicted_iou for record in candidates(model, EVERY, image, around)]))
    engine = DualEngine(model, MaskSettings(**{**EVERY, "pred_iou_thresh": middle, "prompts_at_once": 9}))
    draw, drawn = engine.decoder.draw, []
    engine.decoder.draw = lambda picture, decoded: (drawn.append(decoded), draw(picture, decoded))[1]  # type: ignore[func-returns-value,method-assign]
    engine.generate(image, around)
    (decoded,) = drawn
    assert 0 < len(decoded.token) < 9
    assert (decoded.predicted_iou > middle).all()
    assert only(decoded, torch.ones(len(decoded.token), dtype=torch.bool)) is decoded
