"""sammil extract --estimate: how long, how much disk, and what bounds it, by a few real patches; writes nothing."""

import math
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial

import numpy as np

from sammil_cli import choices, console
from sammil_cli.config import ExtractSettings
from sammil_cli.console import size_words
from sammil_cli.errors import InputError
from sammil_cli.jobs.encoder_settings import patches_remark
from sammil_cli.jobs.extract import ExtractJob
from sammil_cli.patches.file import read_patches
from sammil_cli.patches.patch_grid import PatchGrid
from sammil_cli.preflight.extract_calibrate import ExtractCosts, calibrate
from sammil_cli.preflight.fit import memory_rows, time_words, too_large
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner.executor import Call, Limits, open_executor
from sammil_cli.runner.machine import available_bytes, describe_place, devices
from sammil_cli.stages.extract import plan
from sammil_cli.storage.store import open_store

_TIMED = 3  # slides, where one process does all
_SLOWEST = 5
_SMALLER = "a smaller batch_size, encode_precision float16, or --device cpu"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run would take. `patches`: of each slide that is to be done; seconds and bytes are of the whole run."""

    where: str
    patches: Mapping[str, int]
    done: int
    refused: int
    processes: int
    per_gpu: int
    seconds: float = 0.0
    shares: Mapping[str, float] | None = None
    costs: ExtractCosts | None = None
    result_bytes: float = 0.0
    memory_free: int | None = None
    disk_free: int = 0
    warnings: tuple[str, ...] = ()


def run(project: Project, settings: ExtractSettings, options: RunOptions) -> Estimate:
    """Counts the patches of the slides that are not in the result store, and times some of them on this machine.

    Raises:
        InputError: another executor than `local`, `--features`, or a slide cannot be timed; and what
            `stages.extract.plan` raises.
    """
    if options.executor != "local":
        raise InputError(
            f"--estimate measures on this machine, and --executor is {options.executor}",
            remedy="give --executor local, on a machine like the workers'",
        )
    if project.ungrouped is not None:
        raise InputError(
            "--estimate times the encoding of patches, and --features encodes none", remedy="leave one of them out"
        )
    found = plan(project, settings, options)
    store = open_store(found.stage)
    todo: list[ExtractJob] = [task.job for task in found.tasks if not store.has_files(found.name_of(task))]
    grids = {job.patches.stem: read_patches(job.patches) for job in todo}
    patches = {slide_id: len(grid.xy) for slide_id, grid in grids.items()}
    processes = max(1, min(options.workers, len(todo)))
    per_gpu = math.ceil(processes / len(devices(options.device))) if options.device != "cpu" else 0
    known = partial(
        Estimate,
        where=options.place or describe_place(choices.load(choices.ENCODERS, settings.encoder), options.device),
        patches=patches,
        done=len(found.tasks) - len(todo),
        refused=len(found.refused),
        processes=processes,
        per_gpu=per_gpu,
    )
    if not todo:
        return known()
    memory_free, costs = available_bytes(), _measure(todo, patches, processes)
    seconds_each = _seconds_per_patch(costs, overlapping=options.device != "cpu")
    longest, all_patches = max(patches.values()), sum(patches.values())
    disk_free, result_bytes = _disk_free(project), costs.result_bytes * all_patches
    warnings = [*_odd_patches(settings, grids.values()), *too_large(costs, processes, per_gpu, memory_free, _SMALLER)]
    if result_bytes > disk_free:
        warnings.append(f"the bags do not fit on the disk, where {size_words(disk_free)} are free")
    return known(
        seconds=costs.cold_seconds + seconds_each * max(all_patches / processes, longest),
        shares=_shares(costs),
        costs=costs,
        result_bytes=result_bytes,
        memory_free=memory_free,
        disk_free=disk_free,
        warnings=tuple(warnings),
    )


def _odd_patches(settings: ExtractSettings, grids: Iterable[PatchGrid]) -> list[str]:
    """What is odd about patches for the encoder, and of how many slides."""
    said = Counter(patches_remark(settings, px=grid.patch_px, mpp=grid.patch_mpp) for grid in grids)
    return [f"{text} ({count} slides)" for text, count in said.items() if text]


def _measure(todo: Sequence[ExtractJob], patches: Mapping[str, int], processes: int) -> ExtractCosts:
    """The mean of processes that measure at once, each on its slide, or of one on several; of memory the most."""
    order = sorted(todo, key=lambda job: patches[job.patches.stem])
    timed = processes if processes > 1 else min(_TIMED, len(todo))
    jobs = [order[index] for index in np.linspace(0, len(order) - 1, timed).round().astype(int)]
    parts = [[job] for job in jobs] if processes > 1 else [jobs]
    console.note(f"extract: timing patches of {len(jobs)} slide(s) in {len(parts)} process(es)")
    calls = [Call.to(part[0].patches.stem, calibrate, part) for part in parts]
    with open_executor(RunOptions(device=jobs[0].device, workers=len(calls)), Limits()) as executor:
        answers = list(executor.answers(iter(calls)))
    for answer in answers:
        if (error := answer.error) is not None:
            raise InputError(f"{answer.slide_id} cannot be timed: {error.code} {error.message}", remedy=error.remedy)
    measured: list[ExtractCosts] = [answer.value for answer in answers]
    means = {
        field.name: float(np.mean([getattr(one, field.name) for one in measured])) for field in fields(ExtractCosts)
    }
    peaks = {name: max(getattr(one, name) for one in measured) for name in ("peak_bytes", "gpu_bytes")}
    return ExtractCosts(**{**means, **peaks, "gpu_free_bytes": min(one.gpu_free_bytes for one in measured)})


def _seconds_per_patch(costs: ExtractCosts, *, overlapping: bool) -> float:
    """Of one process. A GPU encodes while the cores read; on a CPU both want the same cores."""
    both = max(costs.reading, costs.encoding) if overlapping else costs.reading + costs.encoding
    return both + costs.grouping


def _shares(costs: ExtractCosts) -> dict[str, float]:
    """What takes how much of the work, the most first."""
    each = {"encoding": costs.encoding, "reading and preparing": costs.reading, "grouping and writing": costs.grouping}
    whole = sum(each.values()) or 1.0
    return dict(sorted(((name, seconds / whole) for name, seconds in each.items()), key=lambda share: -share[1]))


def _disk_free(project: Project) -> int:
    """Bytes that are free where bags are written."""
    there = next(folder for folder in (project.bags.absolute(), *project.bags.absolute().parents) if folder.exists())
    return shutil.disk_usage(there).free


def report(found: Estimate, settings: ExtractSettings) -> None:
    """Prints what remains to be done, what it takes, and what bounds it."""
    counted = f"{len(found.patches)} to do, {found.done} done already"
    counted += f", {found.refused} cannot be done (run sammil extract to see why)" if found.refused else ""
    if found.costs is None or found.shares is None:
        console.say(f"extract: nothing to do: {counted}")
        return
    costs, number = found.costs, sum(found.patches.values())
    bound = ", ".join(f"{name} {100 * share:.0f} %" for name, share in found.shares.items())
    rows = [
        ("slides", counted),
        ("patches", f"{number:,}"),
        ("reading and preparing", f"{time_words(costs.reading)} a patch"),
        (f"encoding, {settings.encoder}", f"{time_words(costs.encoding)} a patch"),
        ("grouping and writing", f"{time_words(costs.grouping)} a patch"),
        ("bound by", bound),
        ("time", f"about {time_words(found.seconds)}"),
        *memory_rows(costs, found.processes, found.per_gpu, found.memory_free),
        ("disk", f"about {size_words(found.result_bytes)} of bags; {size_words(found.disk_free)} are free"),
    ]
    title = f"sammil extract would run {found.where}, {found.processes} slide(s) at once"
    console.print_table(title, ("what", "how much"), rows)
    if len(found.patches) > 1:
        each = sorted(found.patches.items(), key=lambda slide: -slide[1])[:_SLOWEST]
        per_patch = (found.seconds - costs.cold_seconds) / max(number / found.processes, each[0][1])
        largest = [(slide_id, f"{count:,}", time_words(per_patch * count)) for slide_id, count in each]
        console.print_table("The largest slides", ("slide", "patches", "time"), largest)
    for warning in found.warnings:
        console.say(f"warning: {warning}")


def as_record(found: Estimate) -> dict[str, object]:
    """The same for programs."""
    return {**asdict(found), "minutes": found.seconds / 60}
