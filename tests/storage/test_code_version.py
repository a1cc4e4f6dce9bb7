"""Results made by other code are stale, so the code's version follows its sources."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sammil_cli.storage import code


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in (
        ("slides/a.py", "A = 1\nZ = 2\n"),
        ("slides/formats/b.py", "B = 2\n"),
        ("tissue/c.py", "C = 3\n"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text.encode())
    monkeypatch.setattr(code, "PACKAGE", tmp_path)
    code.code_version.cache_clear()
    yield tmp_path
    code.code_version.cache_clear()


def version(*folders: str) -> str:
    code.code_version.cache_clear()
    return code.code_version(*folders)


@pytest.mark.parametrize("file", ["slides/a.py", "slides/formats/b.py"])
def test_a_changed_file_changes_the_version_of_its_folder_alone(package: Path, file: str) -> None:
    slides, tissue = version("slides"), version("tissue")
    (package / file).write_bytes(b"A = 9\n")
    assert version("slides") != slides
    assert version("tissue") == tissue


def test_a_renamed_and_a_new_file_change_the_version(package: Path) -> None:
    first = version("slides")
    (package / "slides" / "a.py").rename(package / "slides" / "z.py")
    second = version("slides")
    (package / "slides" / "new.py").touch()
    assert len({first, second, version("slides")}) == 3


def test_order_line_ends_and_other_files_do_not_matter(package: Path) -> None:
    before = version("slides", "tissue")
    assert version("tissue", "slides") == before
    (package / "slides" / "a.py").write_bytes(b"A = 1\r\nZ = 2\r\n")
    (package / "slides" / "notes.txt").write_text("not code")
    assert version("slides", "tissue") == before


def test_a_single_file_is_a_place_too(package: Path) -> None:
    one = version("slides/a.py")
    (package / "slides" / "formats" / "b.py").write_bytes(b"B = 9\n")
    assert version("slides/a.py") == one
    (package / "slides" / "a.py").write_bytes(b"A = 9\n")
    assert version("slides/a.py") != one


def test_a_place_that_is_not_there_is_an_error_not_nothing(package: Path) -> None:
    for place in ("silde", "slides/none.py"):
        with pytest.raises(FileNotFoundError):
            version("slides", place)
