"""`sammil ablate --tables regions`: the same slides and folds in every row, and nothing that is not here is begun."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from encoded_project import PATCHES, SLIDES, make_project
from inline_executor import open_inline

from sammil_cli.config import SamSettings
from sammil_cli.features.bag import read_bag
from sammil_cli.project.process_list import Row
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.regions.file import read_regions, write_regions
from sammil_cli.regions.region_map import Canvas, Proposal, build
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.runner import per_slide
from sammil_cli.runner.per_slide import Plan, Task
from sammil_cli.stages import sam
from sammil_cli.studies.region_controls import Model, make_placebo
from sammil_cli.tissue.mask import TissueMask, write_tissue
from sammil_cli.training.model_facts import read_facts

Sammil = Callable[..., Any]

QUICK = {
    "proposer": "superpixels",
    "folds": 2,
    "repeats": 1,
    "epochs": 2,
    "patience": 9,
    "min_epochs": 0,
    "learning_rate": 0.001,
    "bootstrap_draws": 100,
}
SIDE_PX = 128 * PATCHES
SIDE = {"superpixels": 8, "geojson": 24}  # patches along a side of the regions that stand in for a proposer's
TABLE = ("ablate", "--tables", "regions", "--device", "cpu")
BARE = (*TABLE, "--controls", "")
NOWHERE = Path("no-weights")


class Proposers:
    """Stands in for `sammil sam`: squares along the diagonal, on which the patches of `encoded_project` lie."""

    def __init__(self) -> None:
        self.fails: dict[str, set[str]] = {}
        self.ran: list[str] = []

    def plan(self, project: Project, settings: SamSettings, options: RunOptions) -> Plan:
        tasks = [Task(slide_id=slide, key={}, libraries={}, job=None) for slide in sorted(options.only or ())]
        return Plan(stage="sam", tasks=tasks, work=lambda *_: [], out=project.regions, process_lists=Path())

    def run(self, project: Project, settings: SamSettings, options: RunOptions) -> list[Row]:
        self.ran.append(settings.proposer)
        side = SIDE[settings.proposer]
        canvas = Canvas(origin_px=(0, 0), downsample=128.0, size_px=(PATCHES, PATCHES), mpp=128.0)
        masks = [RegionMask.of(np.ones((side, side), bool), (at, at)) for at in range(0, PATCHES, side)]
        rows = []
        for slide in sorted(options.only or ()):
            if slide in self.fails.get(settings.proposer, ()):
                rows.append(Row(slide_id=slide, status="set-aside", code="E_ANNOTATION", message="it has no drawing"))
                continue
            found = build(slide, canvas, [Proposal(mask=mask) for mask in masks])
            write_regions(project.regions / f"{slide}.h5", found, {})
            rows.append(Row(slide_id=slide, status="done"))
        return rows


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inline_training: None) -> Path:
    folder = make_project(tmp_path / "project", QUICK)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SAMMIL_WEIGHTS", str(folder / NOWHERE))
    monkeypatch.setattr(per_slide, "open_executor", open_inline)
    (folder / "artifacts/tissue").mkdir()
    for slide in SLIDES:
        mask = TissueMask(
            slide_id=slide,
            polygons=shapely.MultiPolygon([shapely.box(0, 0, SIDE_PX, SIDE_PX)]),
            slide_mpp=1.0,
            slide_size_px=(SIDE_PX, SIDE_PX),
            bounds_px=(0, 0, SIDE_PX, SIDE_PX),
        )
        write_tissue(folder / f"artifacts/tissue/{slide}.geojson", mask, {})
    return folder


@pytest.fixture
def proposers(monkeypatch: pytest.MonkeyPatch) -> Proposers:
    found = Proposers()
    monkeypatch.setattr(sam, "plan", found.plan)
    monkeypatch.setattr(sam, "run", found.run)
    return found


def record(project: Path) -> Mapping[str, Any]:
    content: dict[str, Any] = json.loads((project / "report/ablation/ablation.json").read_text(encoding="utf-8"))
    return content


def draw_lesion(project: Path, slide: str, *box: int) -> None:
    """A lesion over these patches of the diagonal."""
    square = shapely.geometry.mapping(shapely.box(*(128 * side for side in box)))
    features = [{"type": "Feature", "properties": {"objectType": "annotation"}, "geometry": square}]
    path = project / f"data/lesions/{slide}.geojson"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")


def test_rows_differ_in_their_regions_only(project: Path, proposers: Proposers, sammil: Sammil) -> None:
    answer = sammil(*BARE, "--proposers", "superpixels,geojson", "-S", "repeats=2")
    assert answer.code == 0, answer
    told = record(project)
    compared, quality = told["tables"]
    assert [row["variant"] for row in compared["rows"]] == [
        *("no regions", "superpixels", "geojson", "same model, other seed")
    ]
    assert [row["AUC minus superpixels"] == "–" for row in compared["rows"]] == [False, True, False, False]
    assert [row["regions"] for row in quality["rows"]] == ["3 [3, 3]", "1 [1, 1]"]
    assert [row["patches in a region"] for row in quality["rows"]] == ["8.0 [8.0, 8.0]", "24.0 [24.0, 24.0]"]
    runs = project / "runs/ablation/regions"
    rows = ("no-regions", "superpixels", "geojson")
    assert len({(runs / row / "splits.csv").read_bytes() for row in rows}) == 1
    trained = [read_facts(runs / row / "models/repeat_1_fold_0").provenance["key"]["settings"] for row in rows]
    assert [settings["group_features"] for settings in trained] == [False, True, True]
    assert trained[1] == trained[2]
    one, other = (read_bag(runs / name / f"bags/{SLIDES[0]}.h5") for name in ("superpixels", "geojson"))
    np.testing.assert_array_equal(one.features, other.features)
    assert (len(one.group_region), len(other.group_region)) == (3, 1)
    markdown = (project / "report/ablation/ablation.md").read_text(encoding="utf-8")
    assert "## Whose regions? (12 slides of 12 patients)" in markdown
    assert "## What the regions are like" in markdown
    assert "superpixels" in answer.out


@pytest.mark.stress
def test_beside_the_proposers_stand_their_regions_moved_at_random_and_cut_to_lesions(
    project: Path, proposers: Proposers, sammil: Sammil
) -> None:
    draw_lesion(project, SLIDES[1], 0, 0, 5, 5)
    draw_lesion(project, "of_no_bag", 0, 0, 5, 5)
    nothing = project / f"data/lesions/{SLIDES[2]}.geojson"  # somebody looked, and found no lesion
    nothing.write_text('{"type": "FeatureCollection", "features": []}', encoding="utf-8")
    answer = sammil(*TABLE, "--proposers", "superpixels")
    assert answer.code == 0, answer
    assert "true regions: 1 of 12 slides have lesions drawn in data/lesions; the others keep" in answer.out
    told = record(project)
    compared, answered, quality, kept = told["tables"]
    names = ["no regions", "placebo", "superpixels", "true regions", "same model, other seed"]
    assert [row["variant"] for row in compared["rows"]] == names
    assert [row["proposer"] for row in quality["rows"]] == ["placebo", "superpixels", "true regions"]
    assert [row["rows"] for row in answered["rows"]] == [
        "placebo minus no regions",
        "superpixels minus placebo",
        "true regions minus placebo",
    ]
    assert kept["rows"][0]["area, after / before"] == "1.000 [1.000, 1.000]"
    assert told["regions"]["placebo"]["slides"].keys() == set(SLIDES)
    assert told["regions"]["true regions"] == {"of": "superpixels", "drawn": [SLIDES[1]]}

    runs = project / "runs/ablation/regions"
    before, moved, true = (
        read_regions(runs / f"{row}/regions/{SLIDES[1]}.h5") for row in ("superpixels", "placebo", "true-regions")
    )
    np.testing.assert_array_equal(moved.area_px, before.area_px)
    assert (moved.box != before.box).any()
    assert true.area_px.tolist() == [25, 64 - 25, 64, 64]
    for suffix in (".geojson", ".png"):
        assert (runs / f"placebo/regions/{SLIDES[1]}{suffix}").is_file()
    undrawn = read_regions(runs / f"true-regions/regions/{SLIDES[0]}.h5")
    np.testing.assert_array_equal(undrawn.runs, read_regions(runs / f"superpixels/regions/{SLIDES[0]}.h5").runs)

    def made() -> list[str]:
        """What the process list says of a second run: nothing is moved again, or all with another seed."""
        lines = (runs / "placebo/process_lists/placebo.csv").read_text(encoding="utf-8").splitlines()[1:]
        return sorted({line.split(",")[1] for line in lines})

    model = Model(proposer="superpixels", regions=runs / "superpixels/regions", slides=SLIDES, sam=SamSettings())
    place = replace(Project(), regions=runs / "placebo/regions", process_lists=runs / "placebo/process_lists")
    assert made() == ["done"]
    make_placebo(place, model, 2021, RunOptions())
    assert made() == ["reused"]
    make_placebo(place, model, 3, RunOptions())
    assert made() == ["done"]


def test_the_row_without_regions_does_not_see_any(project: Path, proposers: Proposers, sammil: Sammil) -> None:
    def rows() -> list[str]:
        """Without the differences to the last row."""
        return [str(row).split("AUC minus")[0] for row in record(project)["tables"][0]["rows"]]

    assert sammil(*BARE, "--proposers", "superpixels").code == 0
    before = rows()
    SIDE["superpixels"], kept = 12, SIDE["superpixels"]
    try:
        assert sammil(*BARE, "--proposers", "superpixels").code == 0
    finally:
        SIDE["superpixels"] = kept
    assert [row == old for row, old in zip(rows(), before, strict=True)] == [True, False, False]


def test_a_slide_that_one_proposer_could_not_do_is_in_no_row_and_is_named(
    project: Path, proposers: Proposers, sammil: Sammil
) -> None:
    proposers.fails["geojson"] = {SLIDES[2]}
    answer = sammil(*BARE, "--proposers", "superpixels,geojson")
    assert answer.code == 0, answer
    assert "1 of 12 slides are left out of every row" in answer.out
    assert f"{SLIDES[2]}: geojson: E_ANNOTATION it has no drawing" in answer.out
    told = record(project)["regions"]
    assert list(told["left_out"]) == [SLIDES[2]]
    assert SLIDES[2] not in told["slides"]
    splits = {
        (project / f"runs/ablation/regions/{row}/splits.csv").read_text(encoding="utf-8")
        for row in ("no-regions", "superpixels", "geojson")
    }
    assert len(splits) == 1
    assert SLIDES[2] not in splits.pop()
    proposers.fails.clear()  # it is drawn now
    assert sammil(*BARE, "--proposers", "superpixels,geojson").code == 0
    assert record(project)["regions"]["left_out"] == {}


def test_without_a_word_the_projects_proposer_is_compared_with_superpixels(
    project: Path, proposers: Proposers, sammil: Sammil
) -> None:
    assert sammil(*BARE, "-S", "proposer=geojson").code == 0
    assert proposers.ran == ["geojson", "superpixels"]
    assert record(project)["regions"]["reference"] == "geojson"


def test_weights_that_are_missing_are_named_with_the_way_to_leave_them_out(project: Path, sammil: Sammil) -> None:
    answer = sammil(*TABLE, "-S", "proposer=sam")
    assert answer.code == 3
    assert "the proposer sam cannot run: the weights sam_vit_h" in answer.err
    assert "or leave it out: --proposers superpixels" in answer.err
    assert not (project / "runs").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--proposers", "slic"), "unknown proposer 'slic'"),
        (("--proposers", ","), "--proposers names none"),
        (("--bags", "elsewhere"), "there is no bag in elsewhere"),
        (("--tissue", "elsewhere"), "there is no tissue of the labelled slides"),
        (("--tables", ""), "--tables names none"),
        (("--controls", "sham"), "there is no control 'sham'"),
        (("--controls", "true"), "no labelled slide has a lesion drawn in data/lesions"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_any_work(
    project: Path, sammil: Sammil, words: tuple[str, ...], said: str
) -> None:
    answer = sammil(*TABLE, *words)
    assert answer.code == 2, answer
    assert said in answer.err
    assert not (project / "runs").exists()


def test_regions_of_the_real_stage_become_the_bags_of_a_row(done: Path, sammil: Sammil, inline_training: None) -> None:
    answer = sammil(*BARE, "--proposers", "superpixels", "--workers", 1, "-S", "epochs=1")
    assert answer.code == 0, answer
    paths = sorted((done / "artifacts/bags").glob("*.h5"))
    assert len(paths) == 6
    for path in paths:  # the same proposer: the same bags
        made, there = read_bag(done / "runs/ablation/regions/superpixels/bags" / path.name), read_bag(path)
        np.testing.assert_array_equal(made.group_features, there.group_features)
        np.testing.assert_array_equal(made.region, there.region)
