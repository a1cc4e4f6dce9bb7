"""`sammil patch --images`: patches as the encoder gets them, kept while they are fresh, and readable as tiles."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from csv_rows import by_slide
from inline_executor import open_inline
from study_fixtures import set_params

from sammil_cli.errors import InputError
from sammil_cli.features.bag import read_bag
from sammil_cli.jobs.patch_images import chosen
from sammil_cli.patches.file import read_patches
from sammil_cli.patches.images import read_patch
from sammil_cli.runner import per_slide
from sammil_cli.slides.files import open_slide
from sammil_cli.stages import patch_images
from sammil_cli.storage.paths import BagPath, PatchesPath, SlidePath

Sammil = Callable[..., Any]
OUT = Path("artifacts/patch_images")
LIST = Path("artifacts/process_lists/patch-images.csv")
ONE = ("--workers", 1)


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (per_slide, patch_images):
        monkeypatch.setattr(module, "open_executor", open_inline)


def pictures(slide: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((OUT / slide).glob("*.png"))}


def statuses() -> dict[str, str]:
    return {slide: row["status"] for slide, row in by_slide(LIST).items()}


def test_pictures_are_the_pixels_of_the_patches_by_their_names(sammil: Sammil, study: Path) -> None:
    answer = sammil("patch", "--images", "all", "--only", "slide_0", *ONE)
    assert answer.code == 0, answer
    grid = read_patches(PatchesPath(Path("artifacts/patches/slide_0.h5")))
    assert f"{len(grid.xy)} pictures of 1 slide(s) take about" in answer.out
    assert len(pictures("slide_0")) == len(grid.xy) > 5
    with open_slide(SlidePath(Path("data/slides/slide_0.tif")), grid.slide_mpp) as slide:
        for index, (x, y) in enumerate(grid.xy):
            content = cv2.imread(str(OUT / f"slide_0/slide_0_x{x}_y{y}.png"))
            np.testing.assert_array_equal(content[..., ::-1], read_patch(slide, grid, index))


def test_patches_written_and_read_as_tiles_have_the_features_and_places_of_the_slide(
    sammil: Sammil, study: Path
) -> None:
    few = ("--only", "slide_0,slide_1", *ONE)
    for command in (("patch", "--images", "all"), ("sam",), ("extract",)):
        assert sammil(*command, *few).code == 0
    answer = sammil("tiles", OUT, "--out", "tiled", "-S", "tiles_mpp=1.0", *ONE)
    assert answer.code == 0, answer
    for slide in ("slide_0", "slide_1"):
        ours = read_bag(BagPath(Path(f"artifacts/bags/{slide}.h5")))
        tiled = read_bag(BagPath(Path(f"tiled/{slide}.h5")))
        np.testing.assert_array_equal(tiled.xy, ours.xy)
        np.testing.assert_array_equal(tiled.features, ours.features)
        assert tiled.encoder == ours.encoder


def test_what_is_fresh_stays_and_what_is_stale_goes(sammil: Sammil, study: Path) -> None:
    few = ("--only", "slide_0,slide_1", *ONE)
    assert sammil("patch", "--images", "4", *few).code == 0
    assert statuses() == {"slide_0": "done", "slide_1": "done"}
    before = {slide: pictures(slide) for slide in ("slide_0", "slide_1")}
    assert [len(found) for found in before.values()] == [4, 4]
    next(iter((OUT / "slide_1").glob("*.png"))).unlink()
    assert sammil("patch", "--images", "4", *few).code == 0
    assert statuses() == {"slide_0": "reused", "slide_1": "done"}
    assert {slide: pictures(slide) for slide in before} == before
    assert sammil("patch", "--images", "4", *few, "-S", "seed=1").code == 0
    assert pictures("slide_0").keys() != before["slide_0"].keys()
    set_params(study, patch_px=192)
    assert sammil("patch", "--images", "4", "--only", "slide_0", *ONE).code == 0
    assert cv2.imread(str(next(iter((OUT / "slide_0").glob("*.png"))))).shape == (192, 192, 3)
    assert len(pictures("slide_1")) == 4  # not asked for


def test_pictures_of_a_slide_that_is_gone_go_and_those_of_others_stay(sammil: Sammil, study: Path) -> None:
    assert sammil("patch", "--images", "1", *ONE).code == 0
    (OUT / "mine").mkdir()
    (OUT / "mine/a.png").write_bytes(b"mine")
    Path("data/slides/slide_5.tif").unlink()
    Path("data/slides/slide_4.tif").write_bytes(Path("data/slides/slide_3.tif").read_bytes())
    answer = sammil("patch", "--images", "1", *ONE)
    assert answer.code == 1
    assert by_slide(LIST)["slide_5"]["code"] == "E_UPSTREAM"
    assert by_slide(LIST)["slide_4"]["code"] == "E_UPSTREAM"  # another slide since its tissue was found
    assert sorted(path.name for path in OUT.iterdir()) == ["mine", "slide_0", "slide_1", "slide_2", "slide_3"]


def test_what_others_have_made_is_not_replaced(sammil: Sammil, study: Path) -> None:
    (OUT / "slide_0").mkdir(parents=True)
    (OUT / "slide_0/a.png").write_bytes(b"mine")
    answer = sammil("patch", "--images", "1", *ONE)
    assert (answer.code, "has not made" in answer.err, "--images-out" in answer.err) == (2, True, True)
    assert sammil("patch", "--images", "1", "--images-out", "elsewhere", *ONE).code == 0
    assert (OUT / "slide_0/a.png").read_bytes() == b"mine"


def test_an_interrupted_run_keeps_whole_slides_and_leaves_nothing_else(
    sammil: Sammil, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = patch_images._keep

    def interrupted(task: Any, *others: Any) -> Any:
        if task.slide_id == "slide_2":
            raise KeyboardInterrupt
        return keep(task, *others)

    monkeypatch.setattr(patch_images, "_keep", interrupted)
    assert sammil("patch", "--images", "2", *ONE).code == 130
    assert sorted(path.name for path in OUT.iterdir()) == ["slide_0", "slide_1"]
    assert statuses() == {"slide_0": "done", "slide_1": "done"}
    monkeypatch.undo()
    for module in (per_slide, patch_images):
        monkeypatch.setattr(module, "open_executor", open_inline)
    monkeypatch.chdir(study)
    assert sammil("patch", "--images", "2", *ONE).code == 0
    assert [statuses()[f"slide_{number}"] for number in range(3)] == ["reused", "reused", "done"]


def test_more_than_the_disk_has_room_for_is_refused_before_any_work(
    sammil: Sammil, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patch_images, "_SHARE", 1e12)
    answer = sammil("patch", "--images", "all", *ONE)
    assert (answer.code, "are free in" in answer.err) == (2, True), answer
    assert not OUT.exists()


@pytest.mark.parametrize("text", ["0", "-1", "some", "", "1.5", "²"])
def test_what_is_no_number_of_pictures_is_refused(sammil: Sammil, study: Path, text: str) -> None:
    with pytest.raises(InputError, match="neither a number"):
        patch_images.read_count(text)


def test_the_drawn_ones_are_spread_over_the_whole_grid() -> None:
    drawn = chosen(1000, 10, 7, "a")
    assert (drawn // 100).tolist() == list(range(10))
    assert drawn.tolist() == chosen(1000, 10, 7, "a").tolist()
    assert drawn.tolist() != chosen(1000, 10, 8, "a").tolist() != chosen(1000, 10, 8, "b").tolist()
    assert chosen(3, 10, 7, "a").tolist() == chosen(3, None, 7, "a").tolist() == [0, 1, 2]
