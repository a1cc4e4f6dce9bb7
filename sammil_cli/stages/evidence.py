"""What models say of each patch and region, for QuPath: after `visualize`, for each slide that it drew."""

from functools import partial
from importlib import resources

from sammil_cli import console
from sammil_cli.config import VisualizeSettings
from sammil_cli.features.making import read_making
from sammil_cli.jobs.evidence import EvidenceJob, work
from sammil_cli.project.code_in_use import code_of_slide
from sammil_cli.project.process_list import Row
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner.inputs import content
from sammil_cli.runner.per_slide import Plan, Task, limits_of, run_plan
from sammil_cli.storage.files import write_text
from sammil_cli.storage.paths import BagPath, RegionsPath, TissuePath
from sammil_cli.tissue.drawing_files import find_drawings

SCRIPT = "load_evidence.groovy"


def run(project: Project, settings: VisualizeSettings, options: RunOptions, *, packed: bool = False) -> list[Row]:
    """Writes `<slide>.geojson` of every slide with a bag and a table of patches, and a script that loads them all.

    Args:
        packed: `<slide>.geojson.gz` instead.

    Returns:
        The process list.
    """
    rows = run_plan(partial(plan, project, settings, options, packed=packed), options, limits_of(settings))
    if any(row.done for row in rows):
        script = resources.files("sammil_cli.report").joinpath(SCRIPT).read_text(encoding="utf-8")
        write_text(project.evidence / SCRIPT, script)
    else:
        (project.evidence / SCRIPT).unlink(missing_ok=True)
    if not rows:
        console.say(
            f"evidence: no slide is drawn yet: {project.pictures} has no table of patches; run: sammil visualize"
        )
    return rows


def plan(
    project: Project, settings: VisualizeSettings, options: RunOptions, *, packed: bool = False
) -> Plan[EvidenceJob]:
    """What is to do. No model is read: what it says stands in the tables."""
    code, tasks, drawings = code_of_slide("evidence"), [], find_drawings(project.annotations)
    for table in sorted(project.pictures.glob("*.csv")):
        bag = BagPath(project.bags / f"{table.stem}.h5")
        if not bag.exists() or (options.only is not None and table.stem not in options.only):
            continue
        regions, tissue = RegionsPath(project.regions / bag.name), TissuePath(project.tissue / f"{table.stem}.geojson")
        job = EvidenceJob(
            bag=bag,
            table=table,
            regions=regions if regions.exists() else None,
            tissue=tissue if tissue.exists() else None,
            drawn=drawings.get(table.stem) if made_of_drawing(bag) else None,
            packed=packed,
        )
        files = (job.bag, job.table, job.regions, job.tissue, job.drawn)
        inputs = {"inputs": [content(path) for path in files], "packed": packed}
        tasks.append(Task.of(table.stem, job, inputs, code, strict=settings.strict_versions))
    return Plan(stage="evidence", tasks=tasks, work=work, out=project.evidence, process_lists=project.process_lists)


def made_of_drawing(bag: BagPath) -> bool:
    """Whether a bag's regions are what somebody drew (proposer `geojson`), so that they have names."""
    return read_making(bag).made_with.get("sam", {}).get("proposer") == "geojson"
