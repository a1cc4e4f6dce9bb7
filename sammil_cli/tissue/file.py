"""The tissue mask on disk: GeoJSON for QuPath."""

import shapely
from shapely import MultiPolygon

from sammil_cli.errors import InputError
from sammil_cli.storage.files import Record
from sammil_cli.storage.geojson import read_geojson, write_geojson
from sammil_cli.storage.paths import TissuePath
from sammil_cli.tissue.mask import TissueMask


def write_tissue(path: TissuePath, mask: TissueMask, provenance: Record) -> None:
    """Writes the polygons, each with its area in µm², as `Tissue` annotations."""
    facts = {"slide_mpp": mask.slide_mpp, "slide_size_px": mask.slide_size_px, "bounds_px": mask.bounds_px}
    shapes = [(p, {"area_um2": round(p.area * mask.slide_mpp**2, 1)}) for p in mask.polygons.geoms]
    offset = mask.bounds_px[:2]
    write_geojson(path, shapes, class_name="Tissue", offset_px=offset, provenance={**provenance, **facts})


def read_tissue(path: TissuePath) -> TissueMask:
    """Reads what `write_tissue` wrote.

    Raises:
        InputError: no GeoJSON, or not of sammil.
    """
    shapes, facts = read_geojson(path)
    try:
        mpp, size, bounds = facts["slide_mpp"], facts["slide_size_px"], facts["bounds_px"]
    except KeyError as error:
        raise InputError(f"{path} was not written by sammil segment ({error} missing)", remedy="run segment") from None
    polygons = [part for drawn in shapes for part in shapely.get_parts(drawn.geometry)]
    return TissueMask(
        slide_id=path.stem,
        polygons=MultiPolygon(polygons),
        slide_mpp=float(mpp),
        slide_size_px=(size[0], size[1]),
        bounds_px=(bounds[0], bounds[1], bounds[2], bounds[3]),
    )
