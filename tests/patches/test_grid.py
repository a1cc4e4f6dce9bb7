"""The patch grid, with numbers derived by hand from a box of tissue."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.patches import grid as grid_module
from sammil_cli.patches import places as places_module
from sammil_cli.patches.grid import GridSpec, PatchGrid, describe
from sammil_cli.tissue.artefact_maps import ArtefactMaps
from sammil_cli.tissue.mask import TissueMask

SLIDE_PX = (400, 300)


def tissue(
    *shapes: shapely.Polygon, mpp: float = 1.0, bounds_px: tuple[int, int, int, int] = (0, 0, *SLIDE_PX)
) -> TissueMask:
    return TissueMask(
        slide_id="s", polygons=shapely.MultiPolygon(shapes), slide_mpp=mpp, slide_size_px=SLIDE_PX, bounds_px=bounds_px
    )


def make_grid(
    mask: TissueMask, *, roi: shapely.MultiPolygon | None = None, artefacts: ArtefactMaps | None = None, **spec: Any
) -> PatchGrid:
    return grid_module.make_grid(mask, GridSpec(**spec), roi=roi, artefacts=artefacts)


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
    with pytest.raises(SlideError, match=r"no whole patch of 512 level-0 px fits into .* 400 x 300 px") as caught:
        make_grid(tissue(BOX), patch_px=512, patch_mpp=None, min_tissue=0)
    assert caught.value.code == "E_SMALL"
    assert "patch_px" in caught.value.remedy


def test_patches_that_overlap_by_half_stand_at_every_half_side() -> None:
    grid = make_grid(tissue(BOX), patch_px=64, patch_mpp=None, min_tissue=1, overlap=0.5)
    # BOX is 96..336 x 40..200; corners at multiples of 32 with the whole patch inside: x 96..272, y 40..136.
    assert corners(grid) == [(x, y) for y in (64, 96, 128) for x in (96, 128, 160, 192, 224, 256)]
    assert (grid.patch_px_level0, grid.step_px_level0) == (64, 32)


def test_the_step_is_rounded_once_and_the_last_patch_still_fits() -> None:
    everywhere = shapely.box(0, 0, *SLIDE_PX)
    grid = make_grid(tissue(everywhere), patch_px=50, patch_mpp=None, min_tissue=1, overlap=0.33)
    assert grid.step_px_level0 == 34  # 33.5, rounded to even
    assert sorted(set(grid.xy[:, 0].tolist())) == list(range(0, 351, 34))  # 340 + 50 <= 400
    assert sorted(set(grid.xy[:, 1].tolist())) == list(range(0, 251, 34))  # 238 + 50 <= 300


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.4, 0.5, 0.73])
@pytest.mark.parametrize("side", [40, 64])
def test_shares_agree_with_a_fine_raster_of_ragged_tissue(
    overlap: float, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(side)
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radius = rng.uniform(70, 130, 40)
    outline = np.stack([190 + radius * np.cos(angle), 150 + radius * np.sin(angle)], 1)
    shape = shapely.Polygon(outline, [[(180, 140), (215, 150), (190, 190)]])
    slide = tissue(shape, bounds_px=(3, 5, 390, 290))
    monkeypatch.setattr(places_module, "_VALUES_AT_ONCE", 500)  # several strips
    grid = make_grid(slide, patch_px=side, patch_mpp=None, min_tissue=0.3, overlap=overlap)
    fine = slide.raster((0, 0), 0.25, (1200, 1600))
    step = grid.step_px_level0
    assert step is not None
    wanted = {
        (x, y): fine[4 * y : 4 * (y + side), 4 * x : 4 * (x + side)].mean()
        for y in range(5, 295 - side + 1, step)
        for x in range(3, 393 - side + 1, step)
    }
    assert len(wanted) == grid.waterfall["grid"]
    shares = dict(zip(corners(grid), grid.scores["tissue"].tolist(), strict=True))
    wrong = np.array([wanted[place] - share for place, share in shares.items()])
    assert np.abs(wrong).max() < 1 / 32  # half of the distance between two lines
    assert np.abs(wrong).mean() < 0.004
    assert {place for place, share in wanted.items() if share > 0.3 + 1 / 32} <= set(shares)
    assert {place for place, share in wanted.items() if share < 0.3 - 1 / 32}.isdisjoint(shares)
    assert corners(grid) == sorted(corners(grid), key=lambda place: (place[1], place[0]))


def test_a_region_of_interest_cuts_the_tissue() -> None:
    roi = shapely.MultiPolygon([shapely.box(0, 0, 224, 300)])  # of the patch at 192 a half
    grid = make_grid(tissue(BOX), patch_px=64, patch_mpp=None, min_tissue=0.5, roi=roi)
    assert corners(grid) == [(x, y) for y in (64, 128) for x in (64, 128, 192)]
    assert dict(grid.waterfall) == {"grid": 24, "tissue": 8, "roi": 6, "kept": 6}


def test_a_region_of_interest_beside_the_tissue_has_its_own_code() -> None:
    roi = shapely.MultiPolygon([shapely.box(0, 0, 90, 300)])
    with pytest.raises(SlideError, match="grid 24 → tissue 8 → roi 0") as caught:
        make_grid(tissue(BOX), patch_px=64, patch_mpp=None, min_tissue=0.5, roi=roi)
    assert caught.value.code == "E_ROI"


def maps(**shares: NDArray[np.uint8]) -> ArtefactMaps:
    """Artefact maps of 32 px cells over the slide, nothing where not given."""
    nothing = np.zeros((10, 13), np.uint8)
    filled = {name: shares.get(name, nothing) for name in ("blank", "pen", "dark", "blur")}
    return ArtefactMaps(**filled, cell_px0=(32.0, 32.0), mpp=8.0)


def test_scores_are_shares_by_area_also_of_patches_across_cells() -> None:
    pen = np.zeros((10, 13), np.uint8)
    pen[2:4, 4:6] = 255  # x 128..192, y 64..128
    pen[4, 6] = 51  # a fifth
    slide, keep = tissue(BOX, bounds_px=(16, 0, 380, 300)), {"patch_px": 64, "patch_mpp": None, "min_tissue": 0.9}
    grid = make_grid(slide, **keep, artefacts=maps(pen=pen))
    found = dict(zip(corners(grid), grid.scores["pen"].tolist(), strict=True))
    assert found[144, 64] == pytest.approx(48 / 64, abs=1e-3)  # columns from 144: 48 of 64 px are pen
    assert found[144, 128] == pytest.approx(0.2 * 16 * 32 / 64**2, abs=1e-4)
    assert found[208, 128] == pytest.approx(0.2 * 16 * 32 / 64**2, abs=1e-4)
    assert found[208, 64] == 0
    assert all(values.dtype == np.float16 and len(values) == len(grid.xy) for values in grid.scores.values())


def test_blur_counts_by_what_is_not_blank() -> None:
    blank, blur = np.zeros((10, 13), np.uint8), np.zeros((10, 13), np.uint8)
    blank[2:4, 4], blur[2:4, 4] = 204, 255  # of the patch at 128, 64: a half with a fifth of tissue, all blurred
    grid = make_grid(tissue(BOX), patch_px=64, patch_mpp=None, min_tissue=0.9, artefacts=maps(blank=blank, blur=blur))
    found = dict(zip(corners(grid), grid.scores["blur"].tolist(), strict=True))
    assert found[128, 64] == pytest.approx(0.2 / 1.2, abs=1e-3)
    assert found[192, 64] == 0


def test_each_threshold_takes_its_patches_in_order_and_at_1_none() -> None:
    pen, dark = np.zeros((10, 13), np.uint8), np.full((10, 13), 255, np.uint8)
    pen[2:4, 4:6] = 255
    keep = {"patch_px": 64, "patch_mpp": None, "min_tissue": 0.9, "artefacts": maps(pen=pen, dark=dark)}
    assert dict(make_grid(tissue(BOX), **keep, limits={"pen": 1.0, "dark": 1.0}).waterfall) == {
        "grid": 24,
        "tissue": 6,
        "kept": 6,
    }
    grid = make_grid(tissue(BOX), **keep, limits={"pen": 0.99})
    assert (128, 64) not in corners(grid)
    assert describe(grid.waterfall) == "grid 24 → tissue 6 → pen 5 → kept 5"


@pytest.mark.parametrize("name", ["blank", "pen", "dark", "blur"])
def test_an_artefact_that_leaves_nothing_names_itself_and_its_setting(name: str) -> None:
    full = {name: np.full((10, 13), 128, np.uint8)}
    with pytest.raises(SlideError, match=rf"has {name} of at most 0\.3 .*{name} 0 → kept 0") as caught:
        make_grid(tissue(BOX), patch_px=64, patch_mpp=None, min_tissue=0.5, artefacts=maps(**full), limits={name: 0.3})
    assert (caught.value.code, caught.value.set_aside) == ("E_ARTEFACTS", True)
    assert f"patch_max_{name}" in caught.value.remedy


def test_a_grid_of_two_hundred_thousand_places_takes_little_memory() -> None:
    slide = TissueMask(
        slide_id="large",
        polygons=shapely.MultiPolygon([shapely.Point(50_000, 50_000).buffer(45_000, quad_segs=512)]),
        slide_mpp=0.25,
        slide_size_px=(100_000, 100_000),
        bounds_px=(0, 0, 100_000, 100_000),
    )
    tracemalloc.start()
    grid = make_grid(slide, patch_px=224, patch_mpp=None, min_tissue=0.5, overlap=0.1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    step = grid.step_px_level0
    assert step == 202
    assert len(grid.xy) == pytest.approx(np.pi * 45_000**2 / step**2, rel=0.01)
    assert peak < 300e6
