"""Workers that misbehave; run in processes of their own by test_per_slide.py."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from sammil_cli.errors import InputError, SlideError
from sammil_cli.storage.files import Record


@dataclass(frozen=True)
class SlideJob:
    """What a slide's worker is to do."""

    slide: str
    behaviour: str


def work(folder: Path, record: Record, job: SlideJob) -> list[str]:
    """Writes `<slide>.txt`, or does what `behaviour` says."""
    slide, behaviour = job.slide, job.behaviour
    if behaviour == "crash":
        os._exit(9)
    if behaviour == "bug":
        raise ZeroDivisionError("one over nothing")
    if behaviour == "memory":
        raise MemoryError
    if behaviour == "input":
        raise InputError("its file is damaged", remedy="write it again")
    if behaviour == "set-aside":
        raise SlideError("E_TEST", "it is upside down", remedy="turn it round")
    if behaviour == "failed":
        raise SlideError("E_TEST", "it went wrong", remedy="try again", set_aside=False)
    log = folder.parents[1] / "log"  # beside the workspaces, for tests that count computations
    if log.is_dir():
        (log / f"{slide}-{folder.name}").touch()
    if behaviour == "slow":
        time.sleep(0.3)
    while behaviour == "waits" and log.is_dir() and not (log.parent / "go").exists():
        time.sleep(0.02)
    (folder / f"{slide}.txt").write_text(f"{behaviour} {record['stage']}", encoding="utf-8")
    return ["touches the border", "damaged: level 1 in places"] if behaviour == "noted" else []
