"""sammil extract where tiles of a slide were never stored: amid the tissue, or on the glass beside it."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from slide_maker import COHORT_MPP, draw_tissue, leave_out_tiles, write_pyramid

from sammil_cli.config import ExtractSettings
from sammil_cli.errors import SlideError
from sammil_cli.features.bag import read_bag
from sammil_cli.patches.file import read_patches
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner import earlier_files
from sammil_cli.runner.worker import attempt
from sammil_cli.stages import extract

SLIDE, TILE_PX = "slide_0", 96  # patches of 128 px: most tiles lie in several of them
SLIDE_PATH, GRID_PATH = Path(f"data/slides/{SLIDE}.tif"), Path(f"artifacts/patches/{SLIDE}.h5")


@pytest.fixture(autouse=True)
def segmented(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if segment had met the slides as these tests leave them."""
    monkeypatch.setattr(earlier_files, "_made_from_another", lambda identity, files: None)


def draw() -> NDArray[np.uint8]:
    rgb = draw_tissue(seed=0, tumour=False)
    write_pyramid(SLIDE_PATH, rgb, mpp=COHORT_MPP, downsamples=(1, 4), tile_px=TILE_PX)
    return rgb


def encode(folder: Path, share: float = 0.0) -> list[str]:
    folder.mkdir()
    settings = ExtractSettings(encoder="texture", unreadable_share=share)
    plan = extract.plan(Project(), settings, RunOptions(device="cpu", only=frozenset({SLIDE})))
    (task,) = plan.tasks
    remarks = attempt((plan.work.__module__, plan.work.__name__), (folder, {}, task.job)).value
    return list(remarks)


def test_patches_over_a_tile_of_tissue_that_was_never_stored_count_as_unreadable(done: Path, tmp_path: Path) -> None:
    across = -(-draw().shape[1] // TILE_PX)
    column, row = 6, 2  # amid the large piece, right of its hole
    leave_out_tiles(SLIDE_PATH, 0, [row * across + column])
    grid, corner = read_patches(GRID_PATH), np.array([column, row]) * TILE_PX
    touching = ((grid.xy < corner + TILE_PX) & (grid.xy + grid.patch_px_level0 > corner)).all(axis=1)
    lost = np.flatnonzero(touching)
    assert len(lost) == 4
    said = f"4 of {len(grid.xy)} patches need tiles inside tissue that the file does not hold, the first at "
    said += f"x={grid.xy[lost[0]][0]}, y={grid.xy[lost[0]][1]}"
    with pytest.raises(SlideError) as caught:
        encode(tmp_path / "refused")
    assert (caught.value.code, caught.value.message) == ("E_READ", said)
    assert "scan the slide again" in caught.value.remedy
    assert list((tmp_path / "refused").iterdir()) == []
    remarks = encode(tmp_path / "out", 0.2)
    assert remarks[:2] == [f"unreadable: 4 of {len(grid.xy)} patches are left out", f"never-stored: {said}"]
    np.testing.assert_array_equal(read_bag(tmp_path / f"out/{SLIDE}.h5").xy, grid.xy[~touching])


def test_tiles_of_bare_glass_may_be_left_out(done: Path, tmp_path: Path) -> None:
    rgb = draw()
    encode(tmp_path / "whole")
    across, down = -(-rgb.shape[1] // TILE_PX), -(-rgb.shape[0] // TILE_PX)
    tissue = rgb[..., 1] < 225
    bare = [
        row * across + column
        for row in range(down)
        for column in range(across)
        if not tissue[row * TILE_PX : (row + 1) * TILE_PX, column * TILE_PX : (column + 1) * TILE_PX].any()
    ]
    assert 20 < len(bare) < across * down
    leave_out_tiles(SLIDE_PATH, 0, bare)
    assert not any(remark.startswith(("unreadable", "never-stored")) for remark in encode(tmp_path / "sparse"))
    whole, sparse = (read_bag(tmp_path / f"{name}/{SLIDE}.h5") for name in ("whole", "sparse"))
    np.testing.assert_array_equal(sparse.xy, whole.xy)


def test_the_map_of_glass_is_part_of_the_key(done: Path) -> None:
    def key() -> object:
        options = RunOptions(device="cpu", only=frozenset({SLIDE}))
        return extract.plan(Project(), ExtractSettings(encoder="texture"), options).tasks[0].key

    before = key()
    Path(f"artifacts/tissue/{SLIDE}.h5").unlink()
    assert key() != before
