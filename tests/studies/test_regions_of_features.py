"""`sammil ablate --tables regions` of features in hand: without a slide, tissue is what the bags' patches cover."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoded_project import PATCHES, SLIDES, make_project
from inline_executor import open_inline
from test_region_ablation import BARE, QUICK, TABLE, draw_lesion, record

from sammil_cli.features.bag import read_bag, write_bag
from sammil_cli.jobs.placed_bag import PlacedBag
from sammil_cli.project.in_hand import InHand
from sammil_cli.project.pipeline import render_dvc
from sammil_cli.regions.file import read_regions
from sammil_cli.runner import per_slide
from sammil_cli.storage.paths import BagPath, SlidePath

Sammil = Callable[..., Any]
ONCE = ("-S", "repeats=1", "-S", "epochs=1", "-S", "feature_region_patches=6")
FEW = SLIDES[:8]
COLUMNS = 6


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inline_training: None) -> Path:
    """Bags whose patches fill a grid of 6 x 4, but for their last row's middle; nobody knows their µm per pixel."""
    folder = make_project(tmp_path / "project", QUICK)
    (folder / "dvc.yaml").write_text(render_dvc(demo=False, in_hand=InHand(folders=("a",))), encoding="utf-8")
    row, column = np.divmod(np.arange(PATCHES), COLUMNS)
    column[-3:] += COLUMNS
    xy = np.stack([column, row], 1).astype(np.int32) * 128
    rows = (folder / "data/labels.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "data/labels.csv").write_text("".join(rows[: 1 + len(FEW)]), encoding="utf-8")
    for slide in SLIDES:
        path = BagPath(folder / f"artifacts/bags/{slide}.h5")
        bag = read_bag(path)
        write_bag(path, replace(bag, xy=xy, encoder=replace(bag.encoder, patch_mpp=np.nan)), {"step": "extract"})
    monkeypatch.chdir(folder)
    monkeypatch.setattr(per_slide, "open_executor", open_inline)
    return folder


def test_regions_are_found_in_the_features_and_the_placebo_moves_them_over_the_patches(
    project: Path, sammil: Sammil
) -> None:
    draw_lesion(project, SLIDES[1], 0, 0, 2, 2)
    answer = sammil(*TABLE, *ONCE)
    assert answer.code == 0, answer
    assert "reference: features; superpixels, which params.yaml names, is not compared" in answer.out
    told = record(project)
    names = ["no regions", "placebo", "features", "true regions", "same model, other seed"]
    assert [row["variant"] for row in told["tables"][0]["rows"]] == names
    assert told["regions"]["slides"] == FEW
    assert told["tables"][3]["rows"][0]["area, after / before"] == "1.000 [1.000, 1.000]"
    runs = project / "runs/ablation/regions"
    somewhere_else = 0
    for slide in FEW:
        before, moved = (read_regions(runs / f"{row}/regions/{slide}.h5") for row in ("features", "placebo"))
        np.testing.assert_array_equal(moved.area_px, before.area_px)
        somewhere_else += (moved.labels() != before.labels()).any()
        on_patches = before.labels() >= 0  # every patch has a region
        assert on_patches.sum() == PATCHES * (128 / before.canvas.downsample) ** 2
        assert not (moved.labels()[~on_patches] >= 0).any()
    assert somewhere_else
    true = read_bag(BagPath(runs / f"true-regions/bags/{SLIDES[1]}.h5"))
    in_lesion = (true.xy < 256).all(1)
    assert len({*true.region[in_lesion]} | {*true.region[~in_lesion]}) > len({*true.region[~in_lesion]})


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--proposers", "superpixels"), 2, "superpixels cannot run: the slide folder data/slides does not exist"),
        (("--proposers", "superpixels"), 2, "or leave it out: --proposers features"),
        (("--proposers", "geojson"), 3, "draw its regions in QuPath and export them as GeoJSON to that file; or leave"),
        (("--controls", "true"), 2, "outline lesions in QuPath and export them as data/lesions/<slide>.geojson"),
        (("-S", "folds=1"), 2, "folds: 1 trains on all slides, and none is left to compare models on"),
    ],
)
def test_what_cannot_be_done_without_slides_is_refused_with_its_fix(
    project: Path, sammil: Sammil, words: tuple[str, ...], code: int, said: str
) -> None:
    answer = sammil(*TABLE, *words)
    assert answer.code == code, answer
    assert said in answer.err
    assert not (project / "runs").exists()


def test_bags_without_tissue_in_a_project_of_slides_are_refused(project: Path, sammil: Sammil) -> None:
    (project / "dvc.yaml").write_text(render_dvc(demo=False), encoding="utf-8")
    answer = sammil(*BARE, "--proposers", "features")
    assert answer.code == 2
    assert "there is no tissue of the labelled slides in artifacts/tissue" in answer.err
    assert "sammil init . --update --from-features FOLDER" in answer.err


def test_bags_without_coordinates_are_refused_in_the_words_of_the_bag(project: Path, sammil: Sammil) -> None:
    for path in (BagPath(project / f"artifacts/bags/{slide}.h5") for slide in SLIDES):
        bag = read_bag(path)
        write_bag(path, replace(bag, xy=np.full_like(bag.xy, -1)), {"step": "extract"})
    answer = sammil(*TABLE, *ONCE)
    assert answer.code == 2
    assert "slide_00: features: E_INPUT its bag has no coordinates of patches" in answer.err
    assert "fix: convert its features with their coordinates" in answer.err


def test_a_slide_that_is_here_says_how_large_it_is(project: Path, asymmetric_slide: Path) -> None:
    bag = BagPath(project / f"artifacts/bags/{SLIDES[0]}.h5")
    alone = PlacedBag(bag=bag, slide=None, tissue=None, mpp=None, scene=None)
    tissue, beside = alone.read_tissue(), replace(alone, slide=SlidePath(asymmetric_slide)).read_tissue()
    assert (tissue.slide_size_px, np.isnan(tissue.slide_mpp)) == ((9 * 128 + 3 * 128, 4 * 128), True)
    assert (beside.slide_size_px, beside.slide_mpp) == ((640, 448), 2.0)
    assert tissue.polygons.equals(beside.polygons)
    assert tissue.polygons.area == PATCHES * 128**2
