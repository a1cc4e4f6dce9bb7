"""What models say of each patch and region of a slide, as objects for QuPath."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from sammil_cli.features.bag import FeatureBag
from sammil_cli.features.places import patch_side
from sammil_cli.regions.drawn_names import Called
from sammil_cli.regions.polygons import annotations
from sammil_cli.regions.region_map import RegionMap
from sammil_cli.report.patch_table import PatchTable
from sammil_cli.report.ranked_regions import Ranked, RegionPatches
from sammil_cli.report.scales import percentile_rank
from sammil_cli.storage.files import Record
from sammil_cli.storage.geojson import Shape, write_geojson

_AT_ONCE = 4096  # patches whose outlines are held


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What models say of the n patches of a bag, in its order.

    `regions`: those of the bag, whose outlines become annotations; None = no regions, or only their ids are known.
    `called`: the name and class that people gave regions, by region.
    """

    bag: FeatureBag
    table: PatchTable
    regions: RegionMap | None = None
    called: Mapping[int, Called] = field(default_factory=dict)


def write_evidence(path: Path, found: Evidence, offset_px: tuple[int, int], provenance: Record) -> None:
    """Writes an annotation for each region and a detection for each patch, in level-0 pixels, as they come.

    A patch has its attention, the percentile of that among the slide's patches, its evidence for each class, and the id
    of its region (-1 = none); a region has what `regions.polygons` says of it, how many patches lie in it, the share of
    the attention that these have, and for each class their mean evidence, and what `ranked_regions.Ranked` says. A
    region that was drawn has its name and class. Patches come in the order of the bag.

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
        of_region = _of_regions(found)
        for region, (shape, numbers) in enumerate(annotations(found.regions)):
            if region in found.called:
                name, class_name = found.called[region]
                shape = replace(shape, name=name, class_name=class_name or shape.class_name)
            yield shape, {**numbers, **of_region.get(region, {"patches": 0})}
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


def _of_regions(found: Evidence) -> dict[int, Record]:
    """The measurements of the regions that hold patches; those that are not defined are left out."""
    inside, table = RegionPatches(found.bag), found.table
    chance = 1 / len(table.classes)
    by_class = {
        name: inside.rank(table.attention, table.evidence[:, index], chance) for index, name in enumerate(table.classes)
    }
    return {region: _of_region(at, by_class) for at, region in enumerate(inside.held.tolist())}


def _of_region(at: int, by_class: Mapping[str, Ranked]) -> Record:
    first = next(iter(by_class.values()))
    numbers: dict[str, float] = {
        "patches": int(first.patches[at]),
        "attention share": _digits(first.attention_share[at]),
    }
    for name, ranked in by_class.items():
        numbers[f"evidence {name}"] = _digits(ranked.probability[at])
        numbers[f"evidence share {name}"] = _digits(ranked.evidence_share[at])
        numbers[f"contrast {name}"] = _digits(ranked.contrast[at])
        numbers[f"rank {name}"] = int(ranked.rank[at])
    return {name: number for name, number in numbers.items() if not math.isnan(number)}


def _by_class(found: Evidence, values: NDArray[np.float64]) -> Record:
    return {f"evidence {name}": _digits(value) for name, value in zip(found.table.classes, values, strict=True)}


def _digits(value: np.floating) -> float:
    return float(f"{value:.6g}")
