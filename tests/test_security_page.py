"""SECURITY.md names tests and pages that are there, and promises no more than the code has."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_every_test_and_page_that_it_names_is_there() -> None:
    files = re.findall(r"`((?:tests|\.ci)/[\w./-]+)`", PAGE) + re.findall(r"\]\(([^)#:]+)", PAGE)
    assert len(files) > 15
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_every_code_that_it_names_is_listed() -> None:
    codes = set(re.findall(r"`(E_[A-Z_]+)`", PAGE))
    listed = set(re.findall(r"^\| `(E_[A-Z_]+)`", (ROOT / "docs/errors.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert codes
    assert codes <= listed


def test_it_says_how_to_report_and_invents_no_address() -> None:
    assert '"Report a vulnerability"' in PAGE
    assert "@" not in PAGE
    assert "://" not in PAGE


def test_nothing_in_the_package_unpickles_but_what_it_names() -> None:
    """A call of `pickle` elsewhere, or torch's loader without `weights_only`, needs a line there first."""
    sources = {
        path.relative_to(ROOT / "sammil_cli").as_posix(): path.read_text(encoding="utf-8")
        for path in (ROOT / "sammil_cli").rglob("*.py")
    }
    assert len(sources) > 200
    calls = re.compile(r"pickle\.loads?\(|\bUnpickler\b|marshal|shelve|diskcache|(?<![.\w])(?:eval|exec)\(")
    assert {name for name, text in sources.items() if calls.search(text)} == {"legacy/unpickler.py"}
    for name, text in sources.items():
        for call in re.findall(r"torch\.load\([^\n]*", text):
            assert "weights_only=True" in call, name
        assert not re.search(r"yaml\.(?:load|full_load|unsafe_load)\(", text), name
        assert not re.search(r"allow_pickle=True", text), name
