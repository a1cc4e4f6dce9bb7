"""sammil patch: tissue masks -> patch grids."""

from functools import partial

from sammil_cli import console
from sammil_cli.config import PatchSettings, Tolerance
from sammil_cli.errors import SlideError
from sammil_cli.jobs.patch import PatchJob, work
from sammil_cli.project.code_in_use import code_of_slide
from sammil_cli.project.process_list import Row, refusal
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner.earlier_files import files_of, undone_by
from sammil_cli.runner.inputs import content
from sammil_cli.runner.per_slide import Plan, Task, limits_of, run_plan
from sammil_cli.storage.paths import ArtefactsPath, TissuePath
from sammil_cli.tissue.drawing_files import find_drawings, stray_drawings


def run(project: Project, settings: PatchSettings, options: RunOptions) -> list[Row]:
    """Lays the grid on every slide that has a tissue mask; returns the process list."""
    rows = run_plan(partial(plan, project, settings, options), options, limits_of(settings))
    undone = undone_by(project, "segment")
    for line in stray_drawings(project.rois, {path.stem for path in project.tissue.glob("*.geojson")}, undone):
        console.say(line)
    return rows


def plan(project: Project, settings: PatchSettings, options: RunOptions) -> Plan[PatchJob]:
    """What is to do. No slide is read: all that counts lies in the folder of tissue masks."""
    code = code_of_slide("patch")
    facts = settings.model_dump(exclude=set(Tolerance.model_fields))
    rois = find_drawings(project.rois)
    tasks, refused = [], []
    for tissue in files_of(TissuePath, project, project.tissue, "segment", options.only):
        maps, roi = ArtefactsPath(tissue.with_suffix(".h5")), rois.get(tissue.stem)
        if not maps.exists():
            lack = SlideError("E_UPSTREAM", f"{maps} is gone", remedy="run: sammil segment")
            refused.append(refusal(tissue.stem, lack))
            continue
        inputs = {"tissue": content(tissue), "artefacts": content(maps), "roi": content(roi), "settings": facts}
        job = PatchJob(tissue=tissue, artefacts=maps, roi=roi, settings=settings)
        tasks.append(Task.of(tissue.stem, job, inputs, code, strict=settings.strict_versions))
    out, process_lists = project.patches, project.process_lists
    return Plan(stage="patch", tasks=tasks, work=work, out=out, process_lists=process_lists, refused=refused)
