"""Nobody reads what a command says: a pipe that is closed, a stream that was never open, a full disk behind it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from slide_maker import draw_asymmetric, write_pyramid

CALL = "import sys; sys.argv = ['sammil', *sys.argv[1:]]; from sammil_cli.cli.app import main; main()"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "params.yaml").write_text("tissue_min_area_um2: 1000.0\n", encoding="utf-8")
    write_pyramid(folder / "data" / "slides" / "one.tif", draw_asymmetric(), mpp=2.0)
    return folder


def shell(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Runs a line of bash in which `sammil` is the command under test; exit codes of a pipe are printed by `CODES`."""
    line = command.replace("sammil", '"$PYTHON" -c "$CALL"').replace("CODES", 'echo "${PIPESTATUS[@]}" >&2')
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env={**os.environ, "PYTHON": sys.executable, "CALL": CALL},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("words", ["inspect", "inspect --json", "--help", "--version", "weights list"])
def test_a_reader_that_has_gone_costs_nothing(project: Path, words: str) -> None:
    answer = shell(project, f"sammil {words} | true; CODES")
    assert answer.stderr.splitlines()[-1] == "0 0"
    assert "Traceback" not in answer.stderr
    assert "BrokenPipe" not in answer.stderr
    assert "Exception ignored" not in answer.stderr


def test_the_work_goes_on_when_its_reader_has_gone(project: Path) -> None:
    answer = shell(project, "sammil segment --workers 1 2>&1 | true; CODES")
    assert answer.stderr == "0 0\n"
    assert (project / "artifacts/tissue/one.geojson").is_file()


def test_the_exit_code_is_that_of_the_work(project: Path) -> None:
    assert shell(project, "sammil segment --slides no >&- 2>&-").returncode == 2
    assert shell(project, "sammil segment --slides no 2>&1 | true; CODES").stderr == "2 0\n"


@pytest.mark.parametrize(
    ("closed", "is_printed"), [(">&-", False), ("2>&-", True), ("<&-", True), (">&- 2>&- <&-", False)]
)
def test_streams_that_are_closed_cost_nothing(project: Path, closed: str, is_printed: bool) -> None:
    answer = shell(project, f"sammil inspect {closed}")
    assert answer.returncode == 0
    assert answer.stderr == ""
    assert ("one" in answer.stdout) == is_printed


def test_no_file_takes_the_place_of_a_closed_stream(project: Path, tmp_path: Path) -> None:
    """What a library prints would go into it."""
    code = (
        "from sammil_cli.cli.streams import hold_streams; hold_streams(); import os, sys; "
        "file = open(sys.argv[1], 'w'); os.write(1, b'a library'); os.write(2, b'speaks'); print('so do we')"
    )
    words = f'{sys.executable} -c "{code}" {tmp_path / "file"} >&- 2>&- <&-'
    assert subprocess.run(["bash", "-c", words], check=False, timeout=60, cwd=project).returncode == 0
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.parametrize("words", ["inspect", "inspect --json", "--help"])
def test_a_full_disk_behind_stdout_is_told(project: Path, words: str) -> None:
    answer = shell(project, f"sammil {words} > /dev/full")
    assert answer.returncode == 3
    assert answer.stderr.startswith("error: E_DISK: the disk is full: stdout (No space left on device)\n")
    assert "Traceback" not in answer.stderr
    assert "Exception ignored" not in answer.stderr


def test_a_full_disk_behind_stderr_costs_nothing(project: Path) -> None:
    answer = shell(project, "sammil inspect --json 2> /dev/full")
    assert answer.returncode == 0
    assert json.loads(answer.stdout)["slides"]
    assert shell(project, "sammil segment --slides no 2> /dev/full").returncode == 2
