"""sammil patch --images: patches as pictures, a folder for each slide, which `sammil tiles` reads.

They are gigabytes, so they are in no result store: a slide's folder has a record of what it was made with, and is
replaced as a whole.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sammil_cli import console
from sammil_cli.config import ExtractSettings
from sammil_cli.errors import InputError, SlideError
from sammil_cli.jobs.patch_images import LONGEST_NAME, RECORD, PatchImagesJob, work
from sammil_cli.patches.file import read_patches
from sammil_cli.project.code_in_use import code_of_slide
from sammil_cli.project.leftovers import tidy
from sammil_cli.project.process_list import CHANGED, ProcessList, Row, refusal
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner.earlier_files import files_of, with_slides
from sammil_cli.runner.executor import Answer, Call, open_executor
from sammil_cli.runner.inputs import content
from sammil_cli.runner.per_slide import Plan, Task, limits_of
from sammil_cli.runner.worker import in_fresh_folder
from sammil_cli.stages.extract import made_before
from sammil_cli.storage.claims import TEMPORARY, owner_tag
from sammil_cli.storage.files import as_stored, check_name, digest, provenance
from sammil_cli.storage.guarded_json import read_json
from sammil_cli.storage.paths import ArtefactsPath, PatchesPath
from sammil_cli.storage.store import open_store

STAGE = "patch-images"
_SHARE = 0.7  # of the bytes of pixels that a PNG of tissue takes, at most
_AGAIN = "run the same command again when nothing writes there any more"


def read_count(text: str) -> int | None:
    """`--images N|all`: how many of each slide, None = all.

    Raises:
        InputError: neither.
    """
    if text == "all":
        return None
    if text.isascii() and text.isdigit() and int(text[:18]) > 0:
        return int(text[:18])
    raise InputError(f"--images {text!r} is neither a number from 1 on nor all", remedy="for example: --images 50")


def run(project: Project, settings: ExtractSettings, count: int | None, seed: int, options: RunOptions) -> list[Row]:
    """Writes `<slide>/<slide>_x<x>_y<y>.png` of every slide with a grid into `project.patch_images`.

    Folders that are made with the same are left as they are. Those of slides that are no longer there, or whose
    pictures are no longer theirs, are removed before any work, unless `options.only` leaves them out.

    Returns:
        The process list.

    Raises:
        InputError: there are no grids or slides; the pictures do not fit on the disk; or a folder of a slide holds
            what sammil has not made.
        KeyboardInterrupt: after everything finished was kept and listed.
    """
    out, tasks = project.patch_images, plan(project, settings, count, seed, options)
    fresh = {task.slide_id for task in tasks.tasks if is_fresh(out / task.slide_id, task)}
    todo = [task for task in tasks.tasks if task.slide_id not in fresh]
    for task in todo:
        _refuse_others(out / task.slide_id)
    _say_size(todo, out)
    out.mkdir(parents=True, exist_ok=True)
    tidy(project, store=options.store)
    _clear(out, fresh, options.only)
    listing = ProcessList(tasks.process_list, options.only, open_store(STAGE, options.store))
    try:
        with console.progress(len(tasks.tasks) + len(tasks.refused), STAGE) as bar:
            known = [Row(slide_id=slide_id, status="reused") for slide_id in sorted(fresh)]
            for row in (*tasks.refused, *known):
                listing.add(row)
                bar.advance(row.slide_id)
            with contextlib.closing(_compute(todo, settings, out, options)) as ended:
                for row in ended:
                    listing.add(row)
                    bar.advance(row.slide_id)
    finally:
        listing.close(STAGE, out)
    return [listing.rows[slide_id] for slide_id in sorted(listing.rows)]


def plan(
    project: Project, settings: ExtractSettings, count: int | None, seed: int, options: RunOptions
) -> Plan[PatchImagesJob]:
    """What the pictures of each slide are made with; raises as `run`."""
    found = files_of(PatchesPath, project, project.patches, "patch", options.only)
    pairs, refused = with_slides(found, project, partial(made_before, project))
    tasks = []
    for patches, slide, seen in pairs:
        maps = ArtefactsPath(project.tissue / patches.name)
        artefacts = maps if maps.exists() else None
        try:
            check_name(patches.stem, project.patch_images, LONGEST_NAME)
        except SlideError as error:
            refused.append(refusal(patches.stem, error))
            continue
        job = PatchImagesJob(
            slide=slide, patches=patches, artefacts=artefacts, count=count, seed=seed, settings=settings
        )
        drawn = {"count": count, "seed": seed if count else None, "unreadable_share": settings.unreadable_share}
        inputs = {"slide": seen, "patches": content(patches), "artefacts": content(artefacts), "settings": drawn}
        code = code_of_slide(STAGE, slide)
        tasks.append(Task.of(patches.stem, job, inputs, code, strict=settings.strict_versions))
    out, process_lists = project.patch_images, project.process_lists
    return Plan(stage=STAGE, tasks=tasks, work=work, out=out, process_lists=process_lists, refused=refused)


def is_fresh(folder: Path, task: Task[PatchImagesJob]) -> bool:
    """Whether a slide's folder holds what the task would make, each picture in its full length."""
    known = _record(folder)
    if known is None or known.get("key") != as_stored(task.key):
        return False
    try:
        return bool({path.name: path.stat().st_size for path in folder.glob("*.png")} == known["files"])
    except OSError:
        return False


def _record(folder: Path) -> Mapping[str, Any] | None:
    """How a slide's pictures were made; None where the folder does not say, or says it damaged."""
    try:
        known: Mapping[str, Any] = read_json(folder / RECORD)
        whole = known["sum"] == digest([known["key"], known["files"]]) and known["stage"] == STAGE
    except (OSError, InputError, KeyError, TypeError):
        return None
    return known if whole else None


def _refuse_others(folder: Path) -> None:
    """Refuses to replace a folder that somebody else has made.

    Raises:
        InputError: it holds something, and no record of ours.
    """
    if folder.is_dir() and not (folder / RECORD).is_file() and any(folder.iterdir()):
        raise InputError(
            f"{folder} holds files that sammil patch --images has not made",
            remedy="move them away, or give --images-out",
        )


def _say_size(todo: Sequence[Task[PatchImagesJob]], out: Path) -> None:
    """Says how much disk the pictures take.

    Raises:
        InputError: more than is free.
    """
    grids = [(read_patches(task.job.patches), task.job.count) for task in todo]
    patches = [min(len(grid.xy), count or len(grid.xy)) for grid, count in grids]
    needed = sum(number * 3 * grid.patch_px**2 for number, (grid, _) in zip(patches, grids, strict=True)) * _SHARE
    there = next(place for place in (out, *out.absolute().parents) if place.is_dir())
    free = shutil.disk_usage(there).free
    said = f"{sum(patches):,} pictures of {len(todo)} slide(s) take about {console.size_words(needed)}"
    left = f"{console.size_words(free)} are free"
    if needed > free:
        raise InputError(
            f"{said}, and {left} in {there}", remedy="fewer: --images 100; or another disk: --images-out DIR"
        )
    if todo:
        console.say(f"{STAGE}: {said}; {left}")


def _clear(out: Path, kept: set[str], only: frozenset[str] | None) -> None:
    """Removes the folders that sammil has made and that are not `kept`."""
    for folder in sorted(out.iterdir()):
        if folder.name in kept or not (folder / RECORD).is_file() or (only is not None and folder.name not in only):
            continue
        _bury(folder)


def _bury(folder: Path) -> None:
    """Removes a folder: out of sight in one go, then piece by piece."""
    grave = _temporary(folder.parent)
    folder.rename(grave / "old")
    shutil.rmtree(grave, ignore_errors=True)


def _temporary(out: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{owner_tag()}-", dir=out))


def _compute(
    todo: Sequence[Task[PatchImagesJob]], settings: ExtractSettings, out: Path, options: RunOptions
) -> Generator[Row, None, None]:
    """Yields a row for each task as it ends, its folder in place."""
    by_id, folders = {task.slide_id: task for task in todo}, dict[str, Path]()

    def calls() -> Iterator[Call]:
        for task in todo:
            folders[task.slide_id] = _temporary(out)
            record = provenance(STAGE, task.key, task.libraries)
            yield Call.to(task.slide_id, in_fresh_folder, work, folders[task.slide_id], record, task.job)

    try:
        if todo:
            with open_executor(options, limits_of(settings)) as executor:
                for answer in executor.answers(calls()):
                    yield _keep(by_id[answer.slide_id], answer, out)
                    shutil.rmtree(folders.pop(answer.slide_id), ignore_errors=True)
    finally:
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)


def _keep(task: Task[PatchImagesJob], answer: Answer, out: Path) -> Row:
    """Puts a slide's pictures into their place, unless what they are made from has changed."""
    if changed := task.changed():
        error = SlideError(CHANGED, f"{changed} while the slide was worked on", remedy=_AGAIN, set_aside=False)
        return refusal(task.slide_id, error, answer.seconds)
    if answer.error is not None:
        return refusal(task.slide_id, answer.error, answer.seconds)
    made, remarks = answer.value
    place = out / task.slide_id
    if place.exists():  # another run has been faster, or it is empty
        _bury(place)
    made.rename(place)
    return Row(slide_id=task.slide_id, status="done", seconds=answer.seconds, remarks=tuple(remarks))
