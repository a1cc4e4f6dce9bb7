"""What a folder of slides may hold besides slides: each is passed over, or refused with one message, one fix."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from slide_maker import draw_asymmetric, write_pyramid

from sammil_cli.config import SegmentSettings
from sammil_cli.errors import InputError, SlideError
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner.worker import attempt
from sammil_cli.slides.files import find_slides
from sammil_cli.stages import segment


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """A folder with one good slide, `good`."""
    write_pyramid(tmp_path / "slides" / "good.tif", draw_asymmetric(), mpp=2.0)
    return tmp_path / "slides"


PASSED_OVER: dict[str, tuple[Callable[[Path], object], dict[str, int]]] = {
    "a directory with a slide's name": (lambda folder: (folder / "x.svs").mkdir(), {}),
    "a link to nowhere": (lambda folder: (folder / "x.svs").symlink_to("gone.svs"), {"dangling link": 1}),
    "a link to itself": (lambda folder: (folder / "x.svs").symlink_to("x.svs"), {"dangling link": 1}),
    "a link to the folder": (lambda folder: (folder / "again").symlink_to(folder), {}),
    "a hidden file of a copying tool": (lambda folder: (folder / "._good.tif").write_bytes(b"\0"), {}),
    "a half-loaded file": (lambda folder: (folder / "x.svs.part").write_bytes(b"II"), {".part": 1}),
    "a format that nothing reads": (lambda folder: (folder / "x.vsi").write_bytes(b"II"), {".vsi": 1}),
    "a table": (lambda folder: (folder / "labels.csv").write_text("slide_id\n"), {".csv": 1}),
    "a thumbnail of a slide": (lambda folder: (folder / "good.png").write_bytes(b"\x89PNG"), {".png": 1}),
}


@pytest.mark.parametrize("name", PASSED_OVER)
def test_what_is_no_slide_is_passed_over_and_counted(slides: Path, name: str) -> None:
    make, counted = PASSED_OVER[name]
    make(slides)
    found = find_slides(slides)
    assert set(found.paths) == {"good"}
    assert found.ignored == counted


def test_two_slides_with_one_id_are_refused_with_both(slides: Path) -> None:
    (slides / "more").mkdir()
    (slides / "more" / "good.svs").write_bytes(b"II")
    with pytest.raises(InputError, match=r"two slides have the id .good.: good\.tif and more/good\.svs") as caught:
        find_slides(slides)
    assert caught.value.remedy == "rename one"


@pytest.mark.parametrize("content", [None, "notes.txt", "x.vsi"])
def test_a_folder_without_slides_is_refused_with_what_is_known(tmp_path: Path, content: str | None) -> None:
    if content:
        (tmp_path / content).touch()
    with pytest.raises(InputError, match="no slides in") as caught:
        find_slides(tmp_path)
    assert ".svs" in caught.value.remedy


def test_a_named_pipe_does_not_hang_the_run(slides: Path) -> None:
    os.mkfifo(slides / "x.svs")
    assert set(find_slides(slides).paths) == {"good"}


@contextlib.contextmanager
def without_the_rights_of_root() -> Iterator[None]:
    """Root may read everything; whoever is not root stays who he is."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)  # nobody
    try:
        yield
    finally:
        os.seteuid(0)


def tried(slides: Path, rights: contextlib.AbstractContextManager[None] | None = None) -> SlideError:
    """What is said of the slide `x` by `segment`, to which `good` beside it is as good as alone."""
    plan = segment.plan(Project(slides=slides), SegmentSettings(tissue_min_area_um2=1000.0), RunOptions())
    assert plan.refused == ()
    jobs = {task.slide_id: task.job for task in plan.tasks}
    assert set(jobs) == {"good", "x"}
    work, out = (plan.work.__module__, plan.work.__name__), slides.parent / "out"
    out.mkdir()
    attempt(work, (out, {}, jobs["good"]))
    with pytest.raises(SlideError) as caught, rights or contextlib.nullcontext():
        attempt(work, (out, {}, jobs["x"]))
    assert {path.stem for path in out.iterdir()} == {"good"}
    return caught.value


def test_a_file_that_the_disk_cannot_read_costs_itself_only(slides: Path) -> None:
    (slides / "x.svs").symlink_to("/proc/self/mem")  # reading its first byte is an input/output error
    error = tried(slides)
    assert (error.code, error.set_aside) == ("E_EMPTY", True)


def test_a_slide_without_the_right_to_read_costs_itself_only(slides: Path) -> None:
    (slides / "x.svs").write_bytes((slides / "good.tif").read_bytes())
    (slides / "x.svs").chmod(0)
    error = tried(slides, without_the_rights_of_root())
    assert (error.code, error.set_aside) == ("E_OPEN", True)
    assert "Permission denied" in error.message
    assert "may read" in error.remedy
