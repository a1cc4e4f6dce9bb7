"""sammil explain: each slide by the fold that did not see it, against its lesions, and for QuPath."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from csv_rows import by_slide, rows_of
from inline_executor import open_inline
from shapely.geometry import mapping

from sammil_cli.config import VisualizeSettings
from sammil_cli.features.bag import read_bag, write_bag
from sammil_cli.jobs.explain import work
from sammil_cli.jobs.removed_patches import removal_curves
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.report.explained_slide import read_explained
from sammil_cli.report.removal import SHARES
from sammil_cli.runner import per_slide
from sammil_cli.stages.evidence import made_of_drawing
from sammil_cli.stages.explain import plan
from sammil_cli.storage.paths import BagPath, DrawingPath, ModelPath, RegionsPath, TissuePath
from sammil_cli.tissue.mask import read_tissue

Sammil = Callable[..., Any]
OUT = Path("report/explain")


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(per_slide, "open_executor", open_inline)


def draw_first_patches(slide: str, count: int) -> None:
    """A lesion over the first patches of a slide, as QuPath exports it."""
    bag = read_bag(BagPath(Path(f"artifacts/bags/{slide}.h5")))
    side = bag.encoder.patch_px_level0
    corner = read_tissue(TissuePath(Path(f"artifacts/tissue/{slide}.geojson"))).bounds_px[:2]
    low = bag.xy[:count] - np.array(corner)
    lesion = shapely.union_all(shapely.box(low[:, 0], low[:, 1], low[:, 0] + side, low[:, 1] + side))
    feature = {"type": "Feature", "geometry": mapping(lesion), "properties": {"classification": {"name": "Tumor"}}}
    Path("data/lesions").mkdir(exist_ok=True)
    Path(f"data/lesions/{slide}.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))


def test_each_slide_is_explained_by_the_fold_that_did_not_see_it(done: Path, sammil: Sammil) -> None:
    judged = by_slide(Path("runs/predictions.csv"))
    tumour = next(slide for slide, row in judged.items() if row["label"] == "tumour")
    normal = next(slide for slide, row in judged.items() if row["label"] == "normal")
    for slide in (tumour, normal):
        draw_first_patches(slide, 3)
    bag = read_bag(BagPath(Path(f"artifacts/bags/{tumour}.h5")))
    write_bag(BagPath(Path("artifacts/bags/of_nobody.h5")), replace(bag, slide_id="of_nobody"), {})
    answer = sammil("explain", "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)["explain"]
    assert (found["slides"], found["left_out"], found["protocol"]) == (len(judged), 1, "honest")
    assert {one["order"] for one in found["faithfulness"]} == {"attention", "evidence", "regions"}

    for slide, row in judged.items():
        facts = read_explained(OUT / f"slides/{slide}.json")
        assert facts.fold == f"{row['repeat']}.{row['fold']}"
        assert facts.called == row["predicted"]
        assert facts.probability == pytest.approx(float(row["probability_tumour"]), abs=1e-5)
        said = float(row[f"probability_{facts.called}"])
        assert all(curve[0] == pytest.approx(said, abs=1e-4) for curve in facts.curves.values())
        assert (facts.lesions is not None) == (slide == tumour)  # lesions of normal slides are not asked about
    regions = rows_of(OUT / "regions.csv")
    assert {row["slide_id"] for row in regions} == set(judged)
    of_tumour = [row for row in regions if row["slide_id"] == tumour]
    assert [int(row["rank"]) for row in of_tumour] == list(range(1, len(of_tumour) + 1))
    for row in of_tumour:
        members = bag.members.patch[bag.members.start[int(row["region"])] : bag.members.start[int(row["region"]) + 1]]
        assert int(row["patches"]) == len(members)
        assert float(row["lesion_share"]) == pytest.approx(np.mean(members < 3), abs=1e-5)
        assert float(row["area_mm2"]) == pytest.approx(bag.region_area_um2[int(row["region"])] / 1e6, rel=1e-5)
    (lesion,) = rows_of(OUT / "lesions.csv")
    assert (lesion["slide_id"], lesion["lesion_patches"]) == (tumour, "3")
    assert float(lesion["lesion_mm2"]) == pytest.approx(3 * 0.128**2, rel=1e-6)
    curves = rows_of(OUT / "faithfulness.csv")
    assert {row["slides"] for row in curves} >= set(judged)
    assert len(curves) % len(SHARES) == 0
    page = (OUT / "index.html").read_text(encoding="utf-8")
    assert "1 slide(s) are left out, since no fold tests them." in page
    assert "have no lesion drawn" in page
    assert (OUT / "faithfulness.png").read_bytes().startswith(b"\x89PNG")

    assert (Path("report/evidence") / f"{tumour}.geojson").is_file()
    assert "PathIO.readObjects" in Path("report/evidence/load_evidence.groovy").read_text(encoding="utf-8")
    again = sammil("explain", "--gz")
    assert f"explain: {len(judged)} reused" in again.out
    assert "1 slide(s) left out: no fold tests them" in again.out
    assert {path.name for path in Path("report/evidence").iterdir()} == {
        "load_evidence.groovy",
        *(f"{slide}.geojson.gz" for slide in judged),
    }


def test_what_was_drawn_as_regions_has_its_name_and_a_bag_whose_means_are_anothers_says_so(
    done: Path, tmp_path: Path
) -> None:
    tasks = plan(Project(), VisualizeSettings(), RunOptions(), tmp_path).tasks
    job = tasks[0].job
    bag = read_bag(job.bag)
    assert not made_of_drawing(job.bag)
    drawn = {**bag.made_with, "sam": {**bag.made_with["sam"], "proposer": "geojson"}}
    other = np.array(bag.group_features) + 20
    write_bag(job.bag, replace(bag, features=np.array(bag.features), group_features=other, made_with=drawn), {})
    assert made_of_drawing(job.bag)
    outlines = json.loads(Path(f"artifacts/regions/{job.bag.stem}.geojson").read_text())
    shown = outlines["features"][1]
    shown["properties"] |= {"name": "nest 1", "classification": {"name": "Tumor"}}
    drawing = DrawingPath(tmp_path / "drawn.geojson")
    drawing.write_text(json.dumps({"features": [shown], "sammil": {"offset_px": outlines["sammil"]["offset_px"]}}))
    regions = RegionsPath(Path(f"artifacts/regions/{job.bag.stem}.h5"))
    (tmp_path / "found").mkdir()
    remarks = work(tmp_path / "found", {}, replace(job, drawn=drawing, regions=regions))
    names = {row["region"]: (row["name"], row["class"]) for row in rows_of(tmp_path / f"found/{job.bag.stem}.csv")}
    assert names.pop("1") == ("nest 1", "Tumor")
    assert set(names.values()) == {("", "")}
    assert any(line.startswith("group-features: they are no means of its patches") for line in remarks)


def test_slips_are_refused_with_their_fix(done: Path, sammil: Sammil, tmp_path: Path) -> None:
    labels = Path("data/labels.csv").read_text(encoding="utf-8")
    Path("data/labels.csv").write_text(
        labels.replace("tumour", "TEMP").replace("normal", "tumour").replace("TEMP", "normal")
    )
    answer = sammil("explain")
    assert (answer.code, "E_LABELS" in answer.err) == (2, True)
    Path("data/labels.csv").write_text(labels, encoding="utf-8")
    missing = sammil("explain", "--models", tmp_path / "no", "--splits", tmp_path / "no.csv")
    assert missing.code == 2
    assert "sammil train" in missing.err
    assert "--only names the slide 'slide_9'" in sammil("explain", "--only", "slide_9").err
    slide = next(slide for slide, row in by_slide(Path("runs/predictions.csv")).items() if row["label"] == "tumour")
    Path("data/lesions").mkdir(exist_ok=True)
    Path(f"data/lesions/{slide}.geojson").write_text("{")
    shutil.rmtree("report/slides")
    answer = sammil("explain", "--only", slide)
    assert (answer.code, "evidence: no slide is drawn yet" in answer.out) == (1, True)
    assert by_slide(Path("artifacts/process_lists/explain.csv"))[slide]["code"] == "E_EDIT"


def test_curves_begin_at_the_verdict_and_depend_on_which_patches_go(done: Path) -> None:
    slide, row = next(iter(by_slide(Path("runs/predictions.csv")).items()))
    bag = read_bag(BagPath(Path(f"artifacts/bags/{slide}.h5")))
    trained = ModelPath(Path(f"runs/models/repeat_{row['repeat']}_fold_{row['fold']}"))
    forwards = np.arange(len(bag.xy))
    curves = removal_curves(bag, trained, {"one": [forwards], "other": [forwards[::-1]]}, 1)
    assert curves["one"][0] == curves["other"][0] == pytest.approx(float(row["probability_tumour"]), abs=1e-4)
    assert not np.allclose(curves["one"], curves["other"])
