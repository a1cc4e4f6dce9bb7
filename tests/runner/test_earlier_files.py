"""A stage without files of the one before says why they are missing."""

from pathlib import Path

import pytest

from sammil_cli.errors import InputError
from sammil_cli.project.process_list import HEADER
from sammil_cli.project.project import Project
from sammil_cli.runner.earlier_files import files_of, lack_of
from sammil_cli.storage.files import write_csv
from sammil_cli.storage.paths import PatchesPath

SMALL = ("E_SMALL", "no whole patch fits", "use a smaller patch_px")
NONE = ("E_NO_PATCH", "none of the 9 places", "lower patch_min_tissue")


def project(tmp_path: Path, **codes: tuple[str, str, str] | None) -> Project:
    """A project after `patch`, with what became of each slide; None = it is done."""
    found = Project(patches=tmp_path / "patches", regions=tmp_path / "regions", process_lists=tmp_path / "lists")
    rows = [
        (slide, "set-aside" if code else "done", *(code or ("", "", "")), "0.10", "") for slide, code in codes.items()
    ]
    if rows:
        write_csv(found.process_lists / "patch.csv", HEADER, rows)
    found.patches.mkdir(exist_ok=True)
    for slide in (slide for slide, code in codes.items() if code is None):
        (found.patches / f"{slide}.h5").touch()
    return found


def refused(project: Project, *only: str) -> InputError:
    with pytest.raises(InputError) as caught:
        files_of(PatchesPath, project, project.patches, "patch", frozenset(only) or None)
    return caught.value


def test_a_stage_that_did_not_run_is_to_be_run(tmp_path: Path) -> None:
    error = refused(project(tmp_path))
    assert error.message == f"there is no patch grid in {tmp_path / 'patches'}"
    assert error.remedy == "run: sammil patch"


def test_a_stage_that_set_all_slides_aside_is_not_to_be_run_again(tmp_path: Path) -> None:
    error = refused(project(tmp_path, a=NONE, b=SMALL, c=NONE))
    assert "sammil patch did none of 3 slide(s) (E_NO_PATCH 2, E_SMALL 1), such as a: none of the 9" in error.message
    assert error.remedy == f"lower patch_min_tissue; all reasons: {tmp_path / 'lists' / 'patch.csv'}"
    assert "run: sammil patch" not in error.remedy


def test_a_slide_that_was_set_aside_is_named_with_its_reason(tmp_path: Path) -> None:
    made = project(tmp_path, slide_1=None, slide_2=SMALL)
    error = refused(made, "slide_1", "slide_2")
    assert "'slide_2', which sammil patch did not do: E_SMALL no whole patch fits" in error.message
    assert error.remedy == "use a smaller patch_px"
    assert "did you mean slide_1" in refused(made, "slide_3").remedy
    lack = lack_of(made, "slide_2", made.patches / "slide_2.h5", "patch")
    assert (lack.code, lack.remedy) == ("E_UPSTREAM", "use a smaller patch_px")
    assert "did not do the slide: E_SMALL" in lack.message
    assert lack_of(made, "slide_1", made.patches / "slide_1.h5", "patch").remedy == "run: sammil patch"


def test_a_process_list_that_cannot_be_read_stops_nothing(tmp_path: Path) -> None:
    made = project(tmp_path, a=None, b=SMALL)
    (made.process_lists / "patch.csv").write_text("slide_id;status\n", encoding="utf-8")
    assert files_of(PatchesPath, made, made.patches, "patch", None) == [made.patches / "a.h5"]
    assert "which is not in" in refused(made, "b").message
