"""sammil extract where a slide is damaged in places, and what it imports where there is nothing to encode."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from slide_maker import COHORT_MPP, draw_tissue, overwrite_tiles, write_pyramid

from sammil_cli.config import ExtractSettings
from sammil_cli.errors import SlideError
from sammil_cli.features.bag import read_bag
from sammil_cli.patches.file import read_patches
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner import earlier_files
from sammil_cli.runner.worker import attempt
from sammil_cli.stages import extract

SLIDE, TILE_PX = "slide_0", 128
CALL = """
import sys
sys.argv = ["sammil", "extract", "--device", "cpu", "--workers", "1"]
from sammil_cli.cli.app import main
try:
    main()
finally:
    print("torch" in sys.modules)
"""


@pytest.fixture(autouse=True)
def segmented(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if segment had met the slides as these tests leave them."""
    monkeypatch.setattr(earlier_files, "_made_from_another", lambda identity, files: None)


@pytest.fixture
def damaged(done: Path) -> list[int]:
    """The patches of a slide that touch its one tile which cannot be decoded; the tile lies amid the tissue."""
    path = done / f"data/slides/{SLIDE}.tif"
    rgb = draw_tissue(seed=0, tumour=False)
    write_pyramid(path, rgb, mpp=COHORT_MPP, downsamples=(1, 4), tile_px=TILE_PX, compression="jpeg")
    grid = read_patches(Path(f"artifacts/patches/{SLIDE}.h5"))
    column, row = grid.xy[len(grid.xy) // 2] // TILE_PX
    index = int(row) * -(-rgb.shape[1] // TILE_PX) + int(column)
    overwrite_tiles(path, 0, slice(index, index + 1))
    corner = np.array([column, row]) * TILE_PX
    touching = (grid.xy < corner + TILE_PX) & (grid.xy + grid.patch_px_level0 > corner)
    return [int(i) for i in np.flatnonzero(touching.all(axis=1))]


def encode(folder: Path, settings: ExtractSettings) -> list[str]:
    """The remarks on the slide, encoded into a folder by a worker's function in this process."""
    folder.mkdir()
    plan = extract.plan(Project(), settings, RunOptions(device="cpu", only=frozenset({SLIDE})))
    (task,) = plan.tasks
    remarks = attempt((plan.work.__module__, plan.work.__name__), (folder, {}, task.job)).value
    return list(remarks)


def test_a_slide_that_is_damaged_in_places_is_refused_with_the_share(damaged: list[int], tmp_path: Path) -> None:
    grid = read_patches(Path(f"artifacts/patches/{SLIDE}.h5"))
    first = grid.xy[damaged[0]]
    with pytest.raises(SlideError) as caught:
        encode(tmp_path / "out", ExtractSettings(encoder="texture"))
    assert caught.value.code == "E_READ"
    said = f"{len(damaged)} of {len(grid.xy)} patches cannot be decoded, the first at x={first[0]}, y={first[1]}"
    assert caught.value.message == said
    assert "unreadable_share" in caught.value.remedy
    assert list((tmp_path / "out").iterdir()) == []


def test_patches_that_cannot_be_decoded_may_be_left_out(damaged: list[int], tmp_path: Path) -> None:
    grid = read_patches(Path(f"artifacts/patches/{SLIDE}.h5"))
    assert 0 < len(damaged) <= 0.2 * len(grid.xy)
    remarks = encode(tmp_path / "out", ExtractSettings(encoder="texture", unreadable_share=0.2))
    assert remarks == [f"unreadable: {len(damaged)} of {len(grid.xy)} patches are left out"]
    bag = read_bag(tmp_path / f"out/{SLIDE}.h5")
    np.testing.assert_array_equal(bag.xy, np.delete(grid.xy, damaged, axis=0))
    assert len(bag.features) == len(bag.region) == len(bag.xy)
    assert bag.members.patch.max() < len(bag.xy)
    # The patches that are left are those of the same places, but for what JPEG loses.
    whole = read_bag(Path(f"artifacts/bags/{SLIDE}.h5")).features.astype(float)
    kept = np.delete(whole, damaged, axis=0)
    apart = np.linalg.norm(bag.features[:, None] - kept[None], axis=2)
    assert (apart.argmin(axis=1) == np.arange(len(kept))).mean() > 0.9


def test_an_encoder_without_torch_is_planned_without_torch(done: Path) -> None:
    said = subprocess.run([sys.executable, "-c", CALL], cwd=done, capture_output=True, text=True, timeout=60)
    assert "extract: 6 reused" in said.stdout, said.stderr
    assert said.stdout.splitlines()[-1] == "False"
