"""sammil patch: tissue masks -> patch grids."""

from pathlib import Path
from typing import Any

from sammil_cli.config import PatchSettings
from sammil_cli.patches.file import write_patches
from sammil_cli.patches.grid import make_grid
from sammil_cli.stages.per_slide import Plan, Row, Task, limits_of, run_plan
from sammil_cli.stages.project import Project, RunOptions
from sammil_cli.stages.upstream import files_of
from sammil_cli.storage.code import code_version
from sammil_cli.storage.files import sha256_file
from sammil_cli.tissue.file import read_tissue

CODE = ("storage", "slides", "tissue", "patches", "stages/patch.py")


def run(project: Project, settings: PatchSettings, options: RunOptions) -> list[Row]:
    """Lays the grid on every slide that has a tissue mask; returns the process list."""
    return run_plan(plan(project, settings, options), options, limits_of(settings))


def plan(project: Project, settings: PatchSettings, options: RunOptions) -> Plan:
    """What there is to do."""
    grid = {
        "patch_px": settings.patch_px,
        "patch_mpp": settings.patch_mpp,
        "min_tissue": settings.patch_min_tissue,
    }
    shared = {"settings": grid, "code": code_version(*CODE)}
    tasks = [
        Task(slide_id=path.stem, recipe={"tissue": sha256_file(path), **shared}, arguments=(path, grid))
        for path in files_of(project.tissue, ".geojson", "segment", options.only)
    ]
    listing = project.process_lists / "patch.csv"
    return Plan(step="patch", tasks=tasks, work=work, out=project.patches, process_list=listing)


def work(folder: Path, record: dict[str, Any], tissue: Path, grid: dict[str, Any]) -> list[str]:
    """Writes one slide's grid into `folder`."""
    write_patches(folder / f"{tissue.stem}.h5", make_grid(read_tissue(tissue), **grid), record)
    return []
