"""The per-slide stages by their names, for what looks at or runs several of them."""

from importlib import import_module
from types import ModuleType
from typing import Any

from sammil_cli.config import STAGES, Settings
from sammil_cli.project.process_list import Row
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner.per_slide import Plan


def plan_stage(stage: str, project: Project, settings: Settings, options: RunOptions) -> Plan[Any]:
    """What a stage would do; raises what its own `plan` raises."""
    found: Plan[Any] = _module(stage).plan(project, settings.stage(STAGES[stage]), options)
    return found


def run_stage(stage: str, project: Project, settings: Settings, options: RunOptions) -> list[Row]:
    """Runs a stage; raises what its own `run` raises."""
    rows: list[Row] = _module(stage).run(project, settings.stage(STAGES[stage]), options)
    return rows


def _module(stage: str) -> ModuleType:
    return import_module(f"sammil_cli.stages.{stage}")
