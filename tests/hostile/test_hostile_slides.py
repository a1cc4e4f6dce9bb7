"""Each hostile slide on its own: its code, its message, a remedy, and nothing half-written that would count."""

from pathlib import Path

import pytest
from hostile_slides import SLIDES, HostileSlide, drawn

from sammil_cli.config import SegmentSettings
from sammil_cli.errors import SlideError
from sammil_cli.preflight.inspect import describe
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner.worker import attempt
from sammil_cli.stages import segment

MIN_AREA_UM2 = 1000.0


def rows() -> list[object]:
    return [pytest.param(row, id=row.slide_id) for row in SLIDES]


@pytest.mark.filterwarnings("ignore")  # of the libraries that make these files
@pytest.mark.parametrize("slide", rows())
def test_a_hostile_slide_gets_its_code_and_a_remedy(slide: HostileSlide, tmp_path: Path) -> None:
    path = tmp_path / "slides" / slide.name
    path.parent.mkdir(parents=True)
    slide.make(path)
    table = tmp_path / "slides.csv"
    table.write_text(f"slide_id,mpp\n{slide.slide_id},{slide.mpp}\n" if slide.mpp else "slide_id,mpp\n")
    project = Project(slides=tmp_path / "slides", slides_table=table)
    plan = segment.plan(project, SegmentSettings(tissue_min_area_um2=MIN_AREA_UM2), RunOptions())
    (task,) = plan.tasks
    assert task.slide_id == slide.slide_id
    out = tmp_path / "out"
    out.mkdir()
    call = ((plan.work.__module__, plan.work.__name__), (out, {}, task.job))
    if slide.code == "done":
        attempt(*call)
        assert list(out.iterdir())
        return
    with pytest.raises(SlideError) as caught:
        attempt(*call)
    error = caught.value
    assert error.code == slide.code
    assert slide.message, "a row without a piece of its message"
    assert slide.message in error.message
    assert error.remedy
    assert error.set_aside, "a fault of the slide, not of the computation"
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("mpp", "given", "flags"),
    [
        (0.5, None, []),
        (7.3, None, ["7.3 µm per pixel is unusual"]),
        ((0.5, 0.504), None, ["x and y differ"]),
        (0.5, 0.25, ["slides.csv says 0.25, the file 0.5"]),
    ],
)
def test_a_resolution_that_is_odd_but_possible_is_flagged(
    tmp_path: Path, mpp: float | tuple[float, float], given: float | None, flags: list[str]
) -> None:
    drawn(tmp_path / "a.tif", mpp=mpp)
    found = describe("a", tmp_path / "a.tif", given)
    assert found.code == ""
    assert len(found.flags) == len(flags)
    assert all(text in flag for text, flag in zip(flags, found.flags, strict=True))
