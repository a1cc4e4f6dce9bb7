"""sammil segment: slides -> tissue masks."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from sammil_cli import choices, console
from sammil_cli.config import SegmentSettings, Tolerance, check
from sammil_cli.errors import InputError
from sammil_cli.jobs.segment import SegmentJob, spec_of, work
from sammil_cli.project.code_in_use import code_of_slide
from sammil_cli.project.process_list import Row, refusal
from sammil_cli.project.project import Project, RunOptions, check_only
from sammil_cli.runner.inputs import content, slide_input
from sammil_cli.runner.per_slide import Plan, Task, limits_of, run_plan
from sammil_cli.slides.conversion import UNSUPPORTED
from sammil_cli.slides.files import SlideFiles, find_slides, no_name
from sammil_cli.slides.table import SlideEntry, read_slides_table
from sammil_cli.storage.guarded_yaml import parse_yaml
from sammil_cli.tissue.drawing_files import find_drawings, stray_drawings
from sammil_cli.tissue.spec import TissueSpec

# The settings that a column of data/slides.csv gives a slide of its own.
OWN_SETTINGS = tuple(key for key in SegmentSettings.model_fields if key not in Tolerance.model_fields)


def run(project: Project, settings: SegmentSettings, options: RunOptions) -> list[Row]:
    """Finds tissue on every slide of the slide folder; returns the process list."""
    found = SlideFiles({})

    def look() -> Plan[SegmentJob]:
        nonlocal found
        found = find_slides(project.slides)
        return _plan_of(found, project, settings, options)

    rows = run_plan(look, options, limits_of(settings))
    if found.ignored:
        listed = (f"{n} {kind}{_fix(found, kind)}" for kind, n in sorted(found.ignored.items()))
        console.say(f"passed over, no slides: {', '.join(listed)}")
    for line in stray_drawings(project.edits, found.paths):
        console.say(line)
    return rows


def _fix(found: SlideFiles, kind: str) -> str:
    return f" ({UNSUPPORTED[kind]})" if kind in found.unsupported else ""


def plan(project: Project, settings: SegmentSettings, options: RunOptions) -> Plan[SegmentJob]:
    """What is to do."""
    return _plan_of(find_slides(project.slides), project, settings, options)


def _plan_of(found: SlideFiles, project: Project, settings: SegmentSettings, options: RunOptions) -> Plan[SegmentJob]:
    choices.load(choices.SEGMENTERS, settings.segmenter)
    check_only(options.only, found.ids, str(project.slides))
    entries = read_slides_table(project.slides_table, OWN_SETTINGS)
    edits = find_drawings(project.edits)
    thresholds = {name: frozenset(_settings_of(name)) for name in choices.names(choices.SEGMENTERS)}
    code_by = cache(lambda suffix, word: code_of_slide("segment", Path(f"any{suffix}"), word))
    tasks = []
    for slide_id, path in found.paths.items():
        entry = entries.get(slide_id, SlideEntry())
        own = own_settings(settings, slide_id, entry, project.slides_table)
        if options.only is not None and slide_id not in options.only:
            continue
        edit = edits.get(slide_id)
        code = code_by(path.suffix.lower(), own.segmenter)
        inputs = {
            "slide": slide_input(path),
            "mpp": entry.mpp,
            "scene": entry.scene,
            "settings": _that_matter(spec_of(own), thresholds) | {"artefact_mpp": own.artefact_mpp},
            "edit": content(edit),
        }
        job = SegmentJob(slide=path, mpp=entry.mpp, scene=entry.scene, drawing=edit, settings=own)
        tasks.append(Task.of(slide_id, job, inputs, code, strict=settings.strict_versions))
    refused = tuple(
        refusal(slide_id, no_name(path))
        for slide_id, path in found.unnameable.items()
        if options.only is None or slide_id in options.only
    )
    return Plan(
        stage="segment",
        tasks=tasks,
        work=work,
        out=project.tissue,
        process_lists=project.process_lists,
        refused=refused,
    )


def _that_matter(spec: TissueSpec, thresholds: Mapping[str, frozenset[str]]) -> dict[str, object]:
    """Without the thresholds (by segmenter) of other segmenters: a change of those computes nothing anew."""
    unused = frozenset().union(*thresholds.values()) - thresholds[spec.segmenter]
    return {name: value for name, value in spec.__dict__.items() if name not in unused}


def _settings_of(segmenter: str) -> tuple[str, ...]:
    settings: tuple[str, ...] = choices.load(choices.SEGMENTERS, segmenter).SETTINGS
    return settings


def own_settings(settings: SegmentSettings, slide_id: str, entry: SlideEntry, table: Path) -> SegmentSettings:
    """The settings of one slide: those of params.yaml, with the slide's columns in `data/slides.csv` over them.

    Raises:
        InputError: a value of the wrong type or out of range; the message names table, slide and column.
    """
    if not entry.overrides:
        return settings
    where = f"{table}, slide {slide_id!r}"
    given = {key: _value(text) for key, text in entry.overrides.items()}
    own = check({**settings.model_dump(), **given}, where).stage(SegmentSettings)
    try:
        choices.load(choices.SEGMENTERS, own.segmenter)
    except InputError as error:
        raise InputError(f"{where}: segmenter: {error.message}", remedy=error.remedy) from None
    return own


def _value(text: str) -> object:
    """A cell as params.yaml would read a word or number; all else stays text, which the check then refuses."""
    try:
        value = parse_yaml(text, "the cell")
    except InputError:
        return text
    return text if isinstance(value, list | dict) else value
