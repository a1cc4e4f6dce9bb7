"""Tissue at the edge of the scanned area: how much of it no patch can take, and patches that reach over the edge."""

import numpy as np
import pytest
import shapely
from slide_maker import PURPLE, array_slide, blank

from sammil_cli.errors import SlideError
from sammil_cli.patches.grid import GridSpec, describe, flags, make_grid
from sammil_cli.patches.images import read_patch
from sammil_cli.patches.patch_grid import PatchGrid
from sammil_cli.tissue.artefact_maps import ArtefactMaps
from sammil_cli.tissue.mask import TissueMask

SLIDE_PX = (400, 300)  # of patches of 64 px, 6 x 4 fit: 384 x 256
CORE = shapely.box(300, 200, 400, 300)  # 100 x 100 at the lower right corner, 84 x 56 of it in the 24 places


def tissue(shape: shapely.Polygon, bounds_px: tuple[int, int, int, int] = (0, 0, *SLIDE_PX)) -> TissueMask:
    return TissueMask(
        slide_id="s", polygons=shapely.MultiPolygon([shape]), slide_mpp=1.0, slide_size_px=SLIDE_PX, bounds_px=bounds_px
    )


def spec(edge: str, *, patch_px: int = 64, min_tissue: float = 0.25, overlap: float = 0.0) -> GridSpec:
    return GridSpec(patch_px=patch_px, patch_mpp=None, min_tissue=min_tissue, overlap=overlap, edge=edge)


def corners(grid: PatchGrid) -> list[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in grid.xy]


def test_tissue_that_no_patch_can_take_is_counted_and_remarked() -> None:
    grid = make_grid(tissue(CORE), spec("drop"))
    assert corners(grid) == [(256, 192), (320, 192)]
    assert grid.uncovered == pytest.approx(1 - 84 * 56 / 100**2)
    assert describe(grid.waterfall, grid.uncovered) == "grid 24 → tissue 2 → kept 2, 53.0% of the tissue uncovered"
    (flag,) = flags(grid.uncovered, "drop")
    assert flag.startswith("edge: 53% of the tissue lies where a patch would reach over the edge of the scanned area")
    assert "patch_edge: pad" in flag


def test_tissue_away_from_the_edge_is_all_covered_and_a_rim_is_not_remarked() -> None:
    inside = make_grid(tissue(shapely.box(96, 40, 336, 200)), spec("drop"))
    assert inside.uncovered == 0
    assert describe(inside.waterfall, inside.uncovered).endswith("kept 13")
    rim = make_grid(tissue(shapely.box(100, 40, 390, 200)), spec("drop"))  # 6 of 290 columns
    assert rim.uncovered == pytest.approx(6 / 290, abs=1e-6)
    assert "2.1% of the tissue uncovered" in describe(rim.waterfall, rim.uncovered)
    assert flags(rim.uncovered, "drop") == []


def test_of_a_region_of_interest_its_own_tissue_counts() -> None:
    roi = shapely.MultiPolygon([shapely.box(0, 0, 384, 300)])  # the core without its last 16 columns
    assert make_grid(tissue(CORE), spec("drop"), roi=roi).uncovered == pytest.approx(1 - 56 / 100)


def test_padded_patches_cover_all_tissue_and_count_by_the_share_of_the_whole_patch() -> None:
    grid = make_grid(tissue(CORE), spec("pad", min_tissue=0))
    assert corners(grid) == [(x, y) for y in (192, 256) for x in (256, 320, 384)]
    shares = {(256, 192): 20 * 56, (320, 192): 64 * 56, (384, 192): 16 * 56}
    shares |= {(256, 256): 20 * 44, (320, 256): 64 * 44, (384, 256): 16 * 44}
    found = dict(zip(corners(grid), grid.scores["tissue"].tolist(), strict=True))
    # Each edge that is no whole sixteenth of the patch is off by less than half a line.
    assert found == pytest.approx({place: area / 64**2 for place, area in shares.items()}, abs=1 / 32)
    assert (grid.waterfall["grid"], grid.uncovered) == (7 * 5, 0)
    assert corners(make_grid(tissue(CORE), spec("pad"))) == [(256, 192), (320, 192), (320, 256)]


def test_a_padded_grid_has_the_places_of_the_other_one_and_more() -> None:
    everywhere = shapely.box(0, 0, *SLIDE_PX)
    for bounds in ((0, 0, 400, 300), (10, 6, 320, 192), (10, 6, 321, 193), (3, 5, 390, 290)):
        for overlap in (0.0, 0.25, 0.33):
            mask = tissue(everywhere.intersection(shapely.box(*bounds[:2], bounds[0] + bounds[2], 300)), bounds)
            small, large = (make_grid(mask, spec(edge, min_tissue=0, overlap=overlap)) for edge in ("drop", "pad"))
            assert set(corners(small)) <= set(corners(large))
            assert (large.xy >= bounds[:2]).all()
            right, bottom = bounds[0] + bounds[2], bounds[1] + bounds[3]
            assert (large.xy < (right, bottom)).all()  # each begins in the scanned area
            assert (large.xy.max(axis=0) + 64 >= (right, bottom)).all()
            step = large.step_px_level0
            assert step is not None
            assert (large.xy.max(axis=0) - step + 64 < (right, bottom)).all()  # and none is more than is needed


def test_a_slide_smaller_than_a_patch_is_one_padded_patch() -> None:
    with pytest.raises(SlideError, match="no whole patch of 512") as caught:
        make_grid(tissue(CORE), spec("drop", patch_px=512))
    assert "patch_edge: pad" in caught.value.remedy
    grid = make_grid(tissue(CORE), spec("pad", patch_px=512, min_tissue=0.03))
    assert (corners(grid), grid.uncovered) == ([(0, 0)], 0)
    assert float(grid.scores["tissue"][0]) == pytest.approx(100 * 100 / 512**2, abs=0.005)


def test_where_no_patch_holds_enough_the_edge_is_named() -> None:
    with pytest.raises(SlideError, match="100% of the tissue lies beyond the grid") as caught:
        make_grid(tissue(shapely.box(386, 10, 400, 290)), spec("drop"))
    assert caught.value.code == "E_NO_PATCH"
    assert "patch_edge: pad" in caught.value.remedy
    with pytest.raises(SlideError) as caught:
        make_grid(tissue(shapely.box(100, 40, 160, 100)), spec("drop", min_tissue=0.9))
    assert "edge" not in caught.value.message + caught.value.remedy


def test_what_lies_beyond_the_slide_is_blank() -> None:
    maps = ArtefactMaps(
        **{name: np.zeros((10, 13), np.uint8) for name in ("blank", "pen", "dark", "blur")},
        cell_px0=(32.0, 32.0),
        mpp=8.0,
    )
    grid = make_grid(tissue(CORE), spec("pad", min_tissue=0), artefacts=maps)
    found = dict(zip(corners(grid), grid.scores["blank"].tolist(), strict=True))
    assert found[320, 192] == 0
    assert found[384, 192] == pytest.approx(0.75, abs=1e-3)  # 16 of 64 columns are on the slide
    assert found[320, 256] == pytest.approx(20 / 64, abs=1e-3)
    assert found[384, 256] == pytest.approx(1 - 0.25 * 44 / 64, abs=1e-3)


@pytest.mark.parametrize("bounds_px", [(0, 0, 400, 300), (0, 0, 390, 280)])
def test_a_padded_patch_is_the_slide_and_white_beyond_the_scanned_area(bounds_px: tuple[int, int, int, int]) -> None:
    rgb = blank(*SLIDE_PX)
    rgb[200:, 300:] = PURPLE
    slide = array_slide(rgb, bounds_px=bounds_px)
    grid = make_grid(tissue(CORE, bounds_px), spec("pad", min_tissue=0))
    patch = read_patch(slide, grid, corners(grid).index((384, 256)))
    wide, high = bounds_px[2] - 384, bounds_px[3] - 256
    assert (patch[:high, :wide] == PURPLE).all()
    assert (patch[high:] == 255).all()
    assert (patch[:, wide:] == 255).all()
