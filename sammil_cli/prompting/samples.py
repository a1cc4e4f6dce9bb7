"""Fields to learn from: drawn at random on each slide where something is drawn on it, once, and kept as GeoJSON.

A field is any place whose HR picture holds a pixel of the foreground and whose middle lies on tissue, or in the scanned
area where no tissue is known; all such places are equally likely.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from shapely import MultiPolygon, Polygon

from sammil_cli.errors import SlideError
from sammil_cli.prompting.foreground import NearbyAreas, read_foreground
from sammil_cli.regions.wsi_sam.field import Field
from sammil_cli.slides.files import open_slide
from sammil_cli.slides.slide import Slide
from sammil_cli.storage.files import Record
from sammil_cli.storage.geojson import Shape, read_own_geojson, write_geojson
from sammil_cli.storage.paths import DrawingPath, SlidePath, TissuePath
from sammil_cli.storage.summed import check_slide, damaged
from sammil_cli.tissue.mask import TissueMask, read_tissue

CLASS = "Field"
_TRIES = 2000  # places looked at for each field, at most
_UNKNOWN = "no tissue is known (sammil segment): fields lie anywhere in the scanned area that something drawn reaches"
_AGAIN = "delete it, and run: sammil wsi-sam train"


@dataclass(frozen=True, kw_only=True)
class FieldsJob:
    """`mpp`, `scene`: what the user says of the slide; with `tissue`, what is known there counts. `classes`: see
    `foreground.read_foreground`. `count` fields of `side_px` at `field_mpp` µm per pixel of HR are drawn."""

    slide: SlidePath
    mpp: float | None
    scene: int | None
    drawing: DrawingPath
    tissue: TissuePath | None
    classes: tuple[str, ...] | None
    count: int
    field_mpp: float
    side_px: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class SlideFields:
    """The fields of one slide, in the order in which they were drawn, each with its share of foreground on HR."""

    slide_id: str
    slide_mpp: float
    scene: int | None
    fields: tuple[Field, ...]
    shares: tuple[float, ...]


def work(folder: Path, record: Record, job: FieldsJob) -> list[str]:
    """Draws the fields of one slide and writes them into `folder`; returns remarks.

    Raises:
        SlideError: `E_COARSE`, the slide is coarser than `field_mpp`; `E_FIELD`, no place holds a pixel of the
            foreground; see also `read_foreground`, `Slide.read_at`.
    """
    tissue = None if job.tissue is None else read_tissue(job.tissue)
    mpp, scene = (job.mpp, job.scene) if tissue is None else (tissue.slide_mpp, tissue.scene)
    with open_slide(job.slide, mpp, scene) as slide:
        record = {**record, "read_by": slide.read_by}
        areas, remarks = read_foreground(job.drawing, slide, tissue, job.classes)
        near = NearbyAreas(areas)
        fields = list(_drawn(slide, tissue, areas, near, job))
        for field in fields:  # what cannot be decoded is found here, not in the midst of a training
            field.read(slide)
        shares = [float(near.mask(field).mean()) for field in fields]
        write_fields(folder / f"{slide.slide_id}.geojson", slide, list(zip(fields, shares, strict=True)), record)
        return [*([] if tissue else [_UNKNOWN]), *remarks, *slide.remarks]


def _drawn(
    slide: Slide, tissue: TissueMask | None, areas: Sequence[MultiPolygon], near: NearbyAreas, job: FieldsJob
) -> Iterator[Field]:
    """As many fields as are asked for; the same for the same slide, drawing, tissue and seed."""
    rng = np.random.default_rng([job.seed, *slide.slide_id.encode()])
    x, y, width, height = slide.bounds_px
    probe = Field.around((x, y), mpp=job.field_mpp, slide_mpp=slide.mpp, out_px=job.side_px)
    parts = _around(areas, probe.side_px0 / 2, (x, y, x + width, y + height))
    shapely.prepare(parts if tissue is None else [*parts, tissue.polygons])
    for _ in range(job.count):
        for place in _places(parts, rng) if parts else ():
            field = Field.around(place, mpp=job.field_mpp, slide_mpp=slide.mpp, out_px=job.side_px)
            if (tissue is None or shapely.contains_xy(tissue.polygons, *place)) and near.mask(field).any():
                yield field
                break
        else:
            raise SlideError(
                "E_FIELD",
                f"{_TRIES} places near what is drawn in {job.drawing} were tried, and no field of {job.side_px} px at "
                f"{job.field_mpp:g} µm per pixel held a pixel of it" + (" with its middle on tissue" if tissue else ""),
                remedy="draw areas that are larger than a pixel of HR"
                + (", on tissue; or correct the tissue in data/edits" if tissue else ""),
            )


def _around(areas: Sequence[MultiPolygon], reach_px: float, limits: tuple[int, int, int, int]) -> list[Polygon]:
    """Where the middles of fields may lie: the boxes of all that is drawn, grown by `reach_px`, joined, within limits.

    Args:
        limits: left, top, right, bottom.
    """
    bounds = shapely.bounds(np.array([part for area in areas for part in area.geoms], np.object_))
    joined = shapely.union_all(shapely.box(*(bounds + np.array([-1, -1, 1, 1]) * reach_px).T))
    return [part for part in shapely.get_parts(joined.intersection(shapely.box(*limits))) if part.area > 0]


def _places(parts: Sequence[Polygon], rng: np.random.Generator) -> Iterator[tuple[float, float]]:
    """Points, evenly spread over all parts together."""
    sizes = np.array([part.area for part in parts])
    for _ in range(_TRIES):
        part = parts[rng.choice(len(parts), p=sizes / sizes.sum())]
        left, top, right, bottom = part.bounds
        x, y = float(rng.uniform(left, right)), float(rng.uniform(top, bottom))
        if shapely.contains_xy(part, x, y):
            yield x, y


def write_fields(path: Path, slide: Slide, fields: Sequence[tuple[Field, float]], record: Record) -> None:
    """Writes fields with their shares of foreground as squares for QuPath."""
    facts = {
        "slide_id": slide.slide_id,
        "slide_mpp": slide.mpp,
        "mpp_source": slide.mpp_source,
        "scene": slide.scene,
        "field_px": fields[0][0].out_px,
        "fields": [[*field.corner_px, field.side_px0, share] for field, share in fields],
    }
    shapes = [
        (Shape(geometry=shapely.box(*_square(field)), class_name=CLASS, name=f"field {number}"), {"foreground": share})
        for number, (field, share) in enumerate(fields)
    ]
    write_geojson(path, shapes, offset_px=slide.bounds_px[:2], provenance={**record, **facts})


def _square(field: Field) -> tuple[int, int, int, int]:
    (x, y), side = field.corner_px, field.side_px0
    return x, y, x + side, y + side


def read_fields(path: Path) -> SlideFields:
    """Reads what `write_fields` wrote.

    Raises:
        InputError: `E_DAMAGED`, not as it was written; `E_MIXED`, of another slide.
    """
    _, facts = read_own_geojson(path, _AGAIN)
    check_slide(path, facts.get("slide_id"), _AGAIN)
    try:
        drawn = [(int(x), int(y), int(side), float(share)) for x, y, side, share in facts["fields"]]
        side_px = int(facts["field_px"])
        return SlideFields(
            slide_id=path.stem,
            slide_mpp=float(facts["slide_mpp"]),
            scene=facts["scene"],
            fields=tuple(Field(corner_px=(x, y), side_px0=side, out_px=side_px) for x, y, side, _ in drawn),
            shares=tuple(share for *_, share in drawn),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise damaged(path, f"not as sammil wsi-sam train writes it: {error}", _AGAIN) from None
