"""Which slides fields are drawn on, and what for: those with a drawing in data/lesions."""

from functools import partial

from sammil_cli import console
from sammil_cli.config import WsiSamTrainSettings
from sammil_cli.errors import InputError
from sammil_cli.project.process_list import Row, summarise
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.prompting.samples import FieldsJob, work
from sammil_cli.runner.earlier_files import undone_by, with_slides
from sammil_cli.runner.inputs import content, slide_input
from sammil_cli.runner.per_slide import Plan, Task, limits_of, run_plan
from sammil_cli.slides.files import find_slides, formats_of
from sammil_cli.slides.table import SlideEntry, read_slides_table
from sammil_cli.storage.code import code_of
from sammil_cli.storage.paths import TissuePath
from sammil_cli.tissue.drawing_files import find_drawings, stray_drawings

STAGE = "wsi-sam-train"
_THAT_MATTER = ("wsi_sam_classes", "wsi_sam_fields", "wsi_sam_mpp", "seed")


def plan_fields(project: Project, settings: WsiSamTrainSettings, side_px: int) -> Plan[FieldsJob]:
    """What is to do.

    Args:
        side_px: of both pictures, the image encoder's.

    Raises:
        InputError: no slide has a drawing, or see `find_slides`, `read_slides_table`, `find_drawings`.
    """
    slides = find_slides(project.slides).paths
    entries = read_slides_table(project.slides_table)
    drawings = {name: path for name, path in find_drawings(project.lesions).items() if name in slides}
    if not drawings:
        raise InputError(
            f"no slide in {project.slides} has a drawing in {project.lesions}",
            remedy=f"outline lesions in QuPath and export them as {project.lesions}/<slide>.geojson",
        )
    found = [TissuePath(path) for name in drawings if (path := project.tissue / f"{name}.geojson").is_file()]
    pairs, refused = with_slides(found, project, lambda tissue: (tissue, tissue.with_suffix(".h5")))
    tissue_of = {tissue.stem: (tissue, seen) for tissue, _, seen in pairs}
    tasks = []
    for name in sorted(drawings.keys() - {row.slide_id for row in refused}):
        tissue, seen = tissue_of[name] if name in tissue_of else (None, slide_input(slides[name]))
        entry = entries.get(name, SlideEntry()) if tissue is None else SlideEntry()  # the tissue file says it then
        job = FieldsJob(
            slide=slides[name],
            mpp=entry.mpp,
            scene=entry.scene,
            drawing=drawings[name],
            tissue=tissue,
            classes=None if settings.wsi_sam_classes is None else tuple(settings.wsi_sam_classes),
            count=settings.wsi_sam_fields,
            field_mpp=settings.wsi_sam_mpp,
            side_px=side_px,
            seed=settings.seed,
        )
        inputs = {
            "slide": seen,
            "drawing": content(job.drawing),
            "tissue": content(tissue),
            "mpp": job.mpp,
            "scene": job.scene,
            "side_px": side_px,
            "settings": {key: getattr(settings, key) for key in _THAT_MATTER},
        }
        code = code_of("sammil_cli.prompting.samples", *formats_of(job.slide))
        tasks.append(Task.of(name, job, inputs, code, strict=settings.strict_versions))
    return Plan(
        stage=STAGE, tasks=tasks, work=work, out=project.fields, process_lists=project.process_lists, refused=refused
    )


def draw_fields(
    project: Project, settings: WsiSamTrainSettings, side_px: int, options: RunOptions
) -> tuple[list[Row], dict[str, Task[FieldsJob]]]:
    """Draws what is not drawn yet, and says what became of the slides; the tasks are of those that have fields.

    Raises:
        InputError: there are fields on no slide; see also `plan_fields`.
    """
    make = partial(plan_fields, project, settings, side_px)
    rows = run_plan(make, options, limits_of(settings))
    slides, drawings = find_slides(project.slides).paths, find_drawings(project.lesions)
    summarise(STAGE, rows, project.fields, project.process_lists / f"{STAGE}.csv")
    if undrawn := len(slides.keys() - drawings.keys()):
        console.say(f"{STAGE}: {undrawn} slide(s) without a drawing in {project.lesions} are passed over")
    for line in stray_drawings(project.lesions, slides, undone_by(project, "segment")):
        console.say(line)
    if not any(row.done for row in rows):
        first = rows[0]
        raise InputError(
            f"fields could be drawn on none of {len(rows)} slide(s), such as {first.slide_id}: {first.code} "
            f"{first.message}",
            remedy=first.remedy,
        )
    done = {row.slide_id for row in rows if row.done}
    return rows, {task.slide_id: task for task in make().tasks if task.slide_id in done}
