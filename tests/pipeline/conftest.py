"""One cohort of tiny slides, and projects that work on it."""

import shutil
from pathlib import Path

import pytest
from pipeline_project import SETTINGS, Make, StudyFolder
from slide_maker import write_tiny_cohort


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five slides."""
    folder = tmp_path_factory.mktemp("drawn")
    write_tiny_cohort(folder, 5)
    return folder


def set_up(study: StudyFolder, *, dvc: bool) -> None:
    study.root.mkdir()
    if dvc:
        study.call("git", "init", "--quiet")
        study.call("git", "config", "user.name", "a tester")
        study.call("git", "config", "user.email", "tester@invalid")
    study.call("sammil", "init", ".", "--preset", "demo", *([] if dvc else ["--no-dvc"]))
    study.change(**SETTINGS)
    (study.root / "data" / "slides").rmdir()


def give_slides(study: StudyFolder, drawn: Path, count: int) -> None:
    study.slides.mkdir(parents=True)
    for number in range(count):
        shutil.copy(drawn / "slides" / f"slide_{number}.tif", study.slides)
    (study.root / "data" / "slides").symlink_to(study.slides)


@pytest.fixture(scope="session")
def plain(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes projects with five slides, without DVC."""
    empty = StudyFolder(tmp_path_factory.mktemp("empty") / "study")
    set_up(empty, dvc=False)

    def make() -> StudyFolder:
        study = StudyFolder(tmp_path_factory.mktemp("plain") / "study")
        shutil.copytree(empty.root, study.root)
        give_slides(study, drawn, 5)
        return study

    return make


@pytest.fixture(scope="module")
def under_dvc(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """Four slides, under Git and DVC; what a test of a module leaves, the next one finds."""
    study = StudyFolder(tmp_path_factory.mktemp("under_dvc") / "study")
    set_up(study, dvc=True)
    give_slides(study, drawn, 4)
    study.commit()
    return study
