"""Slides that are copied in, replaced or swapped while a stage runs, and slides that were replaced after `segment`."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from csv_rows import by_slide
from inline_executor import open_inline
from slide_maker import draw_tissue, write_pyramid
from study_fixtures import set_params

from sammil_cli.runner import per_slide
from sammil_cli.stages import extract, patch, sam, segment

Sammil = Callable[..., Any]
Events = dict[str, list[Callable[[], object]]]

SLIDES, TISSUE = Path("data/slides"), Path("artifacts/tissue")


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slides are worked on in this process."""
    monkeypatch.setattr(per_slide, "open_executor", open_inline)


@pytest.fixture
def during(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Lets things happen before and after the work on slides, each once; gives the list of those worked on."""

    def let(module: Any, *, before: Events | None = None, after: Events | None = None) -> list[str]:
        worked: list[str] = []
        work = module.work

        def happen(events: Events | None, slide: str) -> None:
            if events and events.get(slide):
                events[slide].pop(0)()

        def spying(folder: Path, record: Any, job: Any) -> list[str]:
            slide = Path(job.tissue if module is patch else job.slide).stem
            worked.append(slide)
            happen(before, slide)
            remarks = list(work(folder, record, job))
            happen(after, slide)
            return remarks

        monkeypatch.setattr(module, "work", spying)
        return worked

    return let


def draw(name: str, seed: int) -> Path:
    return write_pyramid(SLIDES / f"{name}.tif", draw_tissue(seed=seed, tumour=True), downsamples=(1, 4))


def states(stage: str = "segment") -> dict[str, str]:
    rows = by_slide(Path(f"artifacts/process_lists/{stage}.csv"))
    return {slide: row["code"] or row["status"] for slide, row in rows.items() if row["status"] != "reused"}


def made(slide: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in TISSUE.glob(f"{slide}.*")}


def afresh(sammil: Sammil, slide: str) -> dict[str, bytes]:
    """What an empty project makes of a slide."""
    for folder in (".sammil", "artifacts"):
        shutil.rmtree(folder)
    assert sammil("segment", "--only", slide).code == 0
    return made(slide)


def test_slides_copied_in_and_replaced_while_segment_runs_are_done(
    study: Path, sammil: Sammil, during: Callable[..., list[str]]
) -> None:
    draw("new", 77)
    worked = during(segment, after={"new": [lambda: (draw("later", 78), draw("slide_2", 79))]})
    answer = sammil("segment")
    assert answer.code == 0, answer
    assert (
        "segment: 1 slide(s) added (later), 1 slide(s) changed (slide_2) in the meantime: another round" in answer.out
    )
    assert worked == ["new", "later", "slide_2"]
    assert states() == {"new": "done", "later": "done", "slide_2": "done"}
    found = made("slide_2")
    assert len(made("later")) == len(found) == 3
    assert afresh(sammil, "slide_2") == found


def test_tables_and_drawings_that_change_while_segment_runs_count(
    study: Path, sammil: Sammil, during: Callable[..., list[str]]
) -> None:
    draw("new", 77)
    table = Path("data/slides.csv")
    worked = during(segment, after={"new": [lambda: table.write_text("slide_id,mpp\nslide_4,2.0\n", encoding="utf-8")]})
    assert sammil("segment").code == 0
    assert worked == ["new", "slide_4"]
    found = made("slide_4")
    assert afresh(sammil, "slide_4") == found


def test_a_slide_that_was_another_one_for_a_while_is_not_in_the_store(
    study: Path, sammil: Sammil, during: Callable[..., list[str]]
) -> None:
    slide, kept = draw("new", 77), Path("data/kept.tif")
    worked = during(
        segment,
        before={"new": [lambda: (slide.rename(kept), draw("new", 78))]},
        after={"new": [lambda: kept.rename(slide)]},
    )
    assert sammil("segment").code == 0
    assert worked == ["new", "new"]
    found = made("new")
    assert afresh(sammil, "new") == found


def test_a_slide_that_is_copied_all_the_time_fails_though_some_may(
    study: Path, sammil: Sammil, during: Callable[..., list[str]]
) -> None:
    set_params(study, fail_over=0.9)
    slide = draw("new", 77)

    def grow() -> None:
        with slide.open("ab") as stream:
            stream.write(bytes(100))

    worked = during(segment, before={"new": [grow, grow, grow]})
    answer = sammil("segment")
    assert answer.code == 1
    assert worked == ["new"] * 3
    assert states() == {"new": "E_CHANGED"}
    assert made("new") == {}
    assert "failed: new  E_CHANGED  data/slides/new.tif grew from " in answer.out
    assert "fix: wait until nothing writes there any more (a copy, a download), then run the same command again" in (
        answer.out
    )
    assert "E_CHANGED" in sammil("why", "new").out
    assert sammil("segment").code == 0
    assert states() == {"new": "done"}


def test_tissue_that_is_made_anew_while_patch_runs_counts(
    study: Path, sammil: Sammil, during: Callable[..., list[str]]
) -> None:
    def again() -> None:
        assert sammil("segment", "-S", "tissue_min_area_um2=20000").code == 0

    worked = during(patch, after={"slide_5": [again]})
    answer = sammil("patch")
    assert answer.code == 0, answer
    assert len(set(worked)) == 6 < len(worked)
    found = {path.name: path.read_bytes() for path in Path("artifacts/patches").iterdir()}
    for folder in (".sammil/store/patch", "artifacts/patches"):
        shutil.rmtree(folder)
    assert sammil("patch").code == 0
    assert {path.name: path.read_bytes() for path in Path("artifacts/patches").iterdir()} == found


@pytest.mark.parametrize("stage", ["sam", "extract", "visualize"])
def test_a_slide_that_was_replaced_after_segment_is_refused(done: Path, sammil: Sammil, stage: str) -> None:
    before = {path.name for path in Path("artifacts/bags").iterdir()}
    draw("slide_2", 79)
    answer = sammil(stage)
    assert answer.code == 1
    assert states(stage) == {"slide_2": "E_UPSTREAM"}
    row = by_slide(Path(f"artifacts/process_lists/{stage}.csv"))["slide_2"]
    assert row["message"].startswith("the slide was replaced after sammil segment: artifacts/")
    assert "run: sammil segment" in row["remedy"]
    assert "dvc repro -f segment" in row["remedy"]
    if stage == "extract":
        assert {path.name for path in Path("artifacts/bags").iterdir()} == {n for n in before if "slide_2" not in n}
    for verb in ("segment", "patch", "sam", "extract"):
        assert sammil(verb).code == 0
        assert states(verb) == {"slide_2": "done"}


def test_the_stages_after_segment_look_again_too(done: Path, sammil: Sammil, during: Callable[..., list[str]]) -> None:
    for module, verb in ((sam, "sam"), (extract, "extract")):
        shutil.rmtree(f".sammil/store/{verb}")
        kept, slide = Path("data/kept.tif"), SLIDES / "slide_2.tif"
        worked = during(
            module,
            before={"slide_2": [lambda: (slide.rename(kept), draw("slide_2", 80))]},  # noqa: B023
            after={"slide_2": [lambda: kept.rename(slide)]},  # noqa: B023
        )
        answer = sammil(verb)
        assert answer.code == 0, answer
        assert worked.count("slide_2") == 2
        assert len(worked) == 7
