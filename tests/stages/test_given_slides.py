"""The slides that a user names: files, folders, a table; each once, each by an id, and each a slide or refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sammil_cli.errors import InputError
from sammil_cli.slides.files import find_slides
from sammil_cli.stages.given_slides import gather, link

OUT = Path("out")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files in the working directory that are called like slides."""
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.svs", "in/b.tif", "other/a.svs", "in/deep/m.mrxs", "in/deep/m/Data0.dat", "notes.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(name.encode())
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save("picture.png")
    return tmp_path


def linked(*sources: str) -> tuple[dict[str, bytes], dict[str, str]]:
    """What lies behind the links, by slide id, and the codes of what is no slide."""
    folder = OUT / "work" / "slides"
    rows = link(gather([Path(source) for source in sources], OUT), folder)
    found = {} if len(rows) == len(list(folder.iterdir())) else find_slides(folder).paths
    return {name: path.read_bytes() for name, path in found.items()}, {row.slide_id: row.code for row in rows}


def test_files_and_folders_become_one_folder_of_links_with_the_files_that_belong_to_them(place: Path) -> None:
    slides, refused = linked("in", "picture.png")
    assert slides.keys() == {"a", "b", "m", "picture"}
    assert slides["a"] == b"in/a.svs"
    assert (OUT / "work/slides/m/m/Data0.dat").read_bytes() == b"in/deep/m/Data0.dat"
    assert refused == {}


def test_another_call_leaves_links_that_hold_and_removes_the_others(place: Path) -> None:
    linked("in")
    kept = (OUT / "work/slides/b/b.tif").lstat().st_mtime_ns
    slides, _ = linked("in/b.tif", "other/a.svs")
    assert slides == {"a": b"other/a.svs", "b": b"in/b.tif"}
    assert (OUT / "work/slides/b/b.tif").lstat().st_mtime_ns == kept


def test_a_slide_that_is_given_twice_is_judged_once(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = gather([Path("in/b.tif"), Path("in/../in/b.tif"), Path("in")], OUT)
    assert given.paths.keys() == {"a", "b", "m"}
    assert "is given twice, and judged once" in capsys.readouterr().out


def test_a_file_that_no_format_reads_costs_itself_only(place: Path) -> None:
    slides, refused = linked("notes.txt", "in/b.tif")
    assert slides.keys() == {"b"}
    assert refused == {"notes": "E_OPEN"}
    assert linked("notes.txt") == ({}, {"notes": "E_OPEN"})


def test_a_picture_whose_name_begins_like_a_slides_is_not_passed_over_in_silence(place: Path) -> None:
    Path("picture.png").rename("b_1.png")
    slides, refused = linked("in/b.tif", "b_1.png")
    assert slides.keys() == {"b"}
    assert refused == {"b_1": "E_OPEN"}


def test_a_table_gives_paths_from_its_own_folder_patients_and_new_names(place: Path) -> None:
    Path("in/t.csv").write_text(
        "slide_id,path,patient_id,mpp\nfirst,a.svs,p,0.5\nsecond,deep/m.mrxs,p,\nlost,x.svs,q,\n"
    )
    given = gather([Path("in/t.csv")], OUT)
    assert {name: path.as_posix() for name, path in given.paths.items()} == {
        "first": "in/a.svs",
        "second": "in/deep/m.mrxs",
    }
    assert given.patients == {"first": "p", "second": "p", "lost": "q"}
    (lost,) = given.refused
    assert (lost.slide_id, lost.code, lost.status) == ("lost", "E_OPEN", "set-aside")
    assert "in/t.csv, line 4" in lost.remedy
    slides, _ = linked("in/t.csv")
    assert slides.keys() == {"first", "second"}
    assert (OUT / "work/slides/second/second/Data0.dat").exists()


def test_a_table_without_paths_speaks_of_slides_that_are_given_besides(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("t.csv").write_text("slide_id,patient_id\na,p\nbb,q\n")
    given = gather([Path("in"), Path("t.csv")], OUT)
    assert given.paths.keys() == {"a", "b", "m"}
    assert given.patients["a"] == "p"
    assert "t.csv: slide 'bb' has no path and is not given; did you mean b" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("sources", "table", "message"),
    [
        (("nowhere",), "", "nowhere does not exist"),
        (("in", "other"), "", "two slides have the id 'a': in/a.svs and other/a.svs"),
        (("empty",), "", r"no slides in empty \(0 files"),
        (("t.csv", "u.csv"), "", "two tables are given: t.csv and u.csv"),
        (("t.csv",), "slide_id,path,mmp\na,in/a.svs,1\n", "t.csv has the column 'mmp'"),
        (("t.csv",), "slide_id,path,mpp\na,in/a.svs,one\n", "line 2: mpp 'one' is no positive number"),
        (("t.csv",), "slide_id,path\n../a,in/a.svs\n", "t.csv has the id '../a', which is no file name"),
        (("t.csv",), "path\nin/a.svs\n", "lacks the column 'slide_id'"),
        ((".",), "", "the results would lie among the slides: out is in ."),
    ],
)
def test_what_cannot_be_meant_is_refused(place: Path, sources: tuple[str, ...], table: str, message: str) -> None:
    Path("empty").mkdir()
    Path("t.csv").write_text(table)
    with pytest.raises(InputError, match=message) as caught:
        gather([Path(source) for source in sources], OUT)
    assert caught.value.remedy
    assert not OUT.exists()
