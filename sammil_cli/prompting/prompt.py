"""sammil wsi-sam prompt: slides and crude annotations -> the polygons of what they mean."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType

from sammil_cli import choices, console
from sammil_cli.config import SamSettings
from sammil_cli.errors import InputError
from sammil_cli.project.process_list import Row
from sammil_cli.project.project import Project, RunOptions, check_only
from sammil_cli.prompting.asked import CODE, Prompt
from sammil_cli.prompting.places import LEAST_EXTENT, MOST_EXTENT
from sammil_cli.prompting.prompt_job import How, PromptJob, work
from sammil_cli.prompting.prompt_table import read_table
from sammil_cli.runner.inputs import content, slide_input
from sammil_cli.runner.machine import usable_cores
from sammil_cli.runner.per_slide import Plan, Task, limits_of, run_plan
from sammil_cli.settings.wsi_sam import COARSEST_MPP
from sammil_cli.slides.files import find_slides, formats_of, slide_id_of
from sammil_cli.slides.table import SlideEntry, read_slides_table
from sammil_cli.storage.code import code_of
from sammil_cli.storage.drawing import drawn_slide
from sammil_cli.storage.files import write_csv
from sammil_cli.storage.nearest_ids import did_you_mean
from sammil_cli.storage.paths import DrawingPath, SlidePath
from sammil_cli.storage.summed import read_of_slide
from sammil_cli.storage.weight_download import download
from sammil_cli.storage.weights import WantedWeights
from sammil_cli.tissue.drawing_files import find_drawings, stray_drawings

STAGE = "wsi-sam-prompt"
TABLE = "prompted.csv"
_COLUMNS = ("prompt", "name", "class", "area_mm2", "predicted_iou", "stability", "mpp", "remark")
_SOURCES = "a table (.csv), a drawing (.geojson, .json, .xml) or a folder of drawings"
_SAYS_HOW = "give --box x,y,w,h or --point x,y with a slide; or --prompts with " + _SOURCES


@dataclass(frozen=True, kw_only=True)
class Question:
    """What was typed: one slide's file, prompts on it, or where the prompts are."""

    slide: Path | None = None
    typed: tuple[Prompt, ...] = ()
    source: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked, by slide id: the slide's file, and its prompts or its drawing."""

    slides: Mapping[str, SlidePath]
    prompts: Mapping[str, tuple[Prompt, ...]] = field(default_factory=dict)
    drawings: Mapping[str, DrawingPath] = field(default_factory=dict)


def run(question: Question, how: How, project: Project, settings: SamSettings, options: RunOptions) -> list[Row]:
    """Answers all prompts; returns the process list. The answers of slides that nothing is asked of stay.

    Raises:
        InputError, MissingError: as `gather`; weights are not here or do not fit. Nothing has been done then.
    """
    asked = gather(question, project)
    if question.source is not None and question.source.resolve() == (table := project.prompted / TABLE).resolve():
        raise InputError(
            f"{table} is read, and is where the table of all answers is written", remedy="rename it", code=CODE
        )
    if question.source is not None and question.source.is_dir():
        for line in stray_drawings(question.source, find_slides(project.slides).paths):
            console.say(line)
    check_only(options.only, set(asked.slides), "what is asked")
    chosen = options.only or frozenset(asked.slides)
    _identify(settings, download_first=options.download)
    weights_choice(settings).check(settings.model_dump(), options.device)
    options = replace(options, only=chosen)
    try:
        return run_plan(partial(plan, question, how, project, settings, options), options, limits_of(settings))
    finally:
        _gather_tables(project.prompted)


def plan(question: Question, how: How, project: Project, settings: SamSettings, options: RunOptions) -> Plan[PromptJob]:
    """What is to do."""
    asked = gather(question, project)
    entries = read_slides_table(project.slides_table)
    shared: dict[str, object] = {"how": {name: getattr(how, name) for name in How.__dataclass_fields__}}
    shared |= {name: getattr(settings, name) for name in ("sam_model", "sam_precision", "sam_backend", "sam_colours")}
    shared["weights"] = _identify(settings, download_first=options.download)
    tasks = []
    for slide_id, path in asked.slides.items():
        if options.only is not None and slide_id not in options.only:
            continue
        entry = entries.get(slide_id, SlideEntry())
        prompts, drawing = asked.prompts.get(slide_id), asked.drawings.get(slide_id)
        inputs = {
            **shared,
            "slide": slide_input(path),
            "mpp": entry.mpp,
            "scene": entry.scene,
            "prompts": None if prompts is None else [prompt.as_key() for prompt in prompts],
            "drawing": content(drawing),
        }
        job = PromptJob(
            slide=path,
            mpp=entry.mpp,
            scene=entry.scene,
            asked=prompts,
            drawing=drawing,
            how=how,
            settings=settings,
            device=options.device,
            threads=_threads(options),
        )
        code = code_of(work.__module__, *formats_of(path))
        tasks.append(Task.of(slide_id, job, inputs, code, strict=settings.strict_versions))
    return Plan(stage=STAGE, tasks=tasks, work=work, out=project.prompted, process_lists=project.process_lists)


def how_of(*, mpp: float, extent: float, given_as: str, pictures: bool) -> How:
    """How prompts are answered, from what was typed.

    Raises:
        InputError: a word or number that cannot be.
    """
    if given_as not in ("box", "mask"):
        raise InputError(f"--as {given_as!r} is unknown", remedy="give box or mask")
    if not LEAST_EXTENT <= extent <= MOST_EXTENT:
        raise InputError(
            f"--extent {extent:g} is not from {LEAST_EXTENT} to {MOST_EXTENT}", remedy="give a share such as 0.4"
        )
    if not 0 < mpp <= COARSEST_MPP:
        raise InputError(
            f"--mpp {mpp:g} is not above 0 and at most {COARSEST_MPP:g}", remedy="give µm per pixel, such as 1.0"
        )
    return How(mpp=mpp, extent=extent, as_mask=given_as == "mask", pictures=pictures)


def at_work(options: RunOptions, workers: int | None) -> RunOptions:
    """How to run where nobody says with how many processes: on a CPU one after the other, each with all cores.

    A model is held once then, and the threads do not depend on how many slides there are: answers would, in the last
    bits.
    """
    alone = workers is None and options.device == "cpu" and options.executor == "local"
    return replace(options, workers=1) if alone else options


def _threads(options: RunOptions) -> int | None:
    """Torch's threads in each process, by what was asked for, not by the work at hand; None = it does not matter."""
    if options.device != "cpu" or options.executor != "local" or "OMP_NUM_THREADS" in os.environ:
        return None
    return max(1, usable_cores() // options.workers)


def weights_choice(settings: SamSettings) -> ModuleType:
    """The proposer whose weights answer prompts: `wsi-sam` where the settings name its tokens, else `sam`."""
    return choices.load(choices.PROPOSERS, "sam" if settings.wsi_sam_tokens is None else "wsi-sam")


def _identify(settings: SamSettings, *, download_first: bool) -> str:
    """The sha256 of the weights.

    Raises:
        MissingError: they are not here.
    """
    wanted: WantedWeights = weights_choice(settings).wanted_weights(settings.model_dump())
    if download_first and wanted.to_fetch:
        download(wanted.to_fetch, console.download_progress())
    return wanted.identify()


def gather(question: Question, project: Project) -> Asked:
    """The slides and what is asked of each.

    Raises:
        InputError: `E_PROMPT`, nothing is asked, or of an unknown slide; see `read_table` and `find_slides`.
    """
    slide, typed, source = question.slide, question.typed, question.source
    if bool(typed) == (source is not None):
        what = "two things are asked: --prompts, and --box or --point" if typed else "nothing is asked"
        raise InputError(what, remedy=_SAYS_HOW if not typed else "give one of them", code=CODE)
    if source is not None and not source.exists():
        raise InputError(f"{source} does not exist", remedy=f"--prompts is {_SOURCES}", code=CODE)
    if slide is not None:
        return _of_one_slide(slide, typed, source)
    if source is None:
        raise InputError("--box and --point are of which slide?", remedy="name its file before them", code=CODE)
    known = find_slides(project.slides).paths
    if source.is_dir():
        return _of_folder(source, known)
    if source.suffix.lower() == ".csv":
        prompts = {name: tuple(those) for name, those in read_table(source).items()}
        for name, those in prompts.items():
            _check_known(name, known, those[0].where, project.slides)
        return Asked(slides={name: known[name] for name in prompts}, prompts=prompts)
    name = _drawn_slide(source)
    _check_known(
        name, known, str(source), project.slides, f"name the slide: sammil wsi-sam prompt SLIDE --prompts {source}"
    )
    return Asked(slides={name: known[name]}, drawings={name: DrawingPath(source)})


def _of_one_slide(slide: Path, typed: tuple[Prompt, ...], source: Path | None) -> Asked:
    if not slide.is_file():
        raise InputError(f"the slide {slide} does not exist", remedy="give the path of its file", code=CODE)
    name = slide_id_of(slide)
    if source is None:
        return Asked(slides={name: SlidePath(slide)}, prompts={name: typed})
    if source.is_dir() or source.suffix.lower() == ".csv":
        raise InputError(
            f"{source} says itself of which slides its prompts are",
            remedy=f"leave {slide} out; with --slides its folder, and --only {name}",
            code=CODE,
        )
    _drawn_slide(source)
    return Asked(slides={name: SlidePath(slide)}, drawings={name: DrawingPath(source)})


def _of_folder(folder: Path, known: Mapping[str, SlidePath]) -> Asked:
    drawings = find_drawings(folder)
    found = {name: path for name, path in drawings.items() if name in known}
    if not found:
        raise InputError(
            f"{folder} holds no drawing of any of the {len(known)} slide(s)",
            remedy="call each <slide>.geojson, as its slide is called",
            code=CODE,
        )
    return Asked(slides={name: known[name] for name in found}, drawings=found)


def _drawn_slide(path: Path) -> str:
    name = drawn_slide(path.name)
    if name is None:
        raise InputError(f"{path} cannot hold prompts, by its name", remedy=f"--prompts is {_SOURCES}", code=CODE)
    return name


def _check_known(name: str, known: Mapping[str, SlidePath], where: str, folder: Path, otherwise: str = "") -> None:
    if name not in known:
        hint = did_you_mean(name, known)
        raise InputError(
            f"{where}: there is no slide {name!r} in {folder}",
            remedy=f"{hint} Or {otherwise}" if otherwise else hint,
            code=CODE,
        )


def _gather_tables(folder: Path) -> None:
    """Writes the table of all answers that lie in a folder, each slide's as its JSON has them."""
    rows: list[tuple[object, ...]] = []
    for path in sorted(folder.glob("*.json")):
        try:
            answers = read_of_slide(path, "run: sammil wsi-sam prompt").get("prompts")
        except InputError as error:
            console.say(f"left out of {TABLE}: {error.message} (fix: {error.remedy})")
            continue
        for one in answers if isinstance(answers, list) else ():
            if isinstance(one, dict) and one.keys() >= set(_COLUMNS):
                rows.append((path.stem, *(one[name] for name in _COLUMNS)))
    if rows:
        write_csv(folder / TABLE, ("slide_id", *_COLUMNS), rows)
    else:
        (folder / TABLE).unlink(missing_ok=True)
