"""A stage removes what it made itself, and says what it removed, replaced and left."""

from pathlib import Path

import pytest
from h5_files import bag

from sammil_cli.features.bag import write_bag
from sammil_cli.runner import out_folder
from sammil_cli.runner.out_folder import OutFolder, is_own
from sammil_cli.storage.files import provenance, write_csv, write_text
from sammil_cli.storage.paths import BagPath


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Bags of extract (own, gone) and convert-legacy (theirs, both), a picture without a record, a user's file."""
    for name, stage in (
        ("own", "extract"),
        ("gone", "extract"),
        ("theirs", "convert-legacy"),
        ("both", "convert-legacy"),
    ):
        write_bag(BagPath(tmp_path / f"{name}.h5"), bag(name), provenance(stage, {}, {}))
        write_text(tmp_path / f"{name}.{'json' if stage == 'extract' else 'txt'}", "beside it")
    for name in ("listed.png", "failed.png", "notes.md"):
        write_text(tmp_path / name, "")
    rows = [("listed", "reused"), ("failed", "failed"), ("theirs", "done")]
    write_csv(tmp_path / "lists" / "extract.csv", ("slide_id", "status"), rows)
    return tmp_path


def left(out: Path) -> set[str]:
    return {path.name for path in out.iterdir() if path.is_file()}


def test_what_another_command_or_the_user_made_stays(out: Path) -> None:
    folder = OutFolder(out, "extract", out / "lists" / "extract.csv", None)
    folder.remember("both")  # before the stage's own result replaces it
    folder.clear({"own.h5", "own.json", "both.h5"}, {"own", "both"})
    assert left(out) == {"own.h5", "own.json", "both.h5", "theirs.h5", "theirs.txt", "failed.png", "notes.md"}
    assert list(folder.said({"own", "both"})) == [
        "removed what it had made of 2 slide(s): gone, listed, not done now",
        "replaced what convert-legacy had made of 1 slide(s): both",
        f"left what convert-legacy made of 1 slide(s): theirs in {out}",
    ]


def test_what_lies_there_as_the_stage_makes_it_is_not_opened(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = list[str]()
    monkeypatch.setattr(out_folder, "maker_of", lambda path: opened.append(path.name))
    OutFolder(out, "extract", out / "lists" / "extract.csv", frozenset({"own", "gone"})).clear({"own.h5"}, {"own"})
    assert opened == ["gone.h5"]


def test_a_result_that_comes_in_later_takes_the_place_of_the_others(out: Path) -> None:
    folder = OutFolder(out, "extract", out / "lists" / "extract.csv", None)
    folder.clear(set(), set())
    assert "both.txt" in left(out)
    assert (folder.was_others("both"), folder.was_others("own"), folder.was_others("notes")) == (True, False, False)
    folder.take_over("both", {"both.h5"})
    assert {name for name in left(out) if name.startswith("both")} == {"both.h5"}
    assert "replaced what convert-legacy had made of 1 slide(s): both" in list(folder.said({"both"}))


def test_a_restricted_run_looks_at_its_own_slides_only(out: Path) -> None:
    before = left(out)
    folder = OutFolder(out, "extract", out / "lists" / "extract.csv", frozenset({"gone", "theirs"}))
    folder.clear(set(), set())
    assert before - left(out) == {"gone.h5", "gone.json"}
    assert is_own(out, "own", "extract", ())
    assert not is_own(out, "theirs", "extract", {"theirs"})
