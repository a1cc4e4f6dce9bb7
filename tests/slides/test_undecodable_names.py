"""Names that are no UTF-8, as an archive of another system leaves them: the slide is listed and set aside, alone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from inline_executor import open_inline
from slide_maker import write_tiny_cohort
from study_fixtures import SMALL, call, inside, set_params

from sammil_cli.errors import SlideError
from sammil_cli.runner import per_slide
from sammil_cli.slides.files import find_slides, no_name
from sammil_cli.storage.files import check_name, read_csv, write_csv
from sammil_cli.storage.picture_file import write_picture
from sammil_cli.storage.shown_text import json_text

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only there names are any bytes")
BAD = os.fsdecode(b"gew\xe4chs")
SHOWN = r"gew\udce4chs"
FOLDERS = ("edits", "rois", "annotations", "lesions")
CALL = "import sys; sys.argv = ['sammil', *sys.argv[1:]]; from sammil_cli.cli.app import main; main()"
BARE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two slides, one of them with a letter beyond ASCII, and one whose name is no UTF-8; drawings of that name."""
    folder = tmp_path / "study"
    assert call("init", folder, "--preset", "demo", "--no-dvc").code == 0
    write_tiny_cohort(folder / "data")
    first, second, *others = sorted((folder / "data/slides").iterdir())
    for path in others:
        path.unlink()
    second.rename(second.with_name("größe.tif"))
    shutil.copy(first, first.with_name(f"{BAD}.tif"))
    for name in FOLDERS:
        (folder / "data" / name).mkdir(exist_ok=True)
        (folder / "data" / name / f"{BAD}.geojson").write_text("{}")
        (folder / "data" / name / f"{BAD}.xyz").write_text("{}")
    (folder / "data/labels.csv").write_text("slide_id,label\nslide_0,normal\ngröße,tumour\n", encoding="utf-8")
    set_params(folder, **SMALL)
    return folder


def test_a_python_that_is_told_not_to_speak_utf8_begins_anew_once() -> None:
    words = [sys.executable, "-X", "utf8=0", "-c", CALL, "--version"]
    answer = subprocess.run(words, env={**os.environ, **BARE}, capture_output=True, timeout=60, check=False)
    assert (answer.returncode, answer.stdout.startswith(b"sammil ")) == (0, True)


def test_that_slide_alone_is_set_aside_and_listed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(per_slide, "open_executor", open_inline)
    listing = project / "artifacts/process_lists/segment.csv"
    with inside(project):
        answer = call("segment")
        rows = {row["slide_id"]: row for row in read_csv(listing, ("slide_id",))}
        assert {name: row["code"] or row["status"] for name, row in rows.items()} == {
            "slide_0": "done",
            "größe": "done",
            SHOWN: "E_NAME",
        }
        assert rows[SHOWN]["message"] == rf"its path is no UTF-8: data/slides/{SHOWN}.tif"
        assert "convmv" in rows[SHOWN]["remedy"]
        assert answer.code == 1
        assert rf"set-aside: {SHOWN}  E_NAME" in answer.out
        again = call("segment", "--only", listing)  # the list feeds back
        assert "1 set-aside" in again.out
        for verb in ("check", "inspect", "status"):
            said = call(verb)
            assert SHOWN in said.out or verb == "status"
            said.out.encode()
        for verb in ("check", "inspect", "status"):
            assert json.loads(call(verb, "--json").out)
        assert call("patch").code == 0
        assert call("why", SHOWN).code == 0


@pytest.mark.slow
def test_a_bare_locale_changes_nothing(project: Path) -> None:
    """There every name beyond ASCII looked like no UTF-8."""
    env = {**os.environ, **BARE}
    for verb, code in (("check", 2), ("inspect", 1), ("segment", 1), ("status", 0)):
        command = [sys.executable, "-c", CALL, verb]
        run = subprocess.run(command, cwd=project, env=env, capture_output=True, check=False, timeout=200)
        assert run.returncode == code, run
        assert b"Traceback" not in run.stdout + run.stderr
        run.stdout.decode("utf-8")
    rows = read_csv(project / "artifacts/process_lists/segment.csv", ("slide_id",))
    assert {row["slide_id"]: row["status"] for row in rows} == {"slide_0": "done", "größe": "done", SHOWN: "set-aside"}


def test_a_project_in_a_folder_whose_name_is_no_utf8_works(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV crashed when it wrote a picture there."""
    monkeypatch.setattr(per_slide, "open_executor", open_inline)
    moved = project.rename(project.with_name(BAD))
    (moved / f"data/slides/{BAD}.tif").unlink()
    with inside(moved):
        for verb in ("segment", "patch", "sam"):
            assert call(verb).code == 0, verb
        assert call("status").code == 0
    assert (moved / "artifacts/regions/größe.png").is_file()


def test_the_only_slide_with_such_a_name_is_listed_too(tmp_path: Path) -> None:
    (tmp_path / f"{BAD}.svs").touch()
    found = find_slides(tmp_path)
    assert (found.paths, list(found.unnameable)) == ({}, [SHOWN])
    assert found.inventory() == "1 files: 1 slide"
    assert no_name(found.unnameable[SHOWN]).code == "E_NAME"


def test_a_slide_that_is_really_called_so_comes_first(tmp_path: Path) -> None:
    for name in (f"{BAD}.svs", f"{SHOWN}.svs"):
        (tmp_path / name).touch()
    found = find_slides(tmp_path)
    assert (list(found.paths), found.unnameable) == ([SHOWN], {})
    assert found.unsupported == {"name that is no UTF-8": 1}


def test_no_stage_writes_files_of_such_a_name(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r"its name is no UTF-8: gew\\udce4chs") as caught:
        check_name(BAD, tmp_path)
    assert caught.value.code == "E_NAME"


def test_tables_json_and_pictures_take_such_names(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ("slide_id",), [(BAD,)])
    assert read_csv(tmp_path / "a.csv", ("slide_id",)) == [{"slide_id": SHOWN}]
    assert json.loads(json_text([BAD]).encode()) == [BAD]
    picture = np.zeros((4, 5, 3), np.uint8)
    picture[..., 0] = 200
    for suffix in (".png", ".jpg"):
        write_picture(tmp_path / f"{BAD}{suffix}", picture)
        (tmp_path / f"{BAD}{suffix}").rename(tmp_path / f"a{suffix}")
    import cv2

    assert cv2.imread(str(tmp_path / "a.png"))[0, 0].tolist() == [0, 0, 200]  # it reads BGR
