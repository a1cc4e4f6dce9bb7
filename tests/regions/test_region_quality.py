"""Numbers and flags of a slide's regions: drawn by hand, and superpixels of real tissue."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from sammil_cli.regions.propose import View
from sammil_cli.regions.proposers.superpixels import make
from sammil_cli.regions.quality import RegionQuality, flags, measure, quality_record
from sammil_cli.regions.region_map import Canvas, Proposal, RegionMap, build
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.tissue.mask import TissueMask

SIZE = (40, 30)  # canvas width, height; 8 level-0 pixels of 0.5 µm to a canvas pixel
CANVAS = Canvas(origin_px=(100, 60), downsample=8.0, size_px=SIZE, mpp=4.0)
RNG = np.random.default_rng(0)


def tissue_of(x: int, y: int, width: int, height: int) -> TissueMask:
    """Tissue that is a box of canvas pixels."""
    (left, top), d = CANVAS.origin_px, CANVAS.downsample
    box = shapely.box(left + x * d, top + y * d, left + (x + width) * d, top + (y + height) * d)
    return TissueMask(
        slide_id="s",
        polygons=shapely.MultiPolygon([box]),
        slide_mpp=0.5,
        slide_size_px=(1000, 1000),
        bounds_px=(0, 0, 1000, 1000),
    )


TISSUE = tissue_of(10, 5, 20, 20)  # 400 pixels


def regions_of(*boxes: tuple[int, int, int, int], scores: tuple[float, float] = (1.0, 1.0)) -> RegionMap:
    proposals = []
    for x, y, width, height in boxes:
        mask = RegionMask.of(np.ones((height, width), bool), (x, y))
        proposals.append(Proposal(mask=mask, predicted_iou=scores[0], stability=scores[1]))
    return build("s", CANVAS, proposals)


def noise() -> NDArray[np.uint8]:
    return RNG.integers(0, 256, (SIZE[1], SIZE[0], 3)).astype(np.uint8)


def two_colours() -> NDArray[np.uint8]:
    """The left half of the tissue is pink, the right one purple, with a little noise."""
    picture = np.full((SIZE[1], SIZE[0], 3), (226, 160, 190), int)
    picture[:, 20:] = (120, 70, 140)
    return np.clip(picture + RNG.integers(-4, 5, picture.shape), 0, 255).astype(np.uint8)


def test_numbers_of_two_regions_that_overlap() -> None:
    # The first covers the tissue's left half, 200 px, and 50 px beside it; the second 10 x 10 px, 50 of them shared.
    quality = measure(regions_of((10, 0, 10, 25), (15, 10, 10, 10), scores=(0.75, 0.5)), noise(), TISSUE)
    assert quality.regions == 2
    assert quality.coverage == pytest.approx(250 / 400)
    assert quality.largest_share == pytest.approx(200 / 400)
    assert quality.overlap == pytest.approx(300 / 250)
    assert quality.area_um2_q50 == pytest.approx((250 + 100) / 2 * 16)
    assert quality.area_um2_q05 == pytest.approx((100 + 0.05 * 150) * 16)
    assert (quality.predicted_iou, quality.stability) == (0.75, 0.5)


def test_a_shrunk_picture_gives_the_same_numbers() -> None:
    regions, picture = regions_of((10, 4, 10, 20), (16, 10, 10, 10), (20, 4, 10, 22)), two_colours()
    whole = measure(regions, picture, TISSUE)
    half = measure(regions, np.ascontiguousarray(picture[::2, ::2]), TISSUE)
    for name in ("coverage", "largest_share", "overlap", "contrast"):
        assert getattr(half, name) == pytest.approx(getattr(whole, name), abs=0.05), name
    assert (half.regions, half.area_um2_q50) == (whole.regions, whole.area_um2_q50)


def test_regions_along_the_colours_have_all_contrast_and_those_across_them_none() -> None:
    halves = ((10, 5, 10, 20), (20, 5, 10, 20))
    along = measure(regions_of(*halves), two_colours(), TISSUE)
    across = measure(regions_of((10, 5, 20, 10), (10, 15, 20, 10)), two_colours(), TISSUE)
    assert along.contrast == pytest.approx(1, abs=0.02)
    assert across.contrast == pytest.approx(0, abs=0.01)


def test_a_pixel_counts_for_its_smallest_region() -> None:
    # The whole tissue besides its halves takes nothing from them.
    halves = ((10, 5, 10, 20), (20, 5, 10, 20))
    alone, below = (
        measure(regions_of(*boxes), two_colours(), TISSUE).contrast for boxes in (halves, ((10, 5, 20, 20), *halves))
    )
    assert alone == pytest.approx(below, abs=0.01)


def test_colours_outside_of_tissue_or_regions_do_not_count() -> None:
    picture = two_colours()
    quality = measure(regions_of((10, 5, 10, 20), (20, 5, 10, 10)), picture, TISSUE)
    picture[:5], picture[15:, 20:] = 0, (0, 255, 0)  # above the tissue, and its corner without a region
    assert measure(regions_of((10, 5, 10, 20), (20, 5, 10, 10)), picture, TISSUE) == quality


def test_random_regions_of_random_colours_have_no_contrast() -> None:
    boxes = [(10 + 4 * i, 5 + 4 * j, 4, 4) for i in range(5) for j in range(5)]
    found = [measure(regions_of(*boxes), noise(), TISSUE).contrast for _ in range(20)]
    assert np.mean(np.asarray(found, float)) == pytest.approx(0, abs=0.01)


GOOD = RegionQuality(
    regions=40,
    coverage=0.95,
    largest_share=0.2,
    overlap=1.5,
    area_um2_q05=2e4,
    area_um2_q50=1e5,
    area_um2_q95=1e6,
    predicted_iou=0.9,
    stability=0.9,
    contrast=0.3,
    contrast_of_squares=0.2,
)


def test_good_regions_have_no_flag() -> None:
    assert flags(GOOD, {}) == []


@pytest.mark.parametrize(
    ("change", "start"),
    [
        ({"coverage": 0.62}, "uncovered: 38% of the tissue lies in no region; "),
        ({"largest_share": 0.98}, "one-region: one region covers 98% of the tissue; "),
        ({"regions": 3}, "few-regions: 3 only; "),
        ({"contrast": 0.03}, "flat: colours vary within regions as much as between them (contrast 0.03, "),
        ({"contrast": -0.01, "contrast_of_squares": None}, "flat: "),
        ({"area_um2_q50": 4321.0}, "fragments: half of the regions are smaller than 4,321 µm²; "),
    ],
)
def test_each_flag_says_what_it_is_and_what_to_do(change: dict[str, float], start: str) -> None:
    (flag,) = flags(replace(GOOD, **change), {})
    assert flag.startswith(start)
    assert flag.endswith("; look at the overlay")
    word = start.partition(":")[0]
    assert flags(replace(GOOD, **change), {word: "do this", "other": "or that"}) == [
        flag.replace("look at the overlay", "do this")
    ]


def test_no_regions_are_one_flag_and_no_error() -> None:
    quality = measure(regions_of(), noise(), TISSUE)
    assert (quality.regions, quality.coverage, quality.overlap, quality.contrast) == (0, 0, None, None)
    assert [flag.partition(":")[0] for flag in flags(quality, {})] == ["no-regions"]
    assert quality_record(quality, {})["flags"] == flags(quality, {})


def test_superpixels_of_real_tissue_are_good_and_noise_is_flat(real_data: Path) -> None:
    picture = cv2.imread(str(real_data / "thumbnails/c16/normal_103.jpg"))[:, :, ::-1]
    picture = cv2.resize(picture, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    height, width = picture.shape[:2]
    canvas = Canvas(origin_px=(0, 0), downsample=32.0, size_px=(width, height), mpp=32.0)
    inside = cv2.medianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[..., 1], 5) > 40
    columns, rows = np.flatnonzero(inside.any(0)), np.flatnonzero(inside.any(1))
    box = shapely.box(32 * columns[0], 32 * rows[0], 32 * columns[-1] + 32, 32 * rows[-1] + 32)
    tissue = replace(
        TISSUE, polygons=shapely.MultiPolygon([box]), slide_mpp=1.0, slide_size_px=(32 * width, 32 * height)
    )
    view = View(slide_id="s", image=picture, tissue=inside, origin_px=(0, 0), downsample=32.0)
    settings = {"superpixel_method": "slic", "superpixel_area_px": 200, "superpixel_merge": 6.0}
    regions = build("s", canvas, make(settings, "cpu").propose(view))
    quality = measure(regions, picture, tissue)
    assert quality.contrast is not None
    assert quality.contrast_of_squares is not None
    assert quality.contrast > quality.contrast_of_squares > 0
    assert not any(flag.startswith(("flat", "fragments", "no-regions")) for flag in flags(quality, {}))
    shuffled = RNG.permutation(picture.reshape(-1, 3)).reshape(picture.shape)
    assert any(flag.startswith("flat") for flag in flags(measure(regions, shuffled, tissue), {}))
