"""sammil doctor: all checks, each of them apart, so that what is broken ends a check and not the doctor."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
import textwrap
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from queue import Empty, Queue
from typing import IO, Any

from sammil_cli import console
from sammil_cli.doctor.causes import REPORT, one_line, why_it_died
from sammil_cli.doctor.examine import CHECKS, MARK, TORCH
from sammil_cli.doctor.finding import Asked, Finding, State, wrong
from sammil_cli.errors import InputError

EXAMINER = (sys.executable, "-P", "-m", "sammil_cli.doctor.examine")  # -P: no module of the working folder
PATIENCE_SECONDS = 180.0  # without a word; reading gigabytes of weights from a slow disk is no hang
_MOST_DEATHS = 6  # of an examining process; then what is left of its share is not looked at
_GIVEN_UP = "given up"
_LAST_WORDS = 60  # lines of it that are kept
_ENDING_SECONDS = 5.0  # one that hangs in the kernel, on a dead disk, cannot be killed: it is left alone
_WIDTH = 15  # of the column of names


def run(asked: Asked, *, examiner: Sequence[str] = EXAMINER, patience: float = PATIENCE_SECONDS) -> list[Finding]:
    """Makes all checks in two processes of their own, side by side; one that raises, crashes or hangs is a finding.

    A process is started again for the checks that are left then.

    Args:
        examiner: the command that makes the checks; what is asked is added to it as JSON.
        patience: seconds without a word after which it is taken to hang.

    Raises:
        InputError: the working folder is gone.
    """
    try:
        Path.cwd()  # libraries fail in a folder that is gone with words that lead elsewhere
    except FileNotFoundError:
        raise InputError("this folder was deleted while you were in it", remedy='cd "$PWD"') from None
    torchs = [name for name in CHECKS if name in TORCH]
    others = [name for name in CHECKS if name not in TORCH]
    with console.progress(len(CHECKS), "looking") as bar:
        bar.at(0, CHECKS[0])
        shares = [_Share(checks, asked, [*examiner], patience, bar) for checks in (torchs, others) if checks]
        try:
            for share in shares:
                share.start()
            for share in shares:
                share.join()
        finally:
            for share in shares:
                share.stop()
    found = {name: findings for share in shares for name, findings in share.found.items()}
    return [finding for name in (*CHECKS, _GIVEN_UP) for finding in found.get(name, ())]


class _Share(threading.Thread):
    """Makes some of the checks in turn, in a process that is started again for those that are left when it dies.

    `found` has what was found by each check, and under `_GIVEN_UP` which were not made.
    """

    _telling = threading.Lock()

    def __init__(
        self, checks: Sequence[str], asked: Asked, examiner: list[str], patience: float, bar: console.Bar
    ) -> None:
        super().__init__(daemon=True)  # Ctrl-C waits for nothing
        self.found: dict[str, list[Finding]] = {}
        self._left, self._asked, self._bar = list(checks), asked, bar
        self._examiner, self._patience = examiner, patience
        self._visit: _Visit | None = None
        self._stopped = False

    def run(self) -> None:
        deaths = 0
        while self._left and not self._stopped:
            words = {"params": str(self._asked.params), "assignments": self._asked.assignments, "checks": self._left}
            self._visit = _Visit([*self._examiner, json.dumps(words)], self._patience)
            for record in self._visit.records():
                if "found" in record:
                    self._add(self._left[0], Finding(**record["found"]))
                else:
                    self._end(record["done"])
            if self._left:
                self._add(self._left[0], self._visit.death(self._left[0]))
                self._end(self._left[0])
                deaths += 1
            if self._left and deaths >= _MOST_DEATHS:
                found = f"not looked at: {', '.join(self._left)}"
                self._add(_GIVEN_UP, wrong("Doctor", "given up", found, REPORT))
                return

    def stop(self) -> None:
        """Ends its process at once, where one is at work."""
        self._stopped = True
        if self._visit:
            self._visit.kill()

    def _add(self, check: str, finding: Finding) -> None:
        self.found.setdefault(check, []).append(finding)

    def _end(self, check: str) -> None:
        self._left.remove(check)
        with self._telling:
            self._bar.advance(self._left[0] if self._left else check)


_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt)\b")


class _Visit:
    """One life of the examining process."""

    def __init__(self, command: Sequence[str], patience: float) -> None:
        self._command, self._patience = command, patience
        self._code: int | None = None  # None: it hung
        self._words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._process: subprocess.Popen[bytes] | None = None

    def records(self) -> Iterator[dict[str, Any]]:
        """What the process tells, as it tells it; ends with the process."""
        try:
            self._process = process = subprocess.Popen(  # noqa: S603 - our own command
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        except OSError as error:
            self._words.append(f"{self._command[0]} cannot be started: {error}")
            self._code = 1
            return
        lines: Queue[bytes | None] = Queue()
        threading.Thread(target=_listen, args=(process.stdout, lines), daemon=True).start()
        try:
            while (line := lines.get(timeout=self._patience)) is not None:
                words, mark, text = line.decode(errors="replace").partition(MARK)
                if words.strip():
                    self._words.append(words.strip())
                if mark and text.endswith("\n"):  # else it died while it told
                    yield json.loads(text)
            self._code = process.wait(_ENDING_SECONDS)
        except (Empty, subprocess.TimeoutExpired):
            self._code = None
        finally:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_ENDING_SECONDS)

    def kill(self) -> None:
        """Ends the process, if it lives."""
        if self._process:
            self._process.kill()

    def death(self, check: str) -> Finding:
        """What ended it before this check was done."""
        if self._code is None:
            found = f"said nothing for {self._patience:.0f} s: a disk or a driver that hangs"
            remedy = "dmesg | tail; df -h"
        elif self._code > 0 and self._words:  # an exception: a line says which; a library may have the last word
            named = [word for word in self._words if _EXCEPTION.match(word)]
            found, remedy = one_line((named or self._words)[-1]), REPORT
        else:
            found, remedy = why_it_died(self._code)
            places = (re.search(r'File "(.+?)", line \d+', word) for word in self._words)
            found += next((f" in {place[1]}" for place in places if place), "")  # innermost first: faulthandler's way
        return wrong("Doctor", check, f"the check did not end: {found}", remedy, words=list(self._words))


def _listen(stream: IO[bytes], lines: "Queue[bytes | None]") -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def as_record(found: Sequence[Finding]) -> dict[str, object]:
    """Everything for programs."""
    states: tuple[State, ...] = ("ok", "note", "wrong")
    counts = {state: sum(finding.state == state for finding in found) for state in states}
    return {"exit_code": exit_code(found), "counts": counts, "findings": [asdict(finding) for finding in found]}


def exit_code(found: Sequence[Finding]) -> int:
    """3, something needed is missing, where anything is wrong; else 0."""
    return 3 if any(finding.state == "wrong" for finding in found) else 0


def report(found: Sequence[Finding]) -> None:
    """Prints the findings by group, then what to do; in a terminal folded to its width, but for commands."""
    for group in dict.fromkeys(finding.group for finding in found):
        console.say(group)
        for finding in (finding for finding in found if finding.group == group):
            mark = "WRONG" if finding.state == "wrong" else finding.state
            _say(f"  {mark:<5} {finding.name:<{_WIDTH}} {finding.found}", _WIDTH + 9)
            if finding.state == "note" and finding.remedy:
                console.say(f"        {'':<{_WIDTH}} -> {finding.remedy}")
    faults = [finding for finding in found if finding.state == "wrong"]
    notes = sum(finding.state == "note" for finding in found)
    more = f"; {notes} note{'s' if notes > 1 else ''} above" if notes else ""
    if not faults:
        console.say("", f"All is well{more}.")
        return
    console.say("", f"What to do ({len(faults)} wrong{more}):")
    for number, remedy in enumerate(dict.fromkeys(finding.remedy for finding in faults), 1):
        same = [finding for finding in faults if finding.remedy == remedy]
        names = ", ".join(dict.fromkeys(finding.name for finding in same))
        _say(f"  {number}. {names}: {same[0].found}", 5)
        console.say(f"     {remedy}")


def _say(line: str, indent: int) -> None:
    """Says a line; paths stay in one piece, so that they can be copied."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else len(line)
    console.say(
        *textwrap.wrap(
            line, max(width, 2 * indent), subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
        )
    )
