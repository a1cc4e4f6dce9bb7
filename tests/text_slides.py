"""A per-slide stage on text files, computed in this process: what happens while a slide is worked on is for tests."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sammil_cli.errors import SlideError
from sammil_cli.project.project import RunOptions, check_only
from sammil_cli.runner.inputs import as_key, content, files_in
from sammil_cli.runner.per_slide import Plan, Task
from sammil_cli.storage.files import Record

SLIDES, EDITS, OUT, LISTS = Path("slides"), Path("edits"), Path("out"), Path("lists")
CUT = "cut"  # a slide with this text cannot be read

# What happens when a slide's work begins, and just before it ends; each once.
before: dict[str, list[Callable[[], object]]] = {}
after: dict[str, list[Callable[[], object]]] = {}
worked: list[str] = []  # slides, in the order in which they were worked on


@dataclass(frozen=True)
class TextJob:
    slide: Path
    edit: Path | None
    setting: int


def put(slide: str, text: str, folder: Path = SLIDES) -> Path:
    """Writes a slide, or its drawing, in place."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{slide}.txt"
    path.write_text(text, encoding="utf-8")
    return path


def swap(slide: str, text: str) -> Callable[[], None]:
    """An event: another file takes the slide's place; the old one is kept beside for `swap_back`."""

    def event() -> None:
        path = SLIDES / f"{slide}.txt"
        path.rename(path.with_suffix(".kept"))
        put(slide, text)

    return event


def swap_back(slide: str) -> Callable[[], None]:
    """An event: the very file that was there before."""
    return lambda: (SLIDES / f"{slide}.kept").rename(SLIDES / f"{slide}.txt")


def reset() -> None:
    """Nothing happens any more, and nothing was worked on."""
    before.clear()
    after.clear()
    worked.clear()


def make_plan(options: RunOptions, setting: int = 0) -> Plan[TextJob]:
    """Lists and identifies; a slide without text is refused."""
    found = {path.stem: path for path in sorted(SLIDES.glob("*.txt"))}
    check_only(options.only, set(found), str(SLIDES))
    tasks = []
    for slide, path in found.items():
        if options.only is not None and slide not in options.only:
            continue
        edit = EDITS / f"{slide}.txt"
        job = TextJob(path, edit if edit.exists() else None, setting)
        made = {"slide": content(path), "edit": content(job.edit), "setting": setting}
        tasks.append(
            Task(
                slide_id=slide,
                key={name: as_key(value) for name, value in made.items()},
                libraries={},
                job=job,
                files=tuple(files_in(made)),
            )
        )
    return Plan(stage="text", tasks=tasks, work=work, out=OUT, process_lists=LISTS)


def work(folder: Path, record: Record, job: TextJob) -> list[str]:
    """Writes files that say all that they were made from, and one how: as every stage does."""
    slide = job.slide.stem
    worked.append(slide)
    _happen(before, slide)
    text = job.slide.read_text(encoding="utf-8")
    edit = job.edit.read_text(encoding="utf-8") if job.edit else "-"
    _happen(after, slide)
    if text == CUT:
        raise SlideError("E_OPEN", "it is cut", remedy="copy it again")
    made = {"made": f"{text} {edit} {job.setting}", "sammil": record}
    (folder / f"{slide}.geojson").write_text(json.dumps(made), encoding="utf-8")
    if len(text) % 2:  # not every slide has the second file
        (folder / f"{slide}.txt").write_text(f"odd {text}", encoding="utf-8")
    return []


def _happen(events: dict[str, list[Callable[[], object]]], slide: str) -> None:
    if events.get(slide):
        events[slide].pop(0)()


def outputs() -> dict[str, str]:
    """What lies in the out folder; of what the stage has written, without the record."""
    return {path.name: _made(path.read_text(encoding="utf-8")) for path in sorted(OUT.iterdir())}


def _made(text: str) -> str:
    try:
        return str(json.loads(text)["made"])
    except (ValueError, TypeError):
        return text
