"""sammil patch: tissue masks -> patch grids."""

from pathlib import Path
from typing import Any

from sammil_cli.config import PatchSettings
from sammil_cli.patches.file import write_patches
from sammil_cli.patches.grid import make_grid
from sammil_cli.stages.per_slide import Row, Task, run_tasks
from sammil_cli.stages.project import Project, RunOptions
from sammil_cli.stages.upstream import files_of
from sammil_cli.storage.code import code_version
from sammil_cli.storage.files import sha256_file
from sammil_cli.tissue.file import read_tissue

CODE = ("storage", "slides", "tissue", "patches", "stages/patch.py")


def run(project: Project, settings: PatchSettings, options: RunOptions) -> list[Row]:
    """Lays the grid on every slide that has a tissue mask; returns the process list."""
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
    return run_tasks("patch", tasks, work, project.patches, project.process_lists / "patch.csv", options)


def work(folder: Path, record: dict[str, Any], tissue: Path, grid: dict[str, Any]) -> None:
    """Writes one slide's grid into `folder`."""
    write_patches(folder / f"{tissue.stem}.h5", make_grid(read_tissue(tissue), **grid), record)
