"""Answers: where they lie, and that each is the same whatever else is asked."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
import torch
from numpy.typing import NDArray
from painted_model import PAINT, PaintedModel
from sam_pair import small_sam
from shapely import MultiPoint, MultiPolygon
from slide_maker import array_slide
from torch.nn import functional

from sammil_cli.prompting.answer import Answered, answer_all, write_answers
from sammil_cli.prompting.asked import Prompt
from sammil_cli.prompting.places import MOST_EXTENT, field_of
from sammil_cli.prompting.prompt_job import How
from sammil_cli.prompting.promptable import Ask, PlainSam, Promptable, TwoResolutions, asked_of
from sammil_cli.regions.sam_models.embed import Embedder
from sammil_cli.regions.wsi_sam.model import Answer, WsiSam
from sammil_cli.regions.wsi_sam.prompts import Prompts
from sammil_cli.slides.pixels import RGB
from sammil_cli.slides.slide import Slide
from sammil_cli.storage.geojson import read_geojson

SIDE_PX = 256
HOW = How(mpp=1.0, extent=0.4, as_mask=False, pictures=False)
OFFSET = (304, 208)  # where the scanned area begins
CROSS = shapely.union_all([shapely.box(820, 905, 1010, 935), shapely.box(850, 860, 880, 1030)])  # no symmetry


def area(*polygons: shapely.Polygon, **words: str) -> Prompt:
    return Prompt(shape=MultiPolygon(polygons), **words)


def check_place(found: shapely.Geometry, wanted: shapely.Geometry, pixel: float) -> None:
    """To one pixel at its outermost edges, and to half a pixel along all of them, but for the model's round corners."""
    assert shapely.bounds(found) == pytest.approx(wanted.bounds, abs=pixel)
    corners = shapely.union_all(shapely.points(shapely.get_coordinates(wanted))).buffer(6 * pixel)
    off = shapely.symmetric_difference(found, wanted).difference(corners)
    assert off.area <= 0.5 * pixel * wanted.boundary.difference(corners).length


@pytest.fixture
def slide() -> Slide:
    """0.5 µm per pixel, 1800 x 1500 px, an empty margin at left and top, a cross and something else beside it."""
    rgb = np.full((1500, 1800, 3), 255, np.uint8)
    rgb[905:935, 820:1010] = rgb[860:1030, 850:880] = PAINT
    rgb[1100:1180, 800:900] = PAINT
    return array_slide(rgb, mpp=0.5, bounds_px=(*OFFSET, 1400, 1200), slide_id="s1")


@pytest.mark.parametrize("mpp", [1.0, 1.37, 1.9])
@pytest.mark.parametrize("needs_low", [False, True])
def test_an_answer_lies_where_the_tissue_is(slide: Slide, tmp_path: Path, mpp: float, needs_low: bool) -> None:
    """Prompt -> HR and LR -> mask -> GeoJSON: a cross comes back at its place, cut where the box cuts its arm."""
    prompt = area(shapely.box(810, 850, 960, 1040), name="cross", class_name="Tumor")
    model = PaintedModel(SIDE_PX, needs_low=needs_low)
    how = replace(HOW, mpp=mpp, extent=0.5)
    write_answers(tmp_path, {}, slide, [prompt], model, how)
    pixel = mpp / slide.mpp  # level-0 pixels
    (drawn,), facts = read_geojson(tmp_path / "s1.geojson")
    assert facts["slide_id"] == "s1"
    wanted = shapely.intersection(CROSS, shapely.box(810, 850, 960, 1040))
    check_place(drawn.geometry, wanted, pixel)
    assert (drawn.name, drawn.class_name) == ("cross", "Tumor")

    (feature,) = json.loads((tmp_path / "s1.geojson").read_text())["features"]
    shown = shapely.bounds(shapely.from_geojson(json.dumps(feature["geometry"])))  # as QuPath counts
    assert shown == pytest.approx(np.array(wanted.bounds) - (*OFFSET, *OFFSET), abs=pixel)
    measured = feature["properties"]["measurements"]
    assert measured["Area mm^2"] == pytest.approx(wanted.area * 0.25e-6, rel=0.05)
    assert measured["mpp"] == pytest.approx(mpp, rel=0.01)
    assert (measured["Predicted IoU"], measured["Prompt"]) == (0.875, 1)
    assert 0 < measured["Stability"] <= 1


def test_points_and_masks_lie_where_boxes_do(slide: Slide) -> None:
    corners = MultiPoint([(812, 852), (1020, 1040)])
    asked = [area(shapely.box(812, 852, 1020, 1040)), Prompt(shape=corners)]
    model = PaintedModel(SIDE_PX, needs_low=True)
    how = replace(HOW, extent=0.5)
    box, points = (one.outline for one in answer_all(slide, asked, model, how))
    (mask,) = (one.outline for one in answer_all(slide, asked[:1], model, replace(how, as_mask=True)))
    assert shapely.equals_exact(box, points, 1e-6)
    for found in (box, mask):
        check_place(found, CROSS, 2.0)
    assert model.looks == 2


def test_a_mask_smaller_than_its_pixels_is_one_pixel(slide: Slide) -> None:
    speck = area(shapely.box(900.2, 900.2, 901, 901))
    field = field_of(speck, mpp=1.0, slide_mpp=0.5, out_px=SIDE_PX, extent=0.4)
    masks = asked_of(speck, field, as_mask=True, mask_levels=(-2.0, 3.0)).masks
    assert masks is not None
    (place,) = (masks[0, 0] > 0).nonzero().tolist()
    x, y = field.of_slide(np.array([[900.6, 900.6]]))[0] / 4
    assert place == [int(y), int(x)]
    assert masks.unique().tolist() == [-2.0, 3.0]


@pytest.mark.parametrize("extent", [0.1, 0.4, MOST_EXTENT])
def test_a_prompt_is_all_in_its_field_and_takes_no_more_than_its_share(extent: float) -> None:
    rng = np.random.default_rng(5)
    for _ in range(300):
        x, y = rng.uniform(0, 50_000, 2)
        width, height = np.exp(rng.uniform(0, 9, 2))
        prompt = area(shapely.box(x, y, x + width, y + height))
        field = field_of(prompt, mpp=1.0, slide_mpp=0.25, out_px=1024, extent=extent)
        (left, top), side = field.corner_px, field.side_px0
        assert left <= x < x + width <= left + side
        assert top <= y < y + height <= top + side
        assert max(width, height) <= extent * side
        assert side == 4096 or max(width, height) > extent * side / 2  # no coarser than it must be
        assert left % (side // 2) == top % (side // 2) == 0


def test_neighbours_share_a_field_and_it_is_seen_once(slide: Slide) -> None:
    asked = [area(shapely.box(x, y, x + 20, y + 20)) for y in range(700, 800, 10) for x in range(700, 800, 10)]
    model = PaintedModel(SIDE_PX, needs_low=True)
    answers = list(answer_all(slide, asked, model, HOW))
    fields = {field_of(one, mpp=1.0, slide_mpp=0.5, out_px=SIDE_PX, extent=0.4) for one in asked}
    assert (len(answers), model.looks) == (100, len(fields))
    assert len(fields) <= 4


def stained(seed: int = 0) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(60, 250, (30, 36, 3)).repeat(50, 0).repeat(50, 1)
    return np.clip(coarse + rng.normal(0, 12, coarse.shape), 0, 255).astype(np.uint8)


def hundred() -> list[Prompt]:
    """Boxes, triangles, single points, and points in and out, of many sizes."""
    rng = np.random.default_rng(1)
    prompts = []
    for number in range(100):
        x, y = rng.uniform((350, 250), (1500, 1200))
        size = float(np.exp(rng.uniform(2, 5)))
        points = MultiPoint(rng.uniform((x, y), (x + size, y + size), (3, 2)))
        prompts.append(
            [
                area(shapely.box(x, y, x + size, y + size / 2), name=f"{number}"),
                area(shapely.Polygon([(x, y), (x + size, y), (x, y + size)]), class_name="Tumor"),
                Prompt(shape=MultiPoint([(x, y)])),
                Prompt(shape=MultiPoint(points.geoms[:2]), outside=MultiPoint(points.geoms[2:])),
            ][number % 4]
        )
    return prompts


class Smooth:
    """A model whose logits are smoothed: those of random weights are specks."""

    def __init__(self, model: Promptable) -> None:
        self._model = model
        self.side_px, self.needs_low, self.mask_levels = model.side_px, model.needs_low, model.mask_levels
        self.trained_mpp = model.trained_mpp

    def look(self, high: RGB, low: RGB | None) -> Ask:
        ask = self._model.look(high, low)

        def answer(prompts: Prompts) -> Answer:
            said = ask(prompts)
            smooth = functional.avg_pool2d(said.logits, 15, 1, 7)
            return said._replace(logits=20 * (smooth - smooth.mean()))

        return answer


def plain() -> Promptable:
    sam = small_sam()
    return PlainSam(sam, Embedder(sam))


def two_resolutions() -> Promptable:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WsiSam(small_sam(), early_width=32).eval()
    return TwoResolutions(model, Embedder(model.sam))


def said(answered: Answered) -> bytes:
    """All that is known of an answer, but for its number."""
    exact = [answered.predicted_iou, answered.stability, answered.area_mm2]
    return json.dumps([{**answered.row(), "prompt": 0}, exact]).encode() + shapely.to_wkb(answered.outline)


@pytest.mark.parametrize(
    ("make", "as_mask"),
    [(plain, False), *(pytest.param(two_resolutions, as_mask, marks=pytest.mark.stress) for as_mask in (False, True))],
)
def test_an_answer_alone_is_the_same_as_among_a_hundred(make: Callable[[], Promptable], as_mask: bool) -> None:
    slide = array_slide(stained(), mpp=0.5, bounds_px=(*OFFSET, 1400, 1200), slide_id="s1")
    model = Smooth(make())
    how, asked = replace(HOW, as_mask=as_mask), hundred()
    answers = list(answer_all(slide, asked, model, how))
    together = {one.number: said(one) for one in answers}
    assert len(set(together.values())) == 100
    assert sum(shapely.get_num_coordinates(one.outline) > 20 for one in answers) > 90  # there is something to compare
    for number in (1, 2, 3, 4, 38, 55, 72, 97):
        (alone,) = answer_all(slide, [asked[number - 1]], model, how)
        assert said(alone) == together[number]
    backwards = {100 - one.number: said(one) for one in answer_all(slide, asked[99:49:-1], model, how)}
    assert backwards == {number - 1: together[number] for number in range(51, 101)}


def test_one_point_gets_the_best_of_three_masks_and_other_prompts_the_single_one() -> None:
    sam = small_sam()
    ask = PlainSam(sam, Embedder(sam)).look(stained()[:SIDE_PX, :SIDE_PX])
    field = field_of(area(shapely.box(0, 0, 9, 9)), mpp=1.0, slide_mpp=1.0, out_px=SIDE_PX, extent=0.4)
    asked = {}
    decode = sam.mask_decoder.forward

    def watched(**words: object) -> tuple[torch.Tensor, torch.Tensor]:
        masks, ratings = decode(**words)
        asked["masks"], asked["ratings"] = masks, ratings
        return masks, ratings

    sam.mask_decoder.forward = watched
    levels = (0.0, 1.0)
    said_ = ask(asked_of(Prompt(shape=MultiPoint([(5, 6)])), field, as_mask=False, mask_levels=levels))
    assert asked["masks"].shape[1] == 3
    best = int(asked["ratings"][0].argmax())
    assert torch.equal(said_.logits[0], asked["masks"][0, best])
    assert said_.predicted_iou[0] == asked["ratings"].max()
    for prompt in (
        Prompt(shape=MultiPoint([(5, 6), (8, 9)])),
        Prompt(shape=MultiPoint([(5, 6)]), outside=MultiPoint([(8, 9)])),
        area(shapely.box(3, 4, 9, 9)),
    ):
        ask(asked_of(prompt, field, as_mask=False, mask_levels=levels))
        assert asked["masks"].shape[1] == 1


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        (area(shapely.box(400, 300, 480, 380)), "empty"),  # nothing is painted there
        (area(shapely.box(700, 860, 1300, 1300)), "coarse"),
        (area(shapely.box(852, 907, 866, 921)), "small"),
    ],
)
def test_what_a_person_should_know_of_an_answer_is_remarked(slide: Slide, prompt: Prompt, kind: str) -> None:
    (answered,) = answer_all(slide, [prompt], PaintedModel(SIDE_PX, needs_low=False), HOW)
    assert answered.remark.split(":")[0] == kind


def test_an_empty_answer_is_in_the_table_and_not_in_the_drawing(slide: Slide, tmp_path: Path) -> None:
    asked = [area(shapely.box(400, 300, 480, 380), name="none"), area(shapely.box(810, 850, 960, 1040))]
    flags = write_answers(tmp_path, {}, slide, asked, PaintedModel(SIDE_PX, needs_low=False), HOW)
    rows = json.loads((tmp_path / "s1.json").read_text())["prompts"]
    assert [(row["prompt"], row["name"], row["area_mm2"] > 0) for row in rows] == [(1, "none", False), (2, "", True)]
    assert len(read_geojson(tmp_path / "s1.geojson")[0]) == 1
    assert flags == ["empty: 1 of 2 prompt(s), see prompted.csv"]
