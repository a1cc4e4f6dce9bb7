"""What sources mean is kept from one command to the next, and only while it is true."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sammil_cli.storage import code_meaning
from sammil_cli.storage.code_meaning import Meaning, keep_meanings, meaning_of

SOURCE = b"import torch\nfrom sammil_cli.slides import read\nX = 1\n"


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file in which meanings are kept, not there yet."""
    monkeypatch.setattr(code_meaning, "_KEPT", tmp_path / "cache/code.json")
    monkeypatch.setattr(code_meaning, "_found", {})
    monkeypatch.setattr(code_meaning, "_asked", set())
    monkeypatch.setattr(code_meaning, "_new", set())
    code_meaning._load_kept.cache_clear()
    yield tmp_path / "cache/code.json"
    code_meaning._load_kept.cache_clear()


def ask_anew(text: bytes = SOURCE) -> Meaning:
    """As another command does: it knows nothing but the file."""
    code_meaning._found.clear()
    code_meaning._asked.clear()
    code_meaning._load_kept.cache_clear()
    found = meaning_of(text, "sammil_cli.jobs.work", is_package=False)
    keep_meanings()
    return found


def test_another_command_reads_no_source_again(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ask_anew()
    assert first.imported == ("torch", "sammil_cli.slides.read")

    def parse(text: bytes) -> ast.AST:
        raise AssertionError("it was parsed again")

    monkeypatch.setattr(ast, "parse", parse)
    assert ask_anew() == first
    with pytest.raises(AssertionError, match="parsed again"):
        ask_anew(SOURCE.replace(b"1", b"2"))


@pytest.mark.parametrize("damage", ["cut", "another digest", "another method", "no JSON", "unwritable"])
def test_what_is_kept_is_used_only_as_it_was_written(kept: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ask_anew()
    text = kept.read_text(encoding="utf-8")
    if damage == "unwritable":
        monkeypatch.setattr(code_meaning, "_KEPT", kept / "code.json")  # its folder is a file
    elif damage == "another method":
        monkeypatch.setattr(code_meaning, "_method", lambda: "of a later version")
        monkeypatch.setattr(code_meaning, "short_digest", lambda text: "0" * 16)
        assert ask_anew().digest == "0" * 16
        return
    else:
        kept.write_text(
            {"cut": text[:90], "another digest": text.replace(first.digest, "f" * 16), "no JSON": "{"}[damage],
            encoding="utf-8",
        )
    assert ask_anew() == first
    if damage != "unwritable":
        assert json.loads(kept.read_text(encoding="utf-8")) == json.loads(text)


def test_sources_of_old_versions_do_not_pile_up(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_meaning, "_MOST_KEPT", 3)
    for number in range(5):
        ask_anew(b"X = %d" % number)
    assert len(json.loads(kept.read_text(encoding="utf-8"))["meanings"]) <= 3


def test_what_a_command_asks_for_outlives_the_old_versions(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_meaning, "_MOST_KEPT", 3)
    for number in range(3):
        ask_anew(b"X = %d" % number)
    code_meaning._asked.clear()
    for number in (0, 1, 7):
        meaning_of(b"X = %d" % number, "sammil_cli.jobs.work", is_package=False)
    keep_meanings()
    assert set(json.loads(kept.read_text(encoding="utf-8"))["meanings"]) == code_meaning._asked
