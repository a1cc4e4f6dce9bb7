"""The per-slide stages by their names, for what looks at or runs several of them."""

from typing import Any

from sammil_cli.config import ExtractSettings, PatchSettings, SamSettings, SegmentSettings, Settings, VisualizeSettings
from sammil_cli.project.process_list import Row
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner.per_slide import Plan


def plan_stage(stage: str, project: Project, settings: Settings, options: RunOptions) -> Plan[Any]:
    """What a stage would do; raises what its own `plan` raises."""
    from sammil_cli.stages import extract, patch, sam, segment, visualize  # seconds: torch comes with them

    match stage:
        case "segment":
            return segment.plan(project, settings.stage(SegmentSettings), options)
        case "patch":
            return patch.plan(project, settings.stage(PatchSettings), options)
        case "sam":
            return sam.plan(project, settings.stage(SamSettings), options)
        case "extract":
            return extract.plan(project, settings.stage(ExtractSettings), options)
        case "visualize":
            return visualize.plan(project, settings.stage(VisualizeSettings), options)
    raise ValueError(f"{stage} is no stage that works slide by slide")


def run_stage(stage: str, project: Project, settings: Settings, options: RunOptions) -> list[Row]:
    """Runs a stage; raises what its own `run` raises."""
    from sammil_cli.stages import extract, patch, sam, segment

    match stage:
        case "segment":
            return segment.run(project, settings.stage(SegmentSettings), options)
        case "patch":
            return patch.run(project, settings.stage(PatchSettings), options)
        case "sam":
            return sam.run(project, settings.stage(SamSettings), options)
        case "extract":
            return extract.run(project, settings.stage(ExtractSettings), options)
    raise ValueError(f"{stage} is no stage that works slide by slide")
