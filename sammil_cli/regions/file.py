"""Regions on disk: HDF5 with run lengths."""

import numpy as np
from numpy.typing import NDArray

from sammil_cli.regions.region_map import Canvas, RegionMap
from sammil_cli.storage.files import Record
from sammil_cli.storage.hdf5 import Arrays, Facts, read_hdf5, write_hdf5
from sammil_cli.storage.paths import RegionsPath

_LABEL_MAP_PX = 4096
_ARRAYS = ("runs", "offsets", "area_px", "box", "predicted_iou", "stability")


def write_regions(path: RegionsPath, regions: RegionMap, provenance: Record) -> None:
    """Writes the arrays of `RegionMap`, areas in µm², the canvas, and a label map with no side above 4096 px."""
    canvas = regions.canvas
    step = canvas.step_to(_LABEL_MAP_PX)
    arrays = {name: getattr(regions, name) for name in _ARRAYS}
    arrays |= {"area_um2": regions.area_um2, "label_map": regions.labels(step=step)}
    facts = {
        "slide_id": regions.slide_id,
        "canvas_origin_px": canvas.origin_px,
        "canvas_downsample": canvas.downsample,
        "canvas_size_px": canvas.size_px,
        "canvas_mpp": canvas.mpp,
        "label_map_step": step,
    }
    write_hdf5(path, "regions", arrays, facts, provenance, rules=_wrong)


def read_regions(path: RegionsPath) -> RegionMap:
    """Reads what `write_regions` wrote; `InputError` as `storage.hdf5.read_hdf5`, also for masks that fit no canvas."""
    arrays, facts = read_hdf5(path, "regions", arrays=_ARRAYS, rules=_wrong)
    x, y = (int(v) for v in facts["canvas_origin_px"])
    width, height = (int(v) for v in facts["canvas_size_px"])
    canvas = Canvas(
        origin_px=(x, y),
        downsample=float(facts["canvas_downsample"]),
        size_px=(width, height),
        mpp=float(facts["canvas_mpp"]),
    )
    return RegionMap(slide_id=facts["slide_id"], canvas=canvas, **{name: arrays[name] for name in _ARRAYS})


def _wrong(arrays: Arrays, facts: Facts) -> str:
    """What is wrong with the masks: each has the canvas's size, its area, and no pixel outside of its box."""
    runs, offsets, box = arrays["runs"], arrays["offsets"], arrays["box"].astype(np.int64)
    width, height = facts["canvas_size_px"]
    if offsets[0] != 0 or offsets[-1] != len(runs) or (np.diff(offsets) < 1).any():
        return f"offsets do not go from 0 to the {len(runs)} runs, with one for each region at least"
    if (box[:, 2:] < 1).any() or (box[:, :2] + box[:, 2:] > (width, height)).any():
        return f"a box does not lie on the canvas of {width} x {height} px"
    for region, (begin, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        edges = np.cumsum(runs[begin:end], dtype=np.uint64)  # region by region: all runs at once would take memory
        if edges[-1] != width * height:
            return f"the runs of region {region} cover {edges[-1]} of {width * height} pixels"
        starts, ends = edges[0::2][: len(edges) // 2], edges[1::2]
        set_runs = ends > starts
        first, last = starts[set_runs], ends[set_runs] - np.uint64(1)
        if int((ends - starts).sum()) != arrays["area_px"][region]:
            return f"the runs of region {region} do not have its area"
        x, y, wide, high = box[region].tolist()
        if not (
            x <= first[0] // height and last[-1] // height < x + wide and _rows_in(first, last, height, y, y + high)
        ):
            return f"region {region} reaches out of its box"
    return ""


def _rows_in(first: NDArray[np.uint64], last: NDArray[np.uint64], height: int, top: int, bottom: int) -> bool:
    """Whether runs over columns of `height` pixels lie between two rows; only in a box of full height one may go on."""
    if (top, bottom) == (0, height):
        return True
    one_column = (first // height == last // height).all()
    return bool(one_column and (first % height >= top).all() and (last % height < bottom).all())
