"""All hostile slides in one folder through `sammil segment`, with readers that crash, hang, flood or give nonsense.

The run ends, good slides are done, each bad one has its code, message and remedy, no process is left.
"""

import csv
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from hostile_slides import SLIDES
from processes_seen import gone

CALL = "import sys; sys.argv = ['sammil', *sys.argv[1:]]; from sammil_cli.cli.app import main; main()"
HANG_SECONDS = 12
HOSTILE_READERS = {  # file name -> code, a piece of the message
    "a-sleeper.hang": ("E_TIMEOUT", "was stopped after 0.2 minutes"),  # first, so that the others go on meanwhile
    "segfaults.crash": ("E_CRASH", "SIGSEGV"),
    "eats.flood": ("E_MEMORY", "grew over 1.5 GiB"),
    "gives-nan.nan": ("E_READ", "gives float32"),
    "raises.raise": ("E_BUG", "the library gave up (hostile.py:"),
}


def environment() -> dict[str, str]:
    readers = str(Path(__file__).parent / "readers")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([readers, os.environ.get("PYTHONPATH", "")]).rstrip(":")}


def processes_of(session: int) -> list[int]:
    """All processes of a session, whatever their parents."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session:
                found.append(int(folder.name))
    return found


def test_a_folder_of_hostile_slides_is_done_and_listed(tmp_path: Path) -> None:
    slides = tmp_path / "data" / "slides"
    expected = {Path(name).stem: row for name, row in HOSTILE_READERS.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for slide in SLIDES:
            path = slides / slide.name
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                slide.make(path)
            except pytest.skip.Exception:  # a real file that is not here
                continue
            expected[slide.slide_id] = (slide.code, slide.message)
    for name in HOSTILE_READERS:
        (slides / name).write_text(name)
    table = [f"{slide.slide_id},{slide.mpp}\n" for slide in SLIDES if slide.mpp]
    (tmp_path / "data" / "slides.csv").write_text("slide_id,mpp\n" + "".join(table))
    (tmp_path / "params.yaml").write_text(
        f"slide_minutes: {HANG_SECONDS / 60}\nslide_memory_gib: 1.5\ntissue_min_area_um2: 1000\n"
    )
    start = time.monotonic()
    command = [sys.executable, "-c", CALL, "segment", "--workers", "2"]
    run = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    out, _ = run.communicate(timeout=300)
    assert run.returncode == 1, out
    assert gone(processes_of(run.pid)), "a process is left"

    with (tmp_path / "artifacts" / "process_lists" / "segment.csv").open(encoding="utf-8", newline="") as stream:
        listed = {row["slide_id"]: row for row in csv.DictReader(stream)}
    assert {name: row["code"] or row["status"] for name, row in listed.items()} == {
        name: code for name, (code, _) in expected.items()
    }
    for name, (code, message) in expected.items():
        if code == "done":
            assert (listed[name]["message"], listed[name]["remedy"]) == ("", ""), name
        else:
            assert message, name
            assert message in listed[name]["message"], name
            assert listed[name]["remedy"], name
    assert HANG_SECONDS <= float(listed["a-sleeper"]["seconds"]) < 2 * HANG_SECONDS
    done = {name for name, (code, _) in expected.items() if code == "done"}
    assert {path.stem for path in (tmp_path / "artifacts" / "tissue").iterdir()} == done
    assert "Traceback" not in out
    tally = f"segment: {len(done)} done"
    assert tally in out
    assert time.monotonic() - start < 10 * HANG_SECONDS
