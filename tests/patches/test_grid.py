"""The patch grid, with numbers derived by hand from a box of tissue."""

import numpy as np
import pytest
import shapely

from sammil_cli.errors import SlideError
from sammil_cli.patches.grid import PatchGrid, coverage, make_grid
from sammil_cli.tissue.mask import TissueMask

SLIDE_PX = (400, 300)


def tissue(
    *shapes: shapely.Polygon, mpp: float = 1.0, bounds_px: tuple[int, int, int, int] = (0, 0, *SLIDE_PX)
) -> TissueMask:
    return TissueMask(
        slide_id="s",
        polygons=shapely.MultiPolygon(shapes),
        slide_mpp=mpp,
        slide_size_px=SLIDE_PX,
        bounds_px=bounds_px,
    )


# With patches of 64 px the box covers of column 1 a half, 2 to 4 all, 5 a quarter;
# of row 0 three eighths, 1 and 2 all, 3 one eighth. The share in a patch is the product.
BOX = shapely.box(96, 40, 336, 200)


def corners(grid: PatchGrid) -> list[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in grid.xy]


def test_patches_with_a_quarter_of_tissue_are_kept_row_by_row() -> None:
    grid = make_grid(tissue(BOX), patch_px=64, patch_mpp=None, min_tissue=0.25)
    assert corners(grid) == [
        *((x, 0) for x in (128, 192, 256)),
        *((x, 64) for x in (64, 128, 192, 256, 320)),
        *((x, 128) for x in (64, 128, 192, 256, 320)),
    ]
    assert grid.xy.dtype == np.int32
    assert (grid.patch_px, grid.patch_px_level0, grid.patch_mpp, grid.slide_mpp) == (64, 64, 1.0, 1.0)
    assert (grid.slide_id, grid.slide_size_px, grid.bounds_px) == ("s", SLIDE_PX, (0, 0, *SLIDE_PX))


def test_at_0_every_patch_that_touches_tissue_is_kept() -> None:
    grid = make_grid(tissue(BOX), patch_px=64, patch_mpp=None, min_tissue=0)
    assert corners(grid) == [(x, y) for y in (0, 64, 128, 192) for x in (64, 128, 192, 256, 320)]


def test_at_1_only_patches_full_of_tissue_are_kept() -> None:
    grid = make_grid(tissue(BOX), patch_px=64, patch_mpp=None, min_tissue=1)
    assert corners(grid) == [(x, y) for y in (64, 128) for x in (128, 192, 256)]


@pytest.mark.parametrize(("min_tissue", "kept"), [(0.09, 20 - 2), (0.125, 20 - 3), (0.126, 20 - 6), (0.51, 6)])
def test_the_share_itself_is_enough(min_tissue: float, kept: int) -> None:
    # Shares: 1/16 at column 1 row 3, 1/32 at column 5 row 3, 3/32 at 5/0, 3/16 at 1/0, 1/8 at 2-4/3, 3/8 at 2-4/0.
    assert len(make_grid(tissue(BOX), patch_px=64, patch_mpp=None, min_tissue=min_tissue).xy) == kept


def test_holes_are_no_tissue() -> None:
    hollow = BOX.difference(shapely.box(136, 72, 184, 120))  # 48 x 48 of the patch at 128, 64: 28/64 are left
    for min_tissue, there in ((0.43, True), (0.44, False)):
        grid = make_grid(tissue(hollow), patch_px=64, patch_mpp=None, min_tissue=min_tissue)
        assert ((128, 64) in corners(grid)) is there


def test_the_grid_starts_at_the_corner_of_the_scanned_area() -> None:
    everywhere = shapely.box(0, 0, *SLIDE_PX)
    grid = make_grid(tissue(everywhere, bounds_px=(10, 6, 300, 200)), patch_px=64, patch_mpp=None, min_tissue=0.25)
    assert corners(grid) == [(x, y) for y in (6, 70, 134) for x in (10, 74, 138, 202)]
    assert grid.bounds_px == (10, 6, 300, 200)


def test_the_last_cut_patches_are_left_out_also_where_the_bounds_are_wrong() -> None:
    everywhere = shapely.box(0, 0, *SLIDE_PX)
    grid = make_grid(tissue(everywhere), patch_px=64, patch_mpp=None, min_tissue=0)
    assert len(grid.xy) == 6 * 4  # 400 // 64, 300 // 64
    assert grid.xy.max(axis=0).tolist() == [320, 192]
    grid = make_grid(tissue(everywhere, bounds_px=(50, 20, 999, 999)), patch_px=64, patch_mpp=None, min_tissue=0)
    assert grid.xy.max(axis=0).tolist() == [50 + 4 * 64, 20 + 3 * 64]


@pytest.mark.parametrize(
    ("slide_mpp", "patch_px", "patch_mpp", "side"),
    [(0.25, 64, 0.5, 128), (0.4, 100, 0.5, 125), (0.2527, 64, 0.5, 127), (0.5, 64, 0.5, 64), (0.503, 64, 0.5, 64)],
)
def test_the_side_on_the_slide_follows_from_the_resolutions(
    slide_mpp: float, patch_px: int, patch_mpp: float, side: int
) -> None:
    grid = make_grid(tissue(BOX, mpp=slide_mpp), patch_px=patch_px, patch_mpp=patch_mpp, min_tissue=0)
    assert (grid.patch_px_level0, grid.patch_px, grid.patch_mpp) == (side, patch_px, patch_mpp)
    assert (grid.xy % side == 0).all()


def test_a_slide_coarser_than_asked_is_set_aside() -> None:
    with pytest.raises(SlideError, match=r"0\.5 µm per pixel, coarser than patch_mpp 0\.25") as caught:
        make_grid(tissue(BOX, mpp=0.5), patch_px=64, patch_mpp=0.25, min_tissue=0)
    assert (caught.value.code, caught.value.set_aside) == ("E_COARSE", True)
    assert "patch_mpp" in caught.value.remedy


def test_a_slide_without_a_patch_of_tissue_is_set_aside() -> None:
    with pytest.raises(
        SlideError, match="none of the 24 grid places of 64 level-0 px is at least 90% tissue"
    ) as caught:
        make_grid(tissue(shapely.box(100, 40, 160, 100)), patch_px=64, patch_mpp=None, min_tissue=0.9)
    assert (caught.value.code, caught.value.set_aside) == ("E_NO_PATCH", True)
    assert "patch_min_tissue" in caught.value.remedy


def test_a_slide_smaller_than_a_patch_is_set_aside() -> None:
    with pytest.raises(SlideError, match="none of the 0 grid places") as caught:
        make_grid(tissue(BOX), patch_px=512, patch_mpp=None, min_tissue=0)
    assert caught.value.code == "E_NO_PATCH"


def test_coverage_counts_the_cells_of_each_block() -> None:
    mask = np.zeros((4, 6), bool)
    mask[0, 1:5] = True
    mask[3, 0] = True
    assert coverage(mask, 2).tolist() == [[0.25, 0.5, 0.25], [0.25, 0, 0]]
    assert coverage(mask[:, :4], 4).tolist() == [[4 / 16]]
    assert coverage(np.ones((6, 3), bool), 3).tolist() == [[1], [1]]
    assert coverage(np.zeros((0, 16), bool), 8).shape == (0, 2)


def test_coverage_agrees_with_plain_sums_on_random_masks() -> None:
    mask = np.random.default_rng(2).random((40, 56)) < 0.3
    expected = mask.reshape(5, 8, 7, 8).mean(axis=(1, 3))
    np.testing.assert_allclose(coverage(mask, 8), expected)
