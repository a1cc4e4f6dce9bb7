"""Bags with other regions: patch features are taken from bags that there are, and grouped anew. No slide is read."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sammil_cli.config import ExtractSettings
from sammil_cli.jobs.regroup import RegroupJob
from sammil_cli.project.process_list import Row
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner.per_slide import Plan, limits_of, run_plan
from sammil_cli.stages.extract import plan_bags
from sammil_cli.storage.paths import BagPath


def run(bags: Path, place: Project, settings: ExtractSettings, slides: Sequence[str], options: RunOptions) -> list[Row]:
    """Writes the bag of each slide with other regions, and its quality beside it (`<slide>.json`).

    What is there of the same bag, regions, membership and code stays; files of other slides are removed.

    Args:
        bags: what `sammil extract` wrote; only features, places and encoder are taken from it.
        place: its `regions` are what the bags are grouped by; its `bags` and `process_lists` are written.
        settings: the membership only; features keep the precision of the bags.

    Returns:
        One row per slide: done, reused, or why not.
    """

    def plan() -> Plan[RegroupJob]:
        return plan_bags("regroup", [BagPath(bags / f"{slide}.h5") for slide in slides], place, settings)

    return run_plan(plan, replace(options, device="cpu", only=None, place=""), limits_of(settings))
