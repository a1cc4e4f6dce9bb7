"""Regions are proposed on the paper's canvas over the tissue, or on one of any size in tiles."""

import tracemalloc
from functools import cache

import cv2
import numpy as np
import pytest
import shapely
from drawn_slide import GREYS, GROUND, SIDE_PX, Blob, Shades, draw_blobs, drawn_slide, paint, pieces_of, tissue_of
from slide_maker import GLASS, PINK, array_slide, draw_asymmetric

from sammil_cli import choices
from sammil_cli.errors import SlideError
from sammil_cli.regions.propose import View, propose_regions
from sammil_cli.regions.region_map import Proposal, RegionMap
from sammil_cli.regions.region_mask import RegionMask, shared
from sammil_cli.tissue.mask import TissueMask


class Echo:
    """Proposes the tissue itself and keeps what it was shown."""

    weights_sha256: str | None = None
    partition = False

    def __init__(self) -> None:
        self.shown: list[View] = []

    def propose(self, view: View) -> list[Proposal]:
        self.shown.append(view)
        return [Proposal(mask=RegionMask.of(view.tissue))]


def test_the_proposer_sees_the_tissues_box_at_the_canvas_scale() -> None:
    slide = array_slide(draw_asymmetric(), mpp=2.0)
    large = shapely.box(40, 40, 320, 260).difference(shapely.box(120, 100, 200, 160))
    tissue = TissueMask(
        slide_id="array",
        polygons=shapely.MultiPolygon([large]),
        slide_mpp=2.0,
        slide_size_px=slide.size_px,
        bounds_px=slide.bounds_px,
    )
    echo = Echo()
    regions, image = propose_regions(slide, tissue, echo, canvas_px=100)
    # The box is 280 x 220: a quarter of it, 70 x 55, is the first with no side above 100.
    assert regions.canvas.origin_px == (40, 40)
    assert (regions.canvas.downsample, regions.canvas.mpp, regions.canvas.size_px) == (4.0, 8.0, (70, 55))
    assert image.shape == (55, 70, 3)
    expected = np.ones((55, 70), bool)
    expected[15:30, 20:40] = False
    np.testing.assert_array_equal(echo.shown[0].image, image)
    np.testing.assert_array_equal(echo.shown[0].tissue, expected)
    np.testing.assert_array_equal(regions.mask(0).within((0, 0, 70, 55)), expected)
    assert (image[expected] == PINK).all()
    assert (image[~expected] == GLASS).all()


CANVAS_MPP = 2.0  # four level-0 pixels of the drawn slide
CANVAS_PX = (5000, 5000)


@cache
def truth() -> tuple[RegionMask, ...]:
    """What `Shades` would find if it saw the canvas at once."""
    return tuple(pieces_of(paint(draw_blobs(), (0, 0), 4.0, CANVAS_PX)))


@cache
def tiled(side_px: int) -> RegionMap:
    slide, _ = drawn_slide(draw_blobs())
    regions, _ = propose_regions(slide, tissue_of(slide), Shades(), canvas_px=side_px, mpp=CANVAS_MPP, overlap=0.25)
    return regions


def masks_of(regions: RegionMap) -> tuple[RegionMask, ...]:
    return tuple(regions.mask(region) for region in range(len(regions)))


def iou(a: RegionMask, b: RegionMask) -> float:
    box = shared(a.box, b.box)
    if min(a.area_px, b.area_px) < 0.5 * max(a.area_px, b.area_px):
        return 0.0  # below 0.5, which is enough to know
    common = int((a.within(box) & b.within(box)).sum()) if box else 0
    return common / (a.area_px + b.area_px - common)


def worst(masks: tuple[RegionMask, ...], others: tuple[RegionMask, ...]) -> float:
    """The IoU of the mask that is least like any of the others."""
    return min(max(iou(mask, other) for other in others) for mask in masks)


@pytest.mark.parametrize("side_px", [512, 1024])
def test_tiles_show_the_regions_that_are_there(side_px: int) -> None:
    found = masks_of(tiled(side_px))
    assert len(found) == len(truth()) > 180
    assert max(mask.box[2] for mask in found) > 4000  # a thread over all tiles of a row
    assert min(mask.area_px for mask in found) < 100
    assert worst(truth(), found) >= 0.95
    assert worst(found, truth()) >= 0.95


def test_two_tile_sizes_give_the_same_regions_in_the_same_order() -> None:
    small, large = tiled(512), tiled(1024)
    assert (small.canvas.size_px, small.canvas.downsample, small.canvas.mpp) == (CANVAS_PX, 4.0, 2.0)
    assert small.canvas == large.canvas
    for one, other in zip(masks_of(small), masks_of(large), strict=True):
        assert iou(one, other) >= 0.95


class Wavering(Shades):
    """As a model is: each mask a little off, and some are missed, other ones in each picture."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(1)

    def propose(self, view: View) -> list[Proposal]:
        found = []
        for proposal in super().propose(view):
            if self._rng.random() < 0.1:
                continue
            x, y, width, height = proposal.mask.box
            frame = (x - 2, y - 2, width + 4, height + 4)
            change = cv2.dilate if self._rng.random() < 0.5 else cv2.erode
            off = change(proposal.mask.within(frame).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            rows, columns = view.tissue.shape
            if off.any():
                mask = RegionMask.of(off, frame[:2]).cut((0, 0, columns, rows))
                found += [Proposal(mask=mask, predicted_iou=float(self._rng.random()))] if mask else []
        return found


def test_tiles_of_a_wavering_proposer_lose_and_double_next_to_nothing() -> None:
    slide, _ = drawn_slide(draw_blobs())
    regions, _ = propose_regions(slide, tissue_of(slide), Wavering(), canvas_px=768, mpp=CANVAS_MPP, overlap=0.25)
    found = masks_of(regions)
    large = tuple(mask for mask in truth() if mask.area_px > 1000)
    alike = [max(iou(mask, other) for other in found) for mask in large]
    assert np.mean(np.array(alike) > 0.75) > 0.9
    assert 0.9 * len(truth()) < len(found) < 1.1 * len(truth())


def test_one_tiles_picture_is_held_at_a_time_and_none_is_read_twice() -> None:
    slide, reader = drawn_slide(draw_blobs()[:6])
    tissue = tissue_of(slide)
    tracemalloc.start()
    _, picture = propose_regions(slide, tissue, Shades(), canvas_px=512, mpp=CANVAS_MPP, overlap=0.25)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Twelve steps of 374 px in each direction; all tiles are of one size.
    assert len(reader.reads) == 13 * 13
    assert {(level, size) for _, level, size in reader.reads} == {(1, (512, 512))}
    assert len({xy for xy, _, _ in reader.reads}) == 13 * 13
    assert picture.shape == (1667, 1667, 3)
    # The canvas is a picture of 75 MB and one mask of 25; the overview is put together in 17 and 25 more at the end.
    assert peak < 50e6


def test_the_overview_is_the_canvas_shrunk_by_area_and_glass_is_not_read() -> None:
    blobs = [Blob(centre=(3000, 2000), axes=(2500, 1500), angle=0.3, grey=GREYS[0])]
    slide, reader = drawn_slide(blobs)
    tissue = tissue_of(slide, (0, 0, 6000, 4000), (18_000, 18_000, SIDE_PX, SIDE_PX))
    regions, picture = propose_regions(slide, tissue, Shades(), canvas_px=512, mpp=CANVAS_MPP, overlap=0.25)
    assert len(regions) == 1
    # Steps of 1496 level-0 px, tiles of 2048: five by three hold some of the first box, two by two of the second.
    assert len(reader.reads) == 5 * 3 + 2 * 2
    expected = paint(blobs, (0, 0), 4.0, (1500, 999)).reshape(333, 3, 500, 3).mean((1, 3))
    np.testing.assert_allclose(picture[:333, :500, 0], expected, atol=0.51)
    assert (picture[700:1300] == 255).all()
    assert (picture[1520:, 1520:] == GROUND).all()


def test_any_resolution_is_exact_and_only_finer_than_level_0_is_refused() -> None:
    slide, _ = drawn_slide(draw_blobs())
    tissue = tissue_of(slide, (1000, 3000, 9001, 9003))
    echo = Echo()
    regions, _ = propose_regions(slide, tissue, echo, canvas_px=600, mpp=2.3, overlap=0.25)
    canvas = regions.canvas
    assert (canvas.origin_px, canvas.mpp, canvas.size_px) == ((1000, 3000), 2.3, (1740, 1305))  # 8001 / 4.6 = 1739.3
    assert canvas.downsample == pytest.approx(4.6)
    for view in echo.shown:
        assert view.image.shape == (600, 600, 3)
        columns, rows = (np.subtract(view.origin_px, canvas.origin_px) / canvas.downsample).tolist()
        assert columns == pytest.approx(round(columns))
        assert rows == pytest.approx(round(rows))
    assert regions.area_px.tolist() == [1739 * 1305]  # the centres of the last column lie outside
    with pytest.raises(SlideError, match=r"coarser than sam_mpp 0\.3") as caught:
        propose_regions(slide, tissue, Shades(), canvas_px=600, mpp=0.3, overlap=0.25)
    assert caught.value.code == "E_COARSE"


def test_superpixels_tile_the_tissue_whatever_the_tiles() -> None:
    rng = np.random.default_rng(0)
    slide = array_slide(np.kron(rng.integers(90, 220, (8, 11, 3)), np.ones((50, 50, 1))).astype(np.uint8), mpp=1.0)
    tissue = tissue_of(slide, (20, 30, 500, 380))
    settings = {"superpixel_method": "slic", "superpixel_area_px": 400, "superpixel_merge": 6.0}
    proposer = choices.load(choices.PROPOSERS, "superpixels").make(settings, "cpu")
    smallest = []
    for side_px in (1000, 160, 240):
        regions, _ = propose_regions(slide, tissue, proposer, canvas_px=side_px, mpp=1.0, overlap=0.25)
        labels = regions.labels()
        assert labels.shape == (350, 480)
        assert (labels >= 0).all()
        assert regions.area_px.sum() == 350 * 480  # none twice
        smallest.append(int(regions.area_px.min()))
    assert min(smallest[1:]) > 0.25 * smallest[0]
