"""DVC's copy of a project sees the slides of the project, whether these are files, links or links to folders."""

from pathlib import Path

import pytest

from sammil_cli.project.experiment_copy import bring_slides, lost_in_copies, origin_of

SLIDES = Path("data/slides")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a project in a folder of it, slides of three kinds, and two more beside it."""
    folder, archive = tmp_path / "repository/study", tmp_path / "archive"
    for path in (folder / SLIDES / "below", archive / "more", folder / ".dvc", folder.parent / ".git"):
        path.mkdir(parents=True)
    for path in (archive / "a.svs", archive / "more/b.svs", folder / SLIDES / "below/c.svs"):
        path.write_text(path.name)
    (folder / SLIDES / "a.svs").symlink_to(archive / "a.svs")
    (folder / SLIDES / "relative.svs").symlink_to("../../../../archive/a.svs")
    (folder / SLIDES / "more").symlink_to(archive / "more")
    return folder


def copy_of(project: Path, place: str) -> Path:
    """What DVC makes of it: a clone without what Git ignores."""
    copy = project / ".dvc/tmp/exps" / place
    (copy / ".git").mkdir(parents=True)
    (copy / "study/data").mkdir(parents=True)
    return copy / "study"


@pytest.mark.parametrize("place", ["tmp1234", "standalone/tmp1234"])
def test_a_copy_is_given_links_to_every_slide(project: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = copy_of(project, place)
    assert origin_of(copy) == project
    monkeypatch.chdir(copy)
    assert bring_slides(SLIDES) == 4
    names = ("a.svs", "relative.svs", "below/c.svs", "more/b.svs")
    assert [(copy / SLIDES / name).read_text() for name in names] == ["a.svs", "a.svs", "c.svs", "b.svs"]
    assert not (copy / SLIDES).is_symlink()  # Git would keep a link
    assert bring_slides(SLIDES) == 0


def test_what_git_or_dvc_brought_stays_as_it_is(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = copy_of(project, "tmp1")
    (copy / SLIDES).symlink_to(project.parents[1] / "archive")
    monkeypatch.chdir(copy)
    assert bring_slides(SLIDES) == 0
    assert (copy / SLIDES / "a.svs").is_file()


def test_a_project_itself_is_left_alone(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert origin_of(project) is None
    monkeypatch.chdir(project)
    assert bring_slides(SLIDES) == 0
    (project / SLIDES).rename(project / "gone")
    assert bring_slides(SLIDES) == 0


def test_a_relative_link_is_lost_in_copies(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    assert not lost_in_copies(SLIDES)
    (project / SLIDES).rename(project / "elsewhere")
    (project / SLIDES).symlink_to("../elsewhere")
    assert lost_in_copies(SLIDES)
    (project / ".dvc").rmdir()
    assert not lost_in_copies(SLIDES)
