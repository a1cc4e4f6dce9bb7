"""What figures are made of: fields, scale bars, and numbers of patches and regions against lesions."""

import cv2
import numpy as np
import pytest
import shapely
from matplotlib.axes import Axes

from sammil_cli.figures.regions import fit_of
from sammil_cli.figures.sheet import DPI, WIDTH_IN, Panel, PanelRow, outline, outline_key, scale_bar, sheet
from sammil_cli.regions.region_map import Canvas, Proposal, RegionMap, build
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.report.lesion_agreement import patches_in, ranking
from sammil_cli.report.scales import round_length
from sammil_cli.slides.field import Field, around


def regions_of(*boxes: tuple[int, int, int, int]) -> RegionMap:
    """Rectangles x, y, width, height on a canvas of 40 x 30 pixels of 10 level-0 pixels, its corner at (100, 200)."""
    canvas = Canvas(origin_px=(100, 200), downsample=10.0, size_px=(40, 30), mpp=5.0)
    masks = [RegionMask.of(np.ones((height, width), bool), (x, y)) for x, y, width, height in boxes]
    return build("s", canvas, [Proposal(mask=mask) for mask in masks])


@pytest.mark.parametrize(("most", "length"), [(1.0, 1.0), (1.9, 1.0), (740.0, 500.0), (0.049, 0.02), (2000.0, 2000.0)])
def test_a_scale_bar_has_a_round_length(most: float, length: float) -> None:
    assert round_length(most) == pytest.approx(length)


def test_a_box_around_places_is_cut_to_the_slide() -> None:
    assert around((50.0, 60.0), (120.0, 90.0), 20.0, (1000, 1000)) == (30, 40, 110, 70)
    assert around((5.0, 60.0), (120.0, 90.0), 20.0, (130, 100)) == (0, 40, 130, 60)


def test_level_0_pixels_lie_where_the_field_shows_them() -> None:
    field = Field(image=np.zeros((10, 20, 3), np.uint8), origin_px=(100, 40), factor=4.0, um_per_px=2.0)
    assert field.of_slide(np.array([[100, 40], [140, 60]])).tolist() == [[0, 0], [10, 5]]
    assert field.size_px == (20, 10)


def test_a_patch_is_lesion_by_half_or_more() -> None:
    xy = np.array([[0, 0], [10, 0], [20, 0], [30, 0]], np.int32)
    lesions = [shapely.box(5, 0, 20, 10), shapely.box(18, 0, 24, 10)]  # half of the first, 0.4 of the third
    assert patches_in(lesions, xy, 10).tolist() == [True, True, False, False]
    assert not patches_in([], xy, 10).any()


def test_the_ranking_is_the_auc_by_hand() -> None:
    values, chosen = np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False])
    assert ranking(values, chosen) == pytest.approx(3.5 / 4)  # of 4 pairs 3 in order, one equal
    assert ranking(values, np.ones(4, bool)) is None


def test_a_region_that_is_the_lesion_fits_it_and_one_of_half_of_it_by_half() -> None:
    lesion = shapely.box(150, 250, 249, 299)  # canvas pixels 5-14 x 5-9
    fit = fit_of(regions_of((0, 0, 40, 30), (5, 5, 10, 5)), [lesion], 0.5)
    assert (fit.regions, fit.mm2, fit.iou, fit.held, fit.covered) == (2, 0.5, 1.0, 1.0, 1.0)
    half = fit_of(regions_of((5, 5, 5, 5)), [lesion], 0.5)
    assert (half.iou, half.held, half.covered) == (0.5, 0.5, 0.5)
    within = fit_of(regions_of((0, 0, 40, 30)), [lesion], 0.5)
    assert within.iou == pytest.approx(50 / 1200)
    assert (within.held, within.covered) == (0.0, 1.0)
    assert fit_of(regions_of((0, 0, 9, 9)), [], 0.0).iou is None


def test_a_sheet_is_1200_pixels_wide_and_shows_outline_and_scale_bar_on_its_panels() -> None:
    field = Field(image=np.full((60, 80, 3), 230, np.uint8), origin_px=(0, 0), factor=1.0, um_per_px=10.0)

    def draw(axes: Axes) -> None:
        axes.imshow(field.image)
        outline(axes, field, [shapely.box(20, 10, 60, 40)])
        scale_bar(axes, field)

    panel = Panel(title="one", shape=(60, 80), draw=draw, below=["said " * 30])
    row = PanelRow(heading="slide", panels=[panel, panel])
    png = sheet("title", ["a note"], [row, row], [[outline_key("lesion")]])
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape[1] == WIDTH_IN * DPI == 1200
    blue = np.all(np.abs(image.astype(int) - (0xB2, 0x72, 0)) < 12, axis=2)  # BGR of the outline
    columns = np.flatnonzero(blue[: image.shape[0] // 2].any(0))
    assert columns.min() < 300 < 700 < columns.max()  # on both panels
    assert sheet("title", ["a note"], [row, row], [[outline_key("lesion")]]) == png
