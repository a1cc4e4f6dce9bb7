"""The patch grid on disk."""

import json
from dataclasses import fields

from sammil_cli.patches.patch_grid import SCORES, PatchGrid
from sammil_cli.storage.files import Record
from sammil_cli.storage.hdf5 import read_hdf5, write_hdf5
from sammil_cli.storage.paths import PatchesPath

_FACTS = [field.name for field in fields(PatchGrid) if field.name not in ("xy", "scores", "waterfall")]
_SHAPES = {"xy": "n 2", **dict.fromkeys(SCORES, "n")}


def write_patches(path: PatchesPath, grid: PatchGrid, provenance: Record) -> None:
    """Writes `xy`, the scores and the attributes of docs/formats.md."""
    facts = {name: getattr(grid, name) for name in _FACTS} | {"waterfall": json.dumps(dict(grid.waterfall))}
    write_hdf5(path, "patches", {"xy": grid.xy, **grid.scores}, facts, provenance)


def read_patches(path: PatchesPath) -> PatchGrid:
    """Reads what `write_patches` wrote; `InputError` where it is something else."""
    arrays, facts = read_hdf5(path, "patches", shapes=_SHAPES)
    width, height = (int(v) for v in facts["slide_size_px"])
    x, y, w, h = (int(v) for v in facts["bounds_px"])
    step, scene = facts.get("step_px_level0"), facts.get("scene")
    return PatchGrid(
        slide_id=facts["slide_id"],
        xy=arrays["xy"],
        patch_px=int(facts["patch_px"]),
        patch_mpp=float(facts["patch_mpp"]),
        patch_px_level0=int(facts["patch_px_level0"]),
        slide_mpp=float(facts["slide_mpp"]),
        slide_size_px=(width, height),
        bounds_px=(x, y, w, h),
        scene=None if scene is None else int(scene),
        step_px_level0=None if step is None else int(step),
        scores={name: arrays[name] for name in SCORES if name in arrays},
        waterfall=json.loads(facts.get("waterfall", "{}")),
        uncovered=float(facts.get("uncovered", 0.0)),
    )
