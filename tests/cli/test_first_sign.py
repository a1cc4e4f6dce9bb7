"""At a terminal a command says that it is starting before it loads what takes seconds; nothing of it stays."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CALL = "import sys; sys.argv = ['sammil', *sys.argv[1:]]; from sammil_cli.cli.app import main; main()"
SLOW = ("torch", "numpy", "cv2", "openslide")
# Each of the slow libraries says that it is loaded, and ends the command.
STAND_IN = "import os\nos.write(2, b'LOADED')\nos._exit(7)\n"
ERASE = "\r\x1b[K"


def at_terminal(folder: Path, *words: str, path: Path | None = None) -> tuple[str, str]:
    """What a command prints on a pipe that is its stdout, and on the terminal that is its stderr."""
    ours, its = os.openpty()
    paths = [str(path)] if path else []
    paths += filter(None, [os.environ.get("PYTHONPATH")])
    command = subprocess.Popen(
        [sys.executable, "-c", CALL, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=its,
        text=True,
    )
    os.close(its)
    said = b""
    with contextlib.suppress(OSError):  # how Linux says that a terminal's other end was closed
        while part := os.read(ours, 4096):
            said += part
    os.close(ours)
    out, _ = command.communicate(timeout=60)
    return out, said.decode()


@pytest.mark.parametrize("command", ["train", "evaluate", "segment", "sam", "inspect"])
def test_the_first_sign_comes_before_anything_slow_is_loaded(tmp_path: Path, command: str) -> None:
    for name in SLOW:
        (tmp_path / f"{name}.py").write_text(STAND_IN)
    (tmp_path / "params.yaml").write_text("folds: 2\n")
    (tmp_path / "data/slides").mkdir(parents=True)
    out, said = at_terminal(tmp_path, command, path=tmp_path)
    assert out == ""
    assert said.index(f"sammil {command} is starting") < said.index("LOADED")


def test_the_sign_goes_with_the_first_word_and_json_is_json(tmp_path: Path) -> None:
    out, said = at_terminal(tmp_path, "weights", "list", "--json")
    json.loads(out)
    sign, rest = said.split(ERASE)
    assert "sammil weights is starting" in sign
    assert rest == ""
    _, said = at_terminal(tmp_path, "segment", "--slides", "none")
    sign, rest = said.split(ERASE)
    assert "error:" in rest
    assert "starting" not in rest


def test_help_needs_no_sign(tmp_path: Path) -> None:
    out, said = at_terminal(tmp_path, "train", "--help")
    assert "Usage" in out
    assert said == ""
