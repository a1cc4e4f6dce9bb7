"""A run of a per-slide step on cheap slides, to be killed: `python cheap_run.py` in the folder of a project.

The slides are computed in the process itself, so that it spends its time where files are moved about.
"""

import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # it is run as a script, too

from inline_executor import open_inline

from sammil_cli.project.project import RunOptions
from sammil_cli.runner import per_slide
from sammil_cli.runner.executor import Limits
from sammil_cli.runner.per_slide import Plan, Task, run_plan
from sammil_cli.storage.files import Record, write_text

SLIDES = [f"slide_{number}" for number in range(24)]
OUT, LISTING, LOG = Path("out"), Path("lists/cheap.csv"), Path("log")


def content(slide: str, suffix: str) -> bytes:
    """2 MiB that depend on the name alone."""
    return hashlib.sha256(f"{slide}.{suffix}".encode()).digest() * (1 << 16)


def work(folder: Path, record: Record, slide: str) -> list[str]:
    """Writes two files, and logs that it did."""
    LOG.mkdir(exist_ok=True)
    (LOG / f"{slide}-{folder.parent.name}").touch()
    for suffix in ("bin", "dat"):
        (folder / f"{slide}.{suffix}").write_bytes(content(slide, suffix))
    return []


def main() -> None:
    per_slide.open_executor = open_inline
    sys.modules["cheap_run"] = sys.modules["__main__"]
    work.__module__ = "cheap_run"
    tasks = [Task(slide_id=slide, key={"slide": slide}, libraries={}, job=slide) for slide in SLIDES]
    plan = Plan(stage="cheap", tasks=tasks, work=work, out=OUT, process_lists=LISTING.parent)
    rows = run_plan(lambda: plan, RunOptions(), Limits())
    write_text(Path("ended"), " ".join(row.status for row in rows))


if __name__ == "__main__":
    main()
