"""The patch grid on disk."""

import json
from dataclasses import fields

from sammil_cli.patches.patch_grid import SCORES, PatchGrid
from sammil_cli.storage.files import Record
from sammil_cli.storage.hdf5 import Arrays, Facts, read_hdf5, write_hdf5
from sammil_cli.storage.paths import PatchesPath

_FACTS = [field.name for field in fields(PatchGrid) if field.name not in ("xy", "scores", "waterfall")]


def write_patches(path: PatchesPath, grid: PatchGrid, provenance: Record) -> None:
    """Writes `xy`, the scores and the attributes of docs/formats.md."""
    facts = {name: getattr(grid, name) for name in _FACTS} | {"waterfall": json.dumps(dict(grid.waterfall))}
    write_hdf5(path, "patches", {"xy": grid.xy, **grid.scores}, facts, provenance, rules=_wrong)


def read_patches(path: PatchesPath) -> PatchGrid:
    """Reads what `write_patches` wrote; `InputError` as `storage.hdf5.read_hdf5`, also for patches off the slide."""
    arrays, facts = read_hdf5(path, "patches", rules=_wrong)
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


def _wrong(arrays: Arrays, facts: Facts) -> str:
    """What is wrong with places; patches may reach over the right and lower edge (`patch_edge: pad`), corners never."""
    width, height = facts["slide_size_px"]
    x, y, wide, high = facts["bounds_px"]
    if not (wide and high and x + wide <= width and y + high <= height):
        return f"its bounds ({x}, {y}, {wide}, {high}) do not lie on the slide of {width} x {height} px"
    if len(xy := arrays["xy"]):
        # Only our own grids begin in the scanned area: that of an older tool may lie around it.
        left, top, right, bottom = (x, y, x + wide, y + high) if "step_px_level0" in facts else (0, 0, width, height)
        low, high_xy = xy.min(axis=0), xy.max(axis=0)
        if low[0] < left or low[1] < top or high_xy[0] >= right or high_xy[1] >= bottom:
            return (
                f"it has patches from {tuple(low.tolist())} to {tuple(high_xy.tolist())}, outside of the slide's area"
            )
    return ""
