"""What models say of each patch and region of a slide, as objects for QuPath."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from sammil_cli.features.bag import FeatureBag
from sammil_cli.features.places import patch_side
from sammil_cli.regions.polygons import annotations
from sammil_cli.regions.region_map import RegionMap
from sammil_cli.report.patch_table import PatchTable
from sammil_cli.report.scales import percentile_rank
from sammil_cli.storage.files import Record
from sammil_cli.storage.geojson import Shape, write_geojson

_AT_ONCE = 4096  # patches whose outlines are held


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What models say of the n patches of a bag, in its order.

    `regions`: those of the bag, whose outlines become annotations; None = there are none, or only their ids are known.
    """

    bag: FeatureBag
    table: PatchTable
    regions: RegionMap | None = None


def write_evidence(path: Path, found: Evidence, offset_px: tuple[int, int], provenance: Record) -> None:
    """Writes an annotation for each region and a detection for each patch, in level-0 pixels, as they come.

    A patch has its attention, the percentile of that among the slide's patches, its evidence for each class, and the id
    of its region (-1 = none); a region has what `regions.polygons` says of it, how many patches lie in it, the share of
    the attention that these have, and their mean evidence. Patches come in the order of the bag.

    Args:
        path: packed where the name ends with `.gz`.
        offset_px: corner of the scanned area, which QuPath counts from.

    Raises:
        SlideError: `E_BAG`, the bag does not say where its patches lie.
    """
    side = patch_side(found.bag.xy, found.bag.encoder.patch_px_level0)
    facts = {**provenance, "slide_id": found.bag.slide_id, "classes": list(found.table.classes)}
    write_geojson(path, _objects(found, side), offset_px=offset_px, provenance=facts)


def _objects(found: Evidence, side: int) -> Iterator[tuple[Shape, Record]]:
    if found.regions is not None:
        for region, (shape, numbers) in enumerate(annotations(found.regions)):
            yield shape, {**numbers, **_of_region(found, region)}
    xy, percentile = found.bag.xy, 100 * percentile_rank(found.table.attention)
    for first in range(0, len(xy), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        low = xy[part].astype(np.float64)
        outlines = shapely.box(low[:, 0], low[:, 1], low[:, 0] + side, low[:, 1] + side)
        for at, outline in enumerate(outlines.tolist(), start=first):
            yield (
                Shape(geometry=outline, object_type="detection"),
                {
                    "attention": _digits(found.table.attention[at]),
                    "attention percentile": round(float(percentile[at]), 2),
                    **_by_class(found, found.table.evidence[at]),
                    "region": int(found.bag.region[at]),
                },
            )


def _of_region(found: Evidence, region: int) -> Record:
    members = found.bag.members
    inside = members.patch[members.start[region] : members.start[region + 1]]
    if not len(inside):
        return {"patches": 0}
    return {
        "patches": len(inside),
        "attention share": _digits(
            found.table.attention[inside].sum() / max(float(found.table.attention.sum()), 1e-300)
        ),
        **_by_class(found, found.table.evidence[inside].mean(axis=0)),
    }


def _by_class(found: Evidence, values: NDArray[np.float64]) -> Record:
    return {f"evidence {name}": _digits(value) for name, value in zip(found.table.classes, values, strict=True)}


def _digits(value: np.floating) -> float:
    return float(f"{value:.6g}")
