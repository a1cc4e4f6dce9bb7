"""The area that eq. 7 takes, through the stages: whatever the canvas, bags count pixels of the paper's."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from sammil_cli.regions.file import read_regions, write_regions
from sammil_cli.regions.region_map import Proposal, RegionMap, build
from sammil_cli.regions.region_mask import RegionMask

pytestmark = pytest.mark.usefixtures("inline_slides")

Sammil = Callable[..., Any]
SLIDE = "slide_2"  # 1200 x 900 px, its tissue is 1064 px wide, so the paper shrinks it by 2
AT = ("--only", SLIDE, "--workers", 1)


@pytest.fixture
def patched(study: Path, sammil: Sammil) -> Path:
    assert sammil("patch", *AT).code == 0
    return study


def regions_of(study: Path, sammil: Sammil, canvas_px: int) -> RegionMap:
    assert sammil("sam", *AT, "-S", f"sam_canvas_px={canvas_px}").code == 0
    return read_regions(study / f"artifacts/regions/{SLIDE}.h5")


def areas_in_bag(study: Path, sammil: Sammil) -> list[int]:
    shutil.rmtree(study / "artifacts/bags", ignore_errors=True)
    assert sammil("extract", *AT).code == 0
    with h5py.File(study / f"artifacts/bags/{SLIDE}.h5") as bag:
        areas: list[int] = bag["region_area"][()].tolist()
    return areas


def test_on_the_papers_canvas_the_area_is_the_regions_own(patched: Path, sammil: Sammil) -> None:
    regions = regions_of(patched, sammil, 1024)
    assert regions.canvas.downsample == 2
    assert areas_in_bag(patched, sammil) == regions.area_px.tolist() != []


def test_the_same_regions_on_a_canvas_twice_as_fine_keep_their_area(patched: Path, sammil: Sammil) -> None:
    coarse, path = regions_of(patched, sammil, 1024), patched / f"artifacts/regions/{SLIDE}.h5"
    masks = [
        np.kron(coarse.mask(region).within((0, 0, *coarse.canvas.size_px)), np.ones((2, 2), bool))
        for region in range(len(coarse))
    ]
    canvas = regions_of(patched, sammil, 2048).canvas
    width, height = canvas.size_px
    assert canvas.downsample == 1
    fine = build(SLIDE, canvas, [Proposal(mask=RegionMask.of(mask[:height, :width])) for mask in masks])
    np.testing.assert_allclose(fine.area_px, 4 * coarse.area_px, rtol=0.01)  # a last odd column is cut
    write_regions(path, fine, {})
    np.testing.assert_allclose(areas_in_bag(patched, sammil), coarse.area_px, rtol=0.01)


def test_on_a_coarser_canvas_a_pixel_counts_for_sixteen(patched: Path, sammil: Sammil) -> None:
    regions = regions_of(patched, sammil, 320)
    assert regions.canvas.downsample == 4
    assert areas_in_bag(patched, sammil) == (4 * regions.area_px).tolist() != []
