"""`sammil visualize --by`: who draws a slide, and what is said across the picture of one that they have seen."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from csv_rows import by_slide
from inline_executor import open_inline

from sammil_cli.config import VisualizeSettings
from sammil_cli.errors import InputError
from sammil_cli.features.bag import read_bag, write_bag
from sammil_cli.jobs import slide_picture, visualize
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.report.slide_view import SlideView
from sammil_cli.runner import per_slide
from sammil_cli.stages.slide_remarks import flags_of
from sammil_cli.stages.slides_index import write_index
from sammil_cli.stages.visualize import plan
from sammil_cli.storage.files import write_csv
from sammil_cli.storage.paths import BagPath
from sammil_cli.training.fold import read_folds

Sammil = Callable[..., Any]


def judges_of(by: str | None) -> dict[str, tuple[list[str], bool | None, str | None]]:
    """Models, whether they saw the slide, and its label, by slide."""
    tasks = plan(Project(), VisualizeSettings(), RunOptions(), by).tasks
    return {task.slide_id: ([path.name for path in task.job.trained], task.job.seen, task.job.truth) for task in tasks}


def test_who_draws_and_what_they_saw(done: Path) -> None:
    bag = read_bag(BagPath(Path("artifacts/bags/slide_0.h5")))
    write_bag(BagPath(Path("artifacts/bags/new.h5")), replace(bag, slide_id="new"), {})
    folds = read_folds(Path("runs/splits.csv"))
    names = sorted(fold.name for fold in folds)
    own = {slide: fold for fold in folds for slide in fold.test}
    usual, unseen, every = (judges_of(by) for by in (None, "unseen", "all"))
    assert usual.keys() == unseen.keys() == every.keys() == {*own, "new"}
    for found in (usual, unseen, every):
        assert found["new"] == (names, False, None)
    for slide, fold in own.items():
        assert usual[slide][:2] == ([fold.name], False)
        assert usual[slide][2] in ("normal", "tumour")
        blind = sorted(one.name for one in folds if slide not in (*one.train, *one.val))
        assert (sorted(unseen[slide][0]), unseen[slide][1]) == (blind, False)
        assert (sorted(every[slide][0]), every[slide][1]) == (names, len(names) > len(blind))
    first = folds[0]
    for by in (first.name, "0.0", "0"):
        found = judges_of(by)
        assert found.keys() == every.keys()
        assert all(models == [first.name] for models, *_ in found.values())
        assert {slide for slide, (_, seen, _) in found.items() if seen} == {*first.train, *first.val}
    with pytest.raises(InputError, match=r"there is no fold 0\.9: repeat_0_fold_0, ") as caught:
        judges_of("0.9")
    assert "--by all" in caught.value.remedy


def test_pictures_are_made_anew_when_others_draw_and_the_label_shows(done: Path) -> None:
    keys = [
        {task.slide_id: task.key for task in plan(Project(), VisualizeSettings(), RunOptions(), by).tasks}
        for by in (None, "0.0", "all")
    ]
    for slide in keys[0]:
        assert keys[0][slide] != keys[2][slide]
    relabelled = Path("runs/splits.csv").read_text().replace(",normal", ",benign")
    Path("runs/models/manifest.json").unlink()
    Path("runs/splits.csv").write_text(relabelled)
    assert "benign" in {truth for *_, truth in judges_of(None).values()}


def test_in_sample_is_stamped_and_remarked(
    done: Path, tmp_path: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(per_slide, "open_executor", open_inline)
    fold = read_folds(Path("runs/splits.csv"))[0]
    learned = (*fold.train, *fold.val)[0]
    answer = sammil(
        "visualize", "--by", "0.0", "--only", f"{learned},{fold.test[0]}", "-S", "evidence_ome_tiff=true", "--json"
    )
    assert answer.code == 0, answer
    rows = {row["slide_id"]: row for row in json.loads(answer.out)["slides"]}
    assert rows[learned]["remarks"] == ["in-sample: drawn by models that were trained or chosen on it"]
    assert rows[fold.test[0]]["remarks"] == []
    assert {path.name for path in Path("report/slides").glob(f"{learned}.*")} == {
        f"{learned}.{suffix}" for suffix in ("png", "csv", "ome.tif")
    }
    assert by_slide(Path("artifacts/process_lists/visualize.csv"))[learned]["status"] == "done"
    assert sammil("visualize", "--by", "0.0", "--only", learned).code == 0
    assert {path.suffix for path in Path("report/slides").glob(f"{learned}.*")} == {
        ".png",
        ".csv",
    }  # no longer asked for
    views: list[SlideView] = []
    monkeypatch.setattr(slide_picture, "draw", lambda view: views.append(view) or b"")
    tasks = {task.slide_id: task for task in plan(Project(), VisualizeSettings(), RunOptions(), "0.0").tasks}
    for slide in (learned, fold.test[0]):
        visualize.work(tmp_path, {}, tasks[slide].job)
    assert str(views[0].heading.stamp).startswith("in sample - ")
    assert views[1].heading.stamp is None
    assert len(views[1].details) >= 1
    assert views[1].details[0].um_per_px == pytest.approx(VisualizeSettings().detail_mpp, rel=0.02)


def test_the_page_says_who_drew_a_picture_also_where_others_were_drawn_otherwise(
    done: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(per_slide, "open_executor", open_inline)
    page, fold = Path("report/slides/index.html"), read_folds(Path("runs/splits.csv"))[0]
    learned = fold.train[0]
    assert sammil("visualize").code == 0
    assert "6 slides, each by the model of a fold that did not see it in training." in page.read_text()
    assert sammil("visualize", "--by", "0.0", "--only", learned).code == 0
    text = page.read_text()
    assert "6 slides: 5 each by the model of a fold that did not see it in training; 1 in sample, " in text
    assert text.count('title="in-sample: ') == 1
    assert sammil("visualize").code == 0
    assert "in-sample" not in page.read_text()


def test_an_unknown_fold_is_named_with_those_that_there_are(done: Path, sammil: Sammil) -> None:
    answer = sammil("visualize", "--by", "7")
    assert answer.code == 2
    assert "there is no fold 7" in answer.err


def test_the_page_of_pictures_has_the_remarks_of_the_drawing(done: Path) -> None:
    said = "looks-at-pen: 35% of the attention on patches with pen, 2% of all patches"
    listed = Path("artifacts/process_lists/visualize.csv")
    rows = [{**row, "remarks": said if row["slide_id"] == "slide_0" else ""} for row in by_slide(listed).values()]
    write_csv(listed, tuple(rows[0]), [tuple(row.values()) for row in rows])
    write_index(Project(), None)
    assert Path("report/slides/index.html").read_text().count(f'; {said}"') == 1  # after an earlier stage's
    assert said not in flags_of(Project()).get("slide_0", [])
