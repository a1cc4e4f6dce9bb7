"""Names and classes of regions that somebody drew."""

import json
from pathlib import Path

import pytest
import shapely
from shapely.geometry import mapping

from sammil_cli.errors import SlideError
from sammil_cli.regions.drawn_names import Called, drawn_names
from sammil_cli.regions.region_map import Canvas, Proposal, RegionMap, build
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.storage.paths import DrawingPath
from sammil_cli.tissue.mask import paint_area

CANVAS = Canvas(origin_px=(100, 50), downsample=4.0, size_px=(100, 80), mpp=1.0)
NEST, GLAND, LONE = shapely.box(120, 60, 200, 140), shapely.box(160, 100, 300, 200), shapely.box(400, 300, 460, 340)


def regions(*areas: shapely.Polygon) -> RegionMap:
    painted = [
        paint_area(shapely.MultiPolygon([area]), CANVAS.origin_px, CANVAS.downsample, (80, 100)) for area in areas
    ]
    return build("s", CANVAS, [Proposal(mask=RegionMask.of(*one)) for one in painted if one is not None])


def drawing(
    path: Path, *drawn: tuple[shapely.Geometry, dict[str, object]], offset: tuple[int, int] = (0, 0)
) -> DrawingPath:
    moved = [(shapely.transform(shape, lambda points: points - offset), properties) for shape, properties in drawn]
    features = [{"type": "Feature", "geometry": mapping(shape), "properties": facts} for shape, facts in moved]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return DrawingPath(path)


def test_regions_are_found_again_whatever_their_order_and_counted_from_the_scanned_area(tmp_path: Path) -> None:
    path = drawing(
        tmp_path / "s.geojson",
        (NEST, {"name": "nest 1", "classification": {"name": "Tumor"}}),
        (shapely.Point(130, 70), {"name": "a point"}),
        (GLAND, {"classification": {"names": ["Normal", "Gland"]}}),
        (LONE, {}),
        offset=(30, 20),
    )
    found = drawn_names(path, (30, 20), regions(LONE, GLAND, NEST))
    assert found == {1: Called("", "Normal: Gland"), 2: Called("nest 1", "Tumor")}


def test_what_is_no_region_names_none_and_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    half = shapely.box(120, 60, 140, 140)  # a quarter of the nest
    path = drawing(
        tmp_path / "s.geojson", (half, {"name": "half"}), (LONE, {"name": "cells", "objectType": "detection"})
    )
    assert drawn_names(path, (0, 0), regions(NEST, LONE)) == {}
    path.write_text("{")
    with pytest.raises(SlideError, match="no valid") as caught:
        drawn_names(path, (0, 0), regions(NEST))
    assert caught.value.code == "E_EDIT"
