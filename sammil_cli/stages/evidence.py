"""What models say of each patch and region, for QuPath: after `visualize`, for each slide that it drew."""

from functools import partial

from sammil_cli.config import VisualizeSettings
from sammil_cli.jobs.evidence import EvidenceJob, work
from sammil_cli.project.code_in_use import code_of_slide
from sammil_cli.project.process_list import Row
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner.inputs import content
from sammil_cli.runner.per_slide import Plan, Task, limits_of, run_plan
from sammil_cli.storage.paths import BagPath, RegionsPath, TissuePath


def run(project: Project, settings: VisualizeSettings, options: RunOptions) -> list[Row]:
    """Writes `<slide>.geojson` of every slide with a bag and a table of patches; returns the process list."""
    return run_plan(partial(plan, project, settings, options), options, limits_of(settings))


def plan(project: Project, settings: VisualizeSettings, options: RunOptions) -> Plan[EvidenceJob]:
    """What is to do. No model is read: what it says stands in the tables."""
    code, tasks = code_of_slide("evidence"), []
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
        )
        files = (job.bag, job.table, job.regions, job.tissue)
        inputs = {"inputs": [content(path) for path in files]}
        tasks.append(Task.of(table.stem, job, inputs, code, strict=settings.strict_versions))
    return Plan(stage="evidence", tasks=tasks, work=work, out=project.evidence, process_lists=project.process_lists)
