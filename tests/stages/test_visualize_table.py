"""The numbers behind a picture: what each patch of a slide says."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import torch
from csv_rows import rows_of
from shapely.geometry import mapping

from sammil_cli.config import VisualizeSettings
from sammil_cli.features.bag import read_bag
from sammil_cli.jobs import slide_picture, visualize
from sammil_cli.jobs.slide_picture import _outlines
from sammil_cli.patches.file import read_patches, write_patches
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.report.slide_view import SlideView
from sammil_cli.stages.slides_index import write_index
from sammil_cli.stages.visualize import _stamp, plan
from sammil_cli.storage.paths import DrawingPath
from sammil_cli.storage.summed import write_summed
from sammil_cli.training.bags import to_tensors
from sammil_cli.training.fold import read_folds
from sammil_cli.training.thresholds import SELECTED_ON_TEST
from sammil_cli.training.trained_model import read_model


def test_a_slides_table_holds_what_the_model_that_did_not_see_it_says_of_each_patch(
    finished: tuple[Path, dict[str, Any]],
) -> None:
    folder = finished[0]
    for fold in read_folds(folder / "runs/splits.csv"):
        model, facts = read_model(folder / "runs/models" / fold.name, "cpu")
        for slide in fold.test:
            with (folder / f"report/slides/{slide}.csv").open(newline="", encoding="utf-8") as file:
                header, *rows = csv.reader(file)
            assert header == ["x", "y", "attention", *(f"evidence_{name}" for name in facts.classes)]
            bag = read_bag(folder / f"artifacts/bags/{slide}.h5")
            with torch.inference_mode():
                output = model(to_tensors(bag, "cpu"))
            table = np.array(rows, np.float64)
            np.testing.assert_array_equal(table[:, :2], bag.xy)
            assert len(output.attention) > len(table)  # group features are no patches
            np.testing.assert_allclose(table[:, 2], output.attention[: len(table)], rtol=1e-6)
            np.testing.assert_allclose(table[:, 3:], output.evidence[: len(table)], rtol=1e-6)


@pytest.mark.parametrize(("protocol", "stamp"), [("honest", None), ("paper", SELECTED_ON_TEST)])
def test_a_picture_shows_the_decision_of_the_table_and_how_its_model_was_chosen(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str, stamp: str | None
) -> None:
    facts = Path("runs/models/repeat_0_fold_0/model.json")
    write_summed(facts, json.loads(facts.read_text()) | {"protocol": protocol})
    Path("runs/models/manifest.json").unlink()
    views: list[SlideView] = []
    monkeypatch.setattr(slide_picture, "draw", lambda view: views.append(view) or b"")
    tasks = {task.slide_id: task for task in plan(Project(), VisualizeSettings(), RunOptions()).tasks}
    row = next(row for row in rows_of(Path("runs/predictions.csv")) if row["fold"] == "0")
    visualize.work(tmp_path, {}, tasks[row["slide_id"]].job)
    heading = views[0].heading
    assert (heading.slide_id, heading.judged_by, heading.truth) == (row["slide_id"], "sam-mil, fold 0.0", row["label"])
    assert (heading.stamp, heading.seen) == (stamp, "out of fold: not seen in training")
    assert heading.threshold == pytest.approx(float(row["threshold"]))
    assert views[0].threshold == pytest.approx(float(row["uncalibrated_threshold"]))  # evidence is not calibrated
    (probability, threshold), called = heading.texts, heading.called
    assert float(probability) == pytest.approx(float(row["probability_tumour"]), abs=6e-4)
    assert float(threshold) == pytest.approx(float(row["threshold"]), abs=6e-4)
    assert called == row["predicted"] == ("tumour" if float(probability) >= float(threshold) else "normal")
    write_index(Project(pictures=tmp_path), _stamp(Project()))
    assert (SELECTED_ON_TEST in (tmp_path / "index.html").read_text()) == (protocol == "paper")


def test_lesions_count_from_the_corner_that_qupath_counts_from_and_lose_what_is_ignored(tmp_path: Path) -> None:
    lesion, ignored = shapely.box(10, 20, 110, 90), shapely.box(90, 20, 110, 90)
    features = [
        {"geometry": mapping(shapely.GeometryCollection([lesion])), "properties": {}},
        {"geometry": mapping(ignored), "properties": {"classification": {"name": "Ignore*"}}},
        {"geometry": mapping(shapely.box(0, 0, 9, 9)), "id": "PathCellObject"},
    ]
    (tmp_path / "s.json").write_text(json.dumps(features))
    (ring,), remarks = _outlines(DrawingPath(tmp_path / "s.json"), (300, 40, 500, 400))
    assert shapely.Polygon(ring).equals(shapely.box(310, 60, 390, 130))
    assert remarks == ["edit: cells passed over: 1"]
    (tmp_path / "none.geojson").write_text("[]")  # a slide that is known to have no lesion
    assert _outlines(DrawingPath(tmp_path / "none.geojson"), (0, 0, 9, 9)) == ([], [])


def test_lesions_that_cannot_be_read_cost_their_slide_and_strays_are_named(
    done: Path, sammil: Callable[..., Any]
) -> None:
    Path("data/lesions").mkdir(exist_ok=True)
    for path in Path("data/lesions").iterdir():
        path.unlink()
    for name in ("slide_1.xml", "slide_2.tif", "slide-3.json"):
        Path("data/lesions", name).write_text("{}")
    answer = sammil("visualize", "--workers", 1, "--json")
    assert answer.code == 1
    rows = {row["slide_id"]: row for row in json.loads(answer.out)["slides"]}
    assert {slide: row["code"] for slide, row in rows.items() if row["code"]} == {"slide_1": "E_EDIT"}
    again = sammil("visualize", "--workers", 1)
    assert "passed over: data/lesions/slide_2.tif: a drawing is called" in again.out
    assert "there is no slide 'slide-3'; did you mean slide_3" in again.out


def test_the_index_leads_to_every_table(finished: tuple[Path, dict[str, Any]]) -> None:
    pictures = finished[0] / "report/slides"
    text = (pictures / "index.html").read_text(encoding="utf-8")
    tables = sorted(path.name for path in pictures.glob("*.csv"))
    assert [Path(name).stem for name in tables] == sorted(path.stem for path in pictures.glob("*.png")) != []
    assert [name for name in tables if f'href="{name}"' not in text] == []


def test_attention_on_pen_is_said_beside_the_patch_and_in_a_remark(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views: list[SlideView] = []
    monkeypatch.setattr(slide_picture, "draw", lambda view: views.append(view) or b"")
    (job,) = [
        task.job for task in plan(Project(), VisualizeSettings(), RunOptions()).tasks if task.slide_id == "slide_0"
    ]
    visualize.work(tmp_path, {}, job)
    clean = views[0].top[1].index
    assert {one.artefact for one in views[0].top} == {""}
    grid = read_patches(job.files.patches)
    pen = np.where(np.arange(len(grid.xy)) == clean, 0, 0.4).astype(np.float16)
    places, scores = np.vstack([grid.xy[:1] + 1, grid.xy]), np.append(np.float16(0), pen)
    write_patches(job.files.patches, replace(grid, xy=places, scores={"pen": scores}), {})  # one that is in no bag
    remarks = visualize.work(tmp_path, {}, job)
    assert [one.artefact for one in views[1].top[:3]] == ["pen 40%", "", "pen 40%"]
    attention = views[1].attention
    share, of_all = 1 - attention[clean] / attention.sum(), 1 - 1 / len(pen)
    assert f"looks-at-pen: {share:.0%} of the attention on patches with pen, {of_all:.0%} of all patches" in remarks
