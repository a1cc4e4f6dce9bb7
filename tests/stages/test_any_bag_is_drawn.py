"""Any slide with a bag is drawn: without its slide, in no fold, by one model or by several together."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from csv_rows import by_slide, rows_of
from inline_executor import open_inline

from sammil_cli.config import VisualizeSettings
from sammil_cli.errors import InputError, SlideError
from sammil_cli.features.bag import read_bag, write_bag
from sammil_cli.features.places import patch_side
from sammil_cli.jobs import slide_picture, visualize
from sammil_cli.jobs.patch_map import map_patches
from sammil_cli.jobs.patch_scores import score_patches
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.report.slide_view import SlideView
from sammil_cli.runner import per_slide
from sammil_cli.stages.visualize import plan
from sammil_cli.storage.paths import BagPath, ModelPath

Sammil = Callable[..., Any]
BAGS = Path("artifacts/bags")


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(per_slide, "open_executor", open_inline)


def add_bag(name: str, **changes: Any) -> None:
    """A copy of a slide's bag under another name, as older features come: nothing says what made it."""
    bag = read_bag(BagPath(BAGS / "slide_0.h5"))
    write_bag(BagPath(BAGS / f"{name}.h5"), replace(bag, slide_id=name, **changes), {})


def test_features_without_slides_give_maps_and_one_without_places_says_so(done: Path, sammil: Sammil) -> None:
    for folder in ("data/slides", "artifacts/patches", "artifacts/regions", "report/slides"):
        shutil.rmtree(folder)
    bag = read_bag(BagPath(BAGS / "slide_1.h5"))
    write_bag(BagPath(BAGS / "slide_1.h5"), replace(bag, xy=np.full_like(bag.xy, -1)), {})
    Path("runs/models/manifest.json").unlink()  # knows the sum of that bag
    answer = sammil("visualize", "--json")
    assert answer.code == 1
    rows = {row["slide_id"]: row for row in json.loads(answer.out)["slides"]}
    assert {name: row["code"] for name, row in rows.items() if row["code"]} == {"slide_1": "E_BAG"}
    assert "does not say where its patches lie" in rows["slide_1"]["message"]
    assert rows["slide_0"]["remarks"] == ["no-slide: the picture is the map of its patches"]
    picture = cv2.imread("report/slides/slide_0.png")
    assert picture.std() > 5
    assert len(rows_of(Path("report/slides/slide_0.csv"))) == len(read_bag(BagPath(BAGS / "slide_0.h5")).xy)
    page = Path("report/slides/index.html").read_text(encoding="utf-8")
    assert "slide_0.png" in page


def test_the_map_lays_patches_where_they_are_and_colours_their_regions(done: Path) -> None:
    bag = read_bag(BagPath(BAGS / "slide_0.h5"))
    found = map_patches(bag)
    assert found.side == pytest.approx(40)
    grey = (found.ground == 214).all(axis=2)
    assert grey.sum() == pytest.approx(len(bag.xy) * found.side**2, rel=0.01)
    steps = (found.xy - found.xy[0]) / found.side * patch_side(bag.xy, bag.encoder.patch_px_level0)
    np.testing.assert_allclose(steps, bag.xy - bag.xy[0])
    assert len(np.unique(found.regions[grey], axis=0)) >= len(set(bag.region.tolist()) - {-1})
    huge = map_patches(replace(bag, xy=bag.xy * 1000))
    assert max(huge.ground.shape) <= 1401
    unknown = replace(bag, encoder=replace(bag.encoder, patch_px=0, patch_mpp=float("nan"), patch_px_level0=0))
    assert map_patches(unknown).side == pytest.approx(40)
    with pytest.raises(SlideError, match="where its patches lie"):
        map_patches(replace(bag, xy=np.full_like(bag.xy, -1)))


def test_a_slide_in_no_fold_is_drawn_by_the_mean_of_all_models(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_bag("unlabelled")
    views: list[SlideView] = []
    monkeypatch.setattr(slide_picture, "draw", lambda view: views.append(view) or b"")
    tasks = {task.slide_id: task for task in plan(Project(), VisualizeSettings(), RunOptions()).tasks}
    assert tasks.keys() == {"unlabelled", *(f"slide_{number}" for number in range(6))}
    visualize.work(tmp_path, {}, tasks["unlabelled"].job)
    heading = views[0].heading
    assert (heading.slide_id, heading.judged_by, heading.shown) == ("unlabelled", "sam-mil, mean of 3 models", "tumour")
    assert (heading.truth, heading.seen, heading.stamp) == (None, "not seen in training", None)
    bag = read_bag(BagPath(BAGS / "unlabelled.h5"))
    folders = [ModelPath(path) for path in sorted(Path("runs/models").glob("repeat_*"))]
    each = [score_patches(bag, folder) for folder in folders]
    np.testing.assert_allclose(views[0].attention, np.mean([one.attention for one in each], axis=0))
    np.testing.assert_allclose(views[0].evidence, np.mean([one.evidence[:, 1] for one in each], axis=0))
    together = score_patches(bag, *folders)
    assert together.probabilities[1] == pytest.approx(np.mean([one.probabilities[1] for one in each]))
    assert together.threshold == pytest.approx(np.mean([one.facts.calibrated_threshold for one in each]))
    assert views[0].threshold == pytest.approx(np.mean([one.facts.threshold for one in each]))  # of evidence


def test_where_every_slide_was_learned_from_nothing_is_drawn_and_that_is_an_error(done: Path, sammil: Sammil) -> None:
    Path("runs/models/manifest.json").unlink()
    table = Path("runs/splits.csv")
    lines = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join(line for line in lines if ",test," not in line) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="there is no slide to draw: all 6 were trained or chosen on") as caught:
        plan(Project(), VisualizeSettings(), RunOptions())
    assert "sammil visualize --by all" in caught.value.remedy


def test_bags_in_hand_are_judged_and_drawn_as_maps_elsewhere(
    done: Path, tmp_path: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_bag("placed")
    add_bag("unplaced", xy=np.full_like(read_bag(BagPath(BAGS / "slide_0.h5")).xy, -1))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    only = ("--only", "placed,unplaced,slide_0")
    answer = sammil("predict", done, "--bags", done / BAGS, "--out", "out", *only, "--device", "cpu")
    assert answer.code == 0, answer
    rows = by_slide(Path("out/process_lists/predict.csv"))
    assert "no-picture: it cannot be drawn" in rows["unplaced"]["remarks"]
    assert by_slide(Path("out/predictions.csv")).keys() == {"placed", "unplaced", "slide_0"}
    assert {path.stem for path in Path("out/slides").glob("*.png")} == {"placed", "slide_0"}
    assert {path.stem for path in Path("out/evidence").glob("*.geojson")} == {"placed", "slide_0"}
    assert not Path(".sammil").exists()
    for name in ("placed", "unplaced", "slide_0"):
        (done / BAGS / f"{name}.h5").write_bytes(b"cut")
    answer = sammil("predict", done, "--bags", done / BAGS, "--out", "out", *only, "--device", "cpu")
    assert answer.code == 2, answer
    left = {path.name for path in Path("out").rglob("*") if path.is_file() and "work" not in path.parts}
    assert left == {"predict.csv", "visualize.csv", "evidence.csv"}  # no verdict, page or picture of the call before
