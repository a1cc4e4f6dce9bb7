"""The doctor survives what it finds: exceptions, crashes and silence of the examining process."""

import json
import sys
from pathlib import Path

import pytest

from sammil_cli import console
from sammil_cli.doctor import run as doctor
from sammil_cli.doctor.examine import CHECKS, MARK, load
from sammil_cli.doctor.finding import Asked, Finding, note, ok, wrong
from sammil_cli.errors import InputError

ASKED = Asked(params=Path("params.yaml"))
GOOD = {"group": "Some", "name": "good", "state": "ok", "found": "is here", "remedy": "", "facts": {}}
# An examiner that finds everything good, but does `{deed}` at the check `bad`.
SCRIPT = """
import json, os, signal, sys, time
for name in json.loads(sys.argv[1])["checks"]:
    if name == "bad":
        print("a library's own words", flush=True)
        {deed}
    print("noise without an end {mark}" + json.dumps({{"found": {good}}}))
    print({mark!r} + json.dumps({{"done": name}}), flush=True)
"""


def examiner(deed: str) -> list[str]:
    return [sys.executable, "-S", "-c", SCRIPT.format(deed=deed, mark=MARK, good=GOOD)]


@pytest.fixture(autouse=True)
def _three_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", ("first", "bad", "last"))
    monkeypatch.setitem(console._state, "quiet", False)  # whatever --json an earlier test gave


def test_every_check_can_be_loaded() -> None:
    assert len(set(CHECKS)) == len(CHECKS)
    assert all(callable(load(name)) for name in CHECKS)
    # The slide reader is loaded before torch, as in every process of sammil.
    assert CHECKS.index("libopenslide.library") < CHECKS.index("python_packages.torch")


def test_nothing_is_wrong_where_every_check_is_done() -> None:
    found = doctor.run(ASKED, examiner=examiner("pass"))
    assert [finding.state for finding in found] == ["ok", "ok", "ok"]
    assert doctor.exit_code(found) == 0


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        ("raise RuntimeError('no such thing')", "RuntimeError: no such thing"),
        ("os.kill(os.getpid(), signal.SIGILL)", "killed by SIGILL"),
        ("sys.stdout.write('\\x1e' + '{cut'); sys.stdout.flush(); os._exit(0)", "ended with 0"),
    ],
)
def test_a_check_that_does_not_end_is_a_finding_and_the_others_are_made(deed: str, words: str) -> None:
    good, death, after = doctor.run(ASKED, examiner=examiner(deed))
    assert (good.state, after.state) == ("ok", "ok")
    assert (death.state, death.name) == ("wrong", "bad")
    assert words in death.found
    assert death.remedy
    assert "a library's own words" in death.facts["words"]


def test_a_check_that_hangs_is_ended() -> None:
    _, death, after = doctor.run(ASKED, examiner=examiner("time.sleep(60)"), patience=0.7)
    assert "said nothing for 1 s" in death.found
    assert after.state == "ok"


def test_a_python_that_cannot_be_started_is_told_and_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", tuple(f"check {number}" for number in range(9)))
    found = doctor.run(ASKED, examiner=["/no/such/python"])
    assert len(found) == doctor._MOST_DEATHS + 1
    assert "/no/such/python cannot be started" in found[0].found
    assert found[-1].found == "not looked at: check 6, check 7, check 8"


def test_a_folder_that_is_gone_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(InputError, match="was deleted while you were in it"):
        doctor.run(ASKED, examiner=["/no/such/python"])


FOUND = [
    ok("Python", "torch", "2.0", version="2.0"),
    note("GPU", "driver", "none", "install one"),
    wrong("Python", "cv2", "is broken", "mend it"),
    wrong("Python", "numpy", "is broken, too", "mend it"),
    wrong("Weights", "vit_h", "is absent", "fetch it"),
]


def test_the_report_goes_by_group_and_ends_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    doctor.report(FOUND)
    out = capsys.readouterr().out
    head, todo = out.split("\nWhat to do (3 wrong; 1 note above):\n")
    assert [line for line in head.splitlines() if not line.startswith(" ")] == ["Python", "GPU", "Weights"]
    assert "  ok    torch           2.0\n" in head
    assert "-> install one" in head
    assert todo == "  1. cv2, numpy: is broken\n     mend it\n  2. vit_h: is absent\n     fetch it\n"


def test_in_a_terminal_lines_are_folded_but_commands_and_paths_are_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, command = "/a" * 40, "run " * 40
    found = [ok("Python", "torch", f"2.0, built for CUDA 13.0, which is new, {path}"), wrong("G", "x", "no", command)]
    doctor.report(found)
    assert f"  ok    torch           2.0, built for CUDA 13.0, which is new, {path}\n" in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    doctor.report(found)
    out = capsys.readouterr().out
    assert f"  ok    torch           2.0, built for CUDA 13.0, which is\n{' ' * 24}new,\n{' ' * 24}{path}\n" in out
    assert f"     {command}\n" in out


def test_notes_are_not_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.exit_code(FOUND[:2]) == 0
    assert doctor.exit_code(FOUND) == 3
    doctor.report(FOUND[:2])
    assert capsys.readouterr().out.endswith("\nAll is well; 1 note above.\n")


def test_programs_get_everything() -> None:
    record = json.loads(json.dumps(doctor.as_record(FOUND)))
    assert record["exit_code"] == 3
    assert record["counts"] == {"ok": 1, "note": 1, "wrong": 3}
    assert [Finding(**finding) for finding in record["findings"]] == FOUND
