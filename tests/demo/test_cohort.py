"""The drawn cohort: what it promises a pipeline, a pathologist and whoever runs it twice."""

import csv
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon, shape

from sammil_cli.demo.cohort import draw_cohort, plan
from sammil_cli.demo.layout import (
    CELL_PX,
    GIANT_GAIN,
    GRADE_LOSS,
    INFILTRATION_GAIN,
    LESION_LOSS,
    Habit,
    Layout,
    draw_layout,
)

SIZE_PX = (704, 1104)


PLAIN: dict[str, Any] = {"slides": 4, "seed": 7, "size_px": SIZE_PX, "difficulty": 0.0, "workers": 1}


def draw(out: Path, progress: Callable[[str], None] = lambda _: None, **changes: object) -> None:
    """The plain cohort, or with something changed."""
    draw_cohort(out, **{**PLAIN, **changes}, progress=progress)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    draw(out)
    return out


def labels(out: Path) -> dict[str, str]:
    with (out / "labels.csv").open(newline="") as file:
        return {row["slide_id"]: row["label"] for row in csv.DictReader(file)}


def lesions(out: Path, slide_id: str) -> MultiPolygon:
    features = json.loads((out / "lesions" / f"{slide_id}.geojson").read_text())["features"]
    assert all(feature["properties"]["classification"]["name"] == "Tumor" for feature in features)
    return MultiPolygon([shape(feature["geometry"]) for feature in features])


def area_share(layout: Layout) -> float:
    return MultiPolygon([Polygon(points) for points in layout.lesions]).area / (
        (layout.depth_px > 0).sum() * CELL_PX**2
    )


def content(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def stained_share(slide: openslide.OpenSlide, polygon: Polygon | None = None) -> float:
    """Share of the slide, or of a polygon's box, that is no glass (level 0, any channel below 215)."""
    x0, y0, x1, y1 = (0, 0, *slide.dimensions) if polygon is None else (int(v) for v in polygon.bounds)
    pixels: NDArray[np.uint8] = np.array(slide.read_region((x0, y0), 0, (x1 - x0, y1 - y0)).convert("RGB"))
    return float((pixels.min(axis=2) < 215).mean())


def test_openslide_opens_every_slide_with_three_levels_and_its_mpp(cohort: Path) -> None:
    paths = sorted((cohort / "slides").iterdir())
    assert [path.name for path in paths] == ["demo_001.tif", "demo_002.tif", "demo_003.tif", "demo_004.tif"]
    for path in paths:
        with openslide.OpenSlide(path) as slide:
            assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5)
            assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(0.5)
            assert slide.level_downsamples == (1, 4, 16)
            width, height = slide.dimensions
            assert width != height
            assert SIZE_PX[0] <= min(width, height)
            assert max(width, height) <= SIZE_PX[1]
            assert 0.1 < stained_share(slide) < 0.9


def test_the_corner_of_a_slide_is_off_white_glass_with_a_little_noise(cohort: Path) -> None:
    with openslide.OpenSlide(cohort / "slides" / "demo_002.tif") as slide:
        corner = np.array(slide.read_region((0, 0), 0, (32, 32)).convert("RGB")).reshape(-1, 3)
    assert (corner.mean(axis=0) > 230).all()
    assert (corner.mean(axis=0) < 253).all()
    assert 0 < corner.std() < 6


def test_labels_name_every_slide_once_and_half_of_them_are_tumours(cohort: Path) -> None:
    assert (cohort / "labels.csv").read_text().splitlines()[0] == "slide_id,label,patient_id"
    named = labels(cohort)
    assert set(named) == {path.stem for path in (cohort / "slides").iterdir()}
    assert Counter(named.values()) == {"normal": 2, "tumour": 2}


def test_normal_slides_have_no_lesion_and_lesions_of_tumours_lie_in_tissue(cohort: Path) -> None:
    for slide_id, label in labels(cohort).items():
        nests = lesions(cohort, slide_id)
        assert len(nests.geoms) == 0 if label == "normal" else 1 <= len(nests.geoms) <= 4
        with openslide.OpenSlide(cohort / "slides" / f"{slide_id}.tif") as slide:
            for nest in nests.geoms:
                assert nest.is_valid
                assert stained_share(slide, nest) > 0.8


@pytest.mark.parametrize("index", range(6))
def test_lesions_cover_one_to_ten_percent_of_the_tissue(index: int) -> None:
    layout = draw_layout(np.random.default_rng([3, index]), width_px=2400, height_px=1808, tumour=True)
    assert 0.01 <= area_share(layout) <= 0.10
    assert all(layout.depth_px[int(y / CELL_PX), int(x / CELL_PX)] > 0 for nest in layout.lesions for x, y in nest)


def test_difficulty_0_is_the_plain_cohort_and_another_is_not(cohort: Path, tmp_path: Path) -> None:
    draw(tmp_path, difficulty=0.0)
    assert content(tmp_path) == content(cohort)
    draw(tmp_path, difficulty=0.5)
    changed = {name for name, data in content(tmp_path).items() if data != content(cohort)[name]}
    tumours = {f"lesions/{slide}.geojson" for slide, label in labels(cohort).items() if label == "tumour"}
    assert {name for name in changed if not name.startswith("slides/")} == tumours
    assert {Path(name).stem for name in tumours} <= {Path(name).stem for name in changed if name.startswith("slides/")}


def test_harder_tumours_are_smaller_and_all_else_stays_where_it_was() -> None:
    shares = []
    for index in range(8):
        plain, hard = (
            draw_layout(
                np.random.default_rng([3, index]), width_px=1600, height_px=1200, tumour=True, difficulty=difficulty
            )
            for difficulty in (0.0, 1.0)
        )
        assert np.array_equal(plain.depth_px, hard.depth_px)
        assert np.array_equal(plain.fat, hard.fat)
        beside = (plain.lesion <= 0.4) & (hard.lesion <= 0.4)  # a lesion takes the place of what lies there
        assert np.array_equal(plain.aggregates[beside], hard.aggregates[beside])
        shares.append((area_share(plain), area_share(hard)))
    plain_area, hard_area = np.mean(shares, axis=0)
    assert hard_area / plain_area == pytest.approx(1 - LESION_LOSS, abs=0.12)


def test_difficulty_draws_tumour_and_its_look_alikes_together_by_hand() -> None:
    habit = replace(Habit.draw(np.random.default_rng(0)), grade=0.9, infiltration=0.4, giant_cells_per_mm2=5.0)
    assert habit.harder(0) == habit
    half = habit.harder(0.5)
    assert half.grade == pytest.approx(0.9 * (1 - GRADE_LOSS / 2))
    assert half.infiltration == pytest.approx(0.4 + 0.6 * INFILTRATION_GAIN / 2)
    assert half.giant_cells_per_mm2 == pytest.approx(5 * (1 + GIANT_GAIN / 2))
    assert habit.harder(1).infiltration == pytest.approx(0.4 + 0.6 * INFILTRATION_GAIN)


@pytest.mark.parametrize("difficulty", [0.0, 0.7])
def test_the_label_changes_nothing_but_the_lesion(difficulty: float) -> None:
    pair = [
        draw_layout(np.random.default_rng(5), width_px=1600, height_px=1200, tumour=tumour, difficulty=difficulty)
        for tumour in (False, True)
    ]
    assert pair[0].habit == pair[1].habit
    assert np.array_equal(pair[0].depth_px, pair[1].depth_px)
    assert np.array_equal(pair[0].fat, pair[1].fat)
    normal, tumour = pair
    assert (normal.lesions, bool(normal.lesion.any()), len(tumour.lesions) > 0) == ([], False, True)
    beside = tumour.lesion <= 0.4  # a lesion takes the place of what lies there
    assert np.array_equal(normal.aggregates[beside], tumour.aggregates[beside])
    assert {gland.centre for gland in tumour.glands} < {gland.centre for gland in normal.glands}
    assert {tuple(vessel) for vessel in tumour.vessels} <= {tuple(vessel) for vessel in normal.vessels}


def test_the_whole_cohort_has_twenty_patients_four_with_two_slides_of_one_label() -> None:
    rows = plan(slides=24, seed=7, size_px=(3000, 6000))
    slides_of = Counter(row.patient_id for row in rows)
    assert sorted(slides_of.values()) == [1] * 16 + [2] * 4
    assert len({(row.patient_id, row.label) for row in rows}) == 20
    assert Counter(row.label for row in rows) == {"normal": 12, "tumour": 12}
    assert Counter(row.label for row in rows if row.pen) == {"normal": 1, "tumour": 1}
    assert Counter(row.label for row in rows if row.fold) == {"normal": 3, "tumour": 3}


def test_two_processes_write_the_same_bytes_as_one_and_report_each_slide(cohort: Path, tmp_path: Path) -> None:
    told: list[str] = []
    draw(tmp_path, told.append, workers=2)
    assert content(tmp_path) == content(cohort)
    assert sorted(told) == sorted(labels(cohort))


def test_another_seed_draws_other_slides(cohort: Path, tmp_path: Path) -> None:
    draw(tmp_path, seed=8)
    ours, theirs = content(cohort), content(tmp_path)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if name.endswith(".tif") and ours[name] == theirs[name]] == []


@pytest.mark.parametrize(("slides", "size_px"), [(1, (704, 1104)), (4, (100, 900)), (4, (900, 900))])
def test_impossible_cohorts_are_refused(tmp_path: Path, slides: int, size_px: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"must be|needs at least"):
        draw(tmp_path, slides=slides, size_px=size_px)
    assert not list(tmp_path.iterdir())
