"""sammil sam --estimate: minutes and gigabytes before anything is started; no slide is done, no weights are needed."""

import contextlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from types import ModuleType

import numpy as np

from sammil_cli import choices, console
from sammil_cli.config import SamSettings
from sammil_cli.console import size_words
from sammil_cli.errors import InputError, SlideError
from sammil_cli.jobs.sam import SamJob
from sammil_cli.preflight.fit import memory_rows, time_words, too_large
from sammil_cli.preflight.sam_calibrate import Costs, calibrate, views_of
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner.executor import Call, Limits, open_executor
from sammil_cli.runner.machine import available_bytes, describe_place, devices
from sammil_cli.stages.sam import plan
from sammil_cli.storage.store import open_store
from sammil_cli.tissue.mask import read_tissue

_LOOKED_AT = 6  # pictures of a slide whose work is counted; the others are taken to be like them
_SLOWEST = 5
_COARSE_PX = 64  # a tile's side on the mask that says which tiles hold tissue


@dataclass(frozen=True, kw_only=True)
class SlideWork:
    """What one slide asks for: pictures, their megapixels, and units of the proposer's work; seconds in a process."""

    slide_id: str
    pictures: int
    megapixels: float
    units: Mapping[str, float]
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run would take. Seconds of the whole run; bytes of a process, on its GPU, and of all results."""

    where: str
    slides: Sequence[SlideWork]
    done: int
    refused: int
    processes: int
    per_gpu: int
    seconds: float
    costs: Costs | None
    memory_free: int | None
    result_bytes: float
    timed: bool
    warnings: tuple[str, ...]


def run(project: Project, settings: SamSettings, options: RunOptions) -> Estimate:
    """Counts the work of the slides that are not in the result store, and measures its costs on this machine.

    Raises:
        InputError: another executor than `local`, or a slide cannot be measured; and what `stages.sam.plan` raises.
    """
    if options.executor != "local":
        raise InputError(
            f"--estimate measures on this machine, and --executor is {options.executor}",
            remedy="give --executor local, on a machine like the workers'",
        )
    proposer = choices.load(choices.PROPOSERS, settings.proposer)
    found = plan(project, settings, options, weightless=True)
    store = open_store(found.stage)
    todo = [task for task in found.tasks if not store.has_files(found.name_of(task))]
    slides: dict[str, SlideWork] = {}
    with console.progress(len(todo), "counting") as bar:
        for task in todo:
            with contextlib.suppress(SlideError):  # too coarse, say: sammil sam sets it aside
                slides[task.slide_id] = count_work(task.job, proposer)
            bar.advance(task.slide_id)
    done, refused = len(found.tasks) - len(todo), len(found.refused) + len(todo) - len(slides)
    todo = [task for task in todo if task.slide_id in slides]
    processes = max(1, min(options.workers, len(todo)))
    per_gpu = math.ceil(processes / len(devices(options.device))) if options.device != "cpu" else 0
    known = partial(
        Estimate,
        where=options.place or describe_place(proposer, options.device),
        done=done,
        refused=refused,
        processes=processes,
        per_gpu=per_gpu,
        timed=hasattr(proposer, "rates"),
    )
    free = available_bytes()
    if not todo:
        return known(slides=[], seconds=0.0, costs=None, memory_free=free, result_bytes=0.0, warnings=())
    costs, warnings = _costs([task.job for task in todo], list(slides.values()), processes, per_gpu, free)
    timed = [_timed(slide, costs) for slide in slides.values()]
    each = [slide.seconds for slide in timed]
    return known(
        slides=sorted(timed, key=lambda slide: -slide.seconds),
        seconds=costs.cold_seconds + max(sum(each) / processes, *each, 0.0),
        costs=costs,
        memory_free=free,
        result_bytes=costs.result_bytes * sum(slide.megapixels for slide in timed),
        warnings=warnings,
    )


def count_work(job: SamJob, proposer: ModuleType) -> SlideWork:
    """What a slide asks for, from its tissue alone.

    Raises:
        SlideError: `E_COARSE`, see `regions.propose.lay_views`.
    """
    settings, tissue = job.settings, read_tissue(job.tissue)
    canvas, tiles = views_of(tissue, settings)
    chosen = settings.model_dump()
    step = max(1, settings.sam_canvas_px // _COARSE_PX) if len(tiles) > 1 else 1
    rows, columns = -(-canvas.size_px[1] // step), -(-canvas.size_px[0] // step)
    coarse = tissue.raster(canvas.origin_px, canvas.downsample * step, (rows, columns))
    seen = [
        (x, y, width, height)
        for x, y, width, height in (tile.window for tile in tiles)
        if coarse[y // step : -(-(y + height) // step), x // step : -(-(x + width) // step)].any()
    ]
    units = Counter[str]()
    looked_at = seen[:: -(-len(seen) // _LOOKED_AT)] if seen else []
    for x, y, width, height in looked_at:
        place = (canvas.origin_px[0] + x * canvas.downsample, canvas.origin_px[1] + y * canvas.downsample)
        inside = tissue.raster(place, canvas.downsample, (height, width))
        units.update(proposer.workload(chosen, inside) if hasattr(proposer, "workload") else {})
    return SlideWork(
        slide_id=job.tissue.stem,
        pictures=len(seen),
        megapixels=sum(width * height for *_, width, height in seen) / 1e6,
        units={name: number * len(seen) / len(looked_at) for name, number in units.items()},
    )


def _costs(
    todo: Sequence[SamJob], slides: Sequence[SlideWork], processes: int, per_gpu: int, free: int | None
) -> tuple[Costs, tuple[str, ...]]:
    """Measured by one process alone, which says what memory it takes; then by all at once, if they fit."""
    order = np.argsort([slide.megapixels for slide in slides])
    jobs = [todo[index] for index in order[np.linspace(0, len(order) - 1, processes).round().astype(int)]]
    alone = _measure(jobs[len(jobs) // 2 :][:1])
    warnings = tuple(_too_large(alone, processes, per_gpu, free))
    if processes == 1 or warnings:
        return alone, warnings
    together = _measure(jobs)
    return together, tuple(_too_large(together, processes, per_gpu, free))


def _measure(jobs: Sequence[SamJob]) -> Costs:
    """The mean of processes that measure at once, each on its slide; of memory the most."""
    count = "one process" if len(jobs) == 1 else f"{len(jobs)} processes at once"
    console.note(f"sam: measuring {count}")
    calls = [Call.to(f"{number}: {job.tissue.stem}", calibrate, job) for number, job in enumerate(jobs)]
    with open_executor(RunOptions(device=jobs[0].device, workers=len(calls)), Limits()) as executor:
        answers = list(executor.answers(iter(calls)))
    for answer in answers:
        if answer.error is not None:
            error = answer.error
            slide_id = answer.slide_id.partition(": ")[2]
            raise InputError(f"{slide_id} cannot be measured: {error.code} {error.message}", remedy=error.remedy)
    costs: list[Costs] = [answer.value for answer in answers]
    return Costs(
        seconds={name: float(np.mean([c.seconds[name] for c in costs])) for name in costs[0].seconds},
        other_seconds=float(np.mean([c.other_seconds for c in costs])),
        result_bytes=float(np.mean([c.result_bytes for c in costs])),
        cold_seconds=float(np.mean([c.cold_seconds for c in costs])),
        peak_bytes=max(c.peak_bytes for c in costs),
        gpu_bytes=max(c.gpu_bytes for c in costs),
        gpu_free_bytes=min(c.gpu_free_bytes for c in costs),
    )


def _timed(slide: SlideWork, costs: Costs) -> SlideWork:
    work = sum(number * costs.seconds.get(name, 0.0) for name, number in slide.units.items())
    return replace(slide, seconds=work + slide.megapixels * costs.other_seconds)


def _too_large(costs: Costs, processes: int, per_gpu: int, free: int | None) -> Iterator[str]:
    smaller = "a smaller sam_model, sam_precision float16, or --device cpu"
    return too_large(costs, processes, per_gpu, free, smaller)


def report(found: Estimate, settings: SamSettings) -> None:
    """Prints what remains to be done, what it takes, and the slowest slides."""
    counted = f"{len(found.slides)} to do, {found.done} done already"
    counted += f", {found.refused} cannot be done (run sammil sam to see why)" if found.refused else ""
    if found.costs is None:
        console.say(f"sam: nothing to do: {counted}")
        return
    costs, pictures = found.costs, sum(slide.pictures for slide in found.slides)
    megapixels = sum(slide.megapixels for slide in found.slides)
    size = f"up to {settings.sam_canvas_px} px" + (f" at {settings.sam_mpp:g} µm" if settings.sam_mpp else "")
    rows = [("slides", counted), ("pictures", f"{pictures:,} of {size}, {megapixels:,.1f} megapixels")]
    for name, seconds in costs.seconds.items():
        number = sum(slide.units.get(name, 0.0) for slide in found.slides)
        rows.append((f"{settings.proposer}: {name}", f"{console.short_number(number)}, {time_words(seconds)} each"))
    if settings.sam_backend != "torch":
        rows.append(("sam_backend", f"timed with torch; {settings.sam_backend} is faster, and converts SAM once first"))
    rows += [
        ("all else", f"{time_words(costs.other_seconds)} per megapixel: reading, merging, checking, writing"),
        ("time", f"about {time_words(found.seconds)}" + ("" if found.timed else ", without the proposer's own")),
    ]
    rows += memory_rows(costs, found.processes, found.per_gpu, found.memory_free)
    rows.append(("disk", f"about {size_words(found.result_bytes)} of results"))
    title = f"sammil sam would run {found.where}, {found.processes} slide(s) at once"
    console.print_table(title, ("what", "how much"), rows)
    if len(found.slides) > 1:
        slowest = [(slide.slide_id, slide.pictures, time_words(slide.seconds)) for slide in found.slides[:_SLOWEST]]
        console.print_table("The slowest slides", ("slide", "pictures", "time"), slowest)
    for warning in found.warnings:
        console.say(f"warning: {warning}")


def as_record(found: Estimate) -> dict[str, object]:
    """The same for programs."""
    record = asdict(found)
    record["units"] = dict(sum((Counter(slide.units) for slide in found.slides), Counter[str]()))
    record["minutes"] = found.seconds / 60
    return record
