"""The command line as a function."""

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sammil_cli.cli.app import main


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a params.yaml of defaults, as working directory; no weights anywhere."""
    (tmp_path / "weights").mkdir()
    monkeypatch.setenv("SAMMIL_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "params.yaml").write_text("seed: 3\n", encoding="utf-8")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def sammil(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Answer]]:
    """Calls `sammil` with words, in this process, through its entry point."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def call(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["sammil", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Answer(code=int(ended.value.code or 0), out=out, err=err)

    yield call
    root.handlers[:], root.level = handlers, level
