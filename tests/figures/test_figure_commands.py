"""`sammil figure …` on a finished project: what is drawn, and what is said of what cannot be."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import shapely
from csv_rows import rows_of
from shapely.geometry import mapping

from sammil_cli.patches.file import read_patches
from sammil_cli.storage.paths import PatchesPath
from sammil_cli.storage.summed import read_summed, write_summed

Sammil = Callable[..., Any]
FIGURES = Path("report/figures")


def positives() -> list[str]:
    return sorted({row["slide_id"] for row in rows_of(Path("runs/predictions.csv")) if row["label"] == "tumour"})


def draw_lesions(slides: list[str]) -> None:
    """A square over the middle patch of each slide, larger from slide to slide."""
    Path("data/lesions").mkdir(exist_ok=True)
    for number, slide in enumerate(slides, start=1):
        grid = read_patches(PatchesPath(Path(f"artifacts/patches/{slide}.h5")))
        x, y = grid.xy[len(grid.xy) // 2].tolist()
        left, top = x - grid.bounds_px[0], y - grid.bounds_px[1]
        side = grid.patch_px_level0 * (0.8 + 0.2 * number)
        square = mapping(shapely.box(left, top, left + side, top + side))
        Path(f"data/lesions/{slide}.geojson").write_text(json.dumps([{"geometry": square, "properties": {}}]))


def is_picture(name: str) -> bool:
    image = cv2.imdecode(np.fromfile(FIGURES / f"{name}.png", np.uint8), cv2.IMREAD_COLOR)
    return image is not None and image.shape[1] == 1200


@pytest.fixture
def drawn(done: Path) -> Path:
    draw_lesions(positives())
    return done


def test_figures_of_slides_are_drawn_with_their_numbers_and_others_are_named(drawn: Path, sammil: Sammil) -> None:
    first, last = positives()[0], positives()[-1]
    Path(f"artifacts/regions/{first}.h5").unlink()
    answer = sammil("figure", "regions", last, first, "nobody", "--json")
    assert answer.code == 1
    rows = {row["slide_id"]: row for row in json.loads(answer.out)}
    assert {slide: row["code"] for slide, row in rows.items()} == {
        last: "",
        first: "E_UPSTREAM",
        "nobody": "E_UPSTREAM",
    }
    assert rows[first]["remedy"] == "run: sammil sam"
    assert is_picture("regions")
    (row,) = rows_of(FIGURES / "regions.csv")
    assert row["slide_id"] == last
    assert 0 < float(row["iou_of_largest_lesion"]) <= 1
    listed = rows_of(Path("artifacts/process_lists/figure-regions.csv"))
    assert {row["slide_id"] for row in listed} == {first, last, "nobody"}


def test_two_trainings_stand_beside_each_other_on_the_slides_with_the_largest_and_the_smallest_lesion(
    drawn: Path, sammil: Sammil
) -> None:
    answer = sammil("figure", "models", "--beside", "runs")
    assert answer.code == 0, answer
    assert is_picture("models")
    rows = rows_of(FIGURES / "models.csv")
    assert [row["slide_id"] for row in rows] == [positives()[-1]] * 2 + [positives()[0]] * 2
    assert {row["same_fold"] for row in rows} == {"True"}
    told = {row["slide_id"]: row for row in rows_of(Path("runs/predictions.csv"))}
    for row in rows:
        assert float(row["probability"]) == pytest.approx(float(told[row["slide_id"]]["probability_tumour"]), abs=2e-6)
        assert row["called"] == told[row["slide_id"]]["predicted"]
    missing = sammil("figure", "models")
    assert missing.code == 2
    assert "run: sammil train -S model=abmil --out runs/abmil" in missing.err


def test_consistency_needs_a_training_without_it(drawn: Path, sammil: Sammil) -> None:
    refused = sammil("figure", "consistency", "--beside", "runs")
    assert refused.code == 2
    assert "run: sammil train -S consistency_weight=0 --out runs" in refused.err
    shutil.copytree("runs", "other")
    record = read_summed(Path("other/record.json"), "")
    write_summed(Path("other/record.json"), {**record, "params": {**record["params"], "consistency_weight": 0.0}})
    answer = sammil("figure", "consistency", "--beside", "other", "--out", "pictures")
    assert answer.code == 0, answer
    one, two = json.loads(Path("pictures/consistency.json").read_text())["slides"][:2]
    assert one["attention_between_regions"] == two["attention_between_regions"] is not None


def test_positives_without_a_drawing_are_named_and_the_others_are_in_bins(drawn: Path, sammil: Sammil) -> None:
    lost = positives()[0]
    Path(f"data/lesions/{lost}.geojson").unlink()
    answer = sammil("figure", "lesion-size")
    assert answer.code == 1
    assert f"set-aside: {lost}  E_ANNOTATION" in answer.out
    assert is_picture("lesion-size")
    record = json.loads((FIGURES / "lesion-size.json").read_text(encoding="utf-8"))
    assert record["left_out"] == [lost]
    assert sum(one["slides"] for one in record["bins"]) == len(positives()) - 1 == len(record["slides"])
    swept = sammil("figure", "sweep", "mask_ratio", "--run", "runs")
    assert swept.code == 2
    assert "no two of 1 run(s) differ in mask_ratio alone" in swept.err
