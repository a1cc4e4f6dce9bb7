"""Annotations of Aperio ImageScope and HALO, and of ASAP (CAMELYON): XML, read into the shapes of GeoJSON."""

from array import array
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPoint, Polygon

from sammil_cli.errors import InputError
from sammil_cli.storage.geojson import FARTHEST_PX, Shape
from sammil_cli.storage.outline_limits import check_outlines, overlapping

_TAKEN_AWAY = ("ignore", "exclu")  # how such classes begin
# ImageScope's numbers, HALO's and ASAP's words; every other kind is an arrow, a ruler, a pin or a dot.
_OUTLINES = ("", "0", "polygon", "area", "spline", "1", "rectangle")
_ELLIPSES = ("2", "ellipse")
_ELLIPSE = np.linspace(0, 2 * np.pi, 128, endpoint=False)
_CAMELYON16 = {"_0", "_1", "_2", "tumor", ""}  # its groups; _2 is normal tissue inside of a tumour
_POINT_TAGS = ("Vertex", "V", "Coordinate")
_DEEPEST_GROUP = 32  # groups in groups
_MOST_ELEMENTS = 4_000_000  # besides points: a flood of them must not fill the memory

Corners = NDArray[np.float64]  # (n, 2): x, y


def is_annotation_xml(name: str) -> bool:
    """Whether a file is XML of annotations by its name; `.annotations` is HALO's."""
    return name.lower().endswith((".xml", ".annotations"))


def takes_away(class_name: str) -> bool:
    """Whether areas of a class are taken off the others: its name begins with `Ignore` or `Exclu`."""
    return class_name.strip().casefold().startswith(_TAKEN_AWAY)


def parse_annotation_xml(path: Path, content: bytes, *, offset_px: tuple[int, int] = (0, 0)) -> list[Shape]:
    """The shapes of a file in level-0 pixels, counted from the corner of the whole file; dots and lines as points.

    The class is the layer's name (ImageScope, HALO) or the group's (ASAP). Regions with `NegativeROA` are holes in
    those of their layer. `taken_away` are CAMELYON's normal tissue, and a layer of nothing but negative regions.

    Args:
        path: for messages.
        offset_px: where the scanned area begins. Only HALO's files are refused where that is not the corner of the
            file, as on MIRAX: where they count from is not known, it writes negative numbers there.

    Raises:
        InputError: no XML, with a document type (its entities could be hostile), of another tool, or points that are
            none; the message names the annotation.
    """
    root, points, is_halo = _parse(path, content)
    if is_halo and any(offset_px):
        raise InputError(
            f"{path} is HALO's, whose origin on slides with an empty margin, such as MIRAX, is not known",
            remedy="draw it in QuPath, and export it as GeoJSON",
        )
    read = _Reader(path, points)
    if root.tag == "ASAP_Annotations":
        return read.asap(root)
    if root.tag == "Annotations":
        return [shape for layer in root.iter("Annotation") for shape in read.layer(layer)]
    if next(root.iter("ndpviewstate"), None) is not None:
        raise InputError(
            f"{path} is Hamamatsu's NDPA, in nanometres from the slide's centre, which is not read",
            remedy="load it in QuPath with a script for NDPA, and export it as GeoJSON",
        )
    raise InputError(
        f"{path} holds no annotations: it begins with <{root.tag}>",
        remedy="XML of ImageScope and HALO begins with <Annotations>, of ASAP with <ASAP_Annotations>; or use GeoJSON",
    )


class _Handlers:
    """What expat calls: points become numbers of the element that they stand in, everything else an element."""

    def __init__(self) -> None:
        self.builder = TreeBuilder()
        self.open = [self.builder.start("file", {})]
        self.points: dict[Element, array[float]] = {}  # order, x, y of each point in turn
        self.elements = 0
        self.is_halo = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in _POINT_TAGS:
            self.is_halo |= tag == "V"
            numbers = self.points.setdefault(self.open[-1], array("d"))
            numbers.extend(_number(attributes.get(name)) for name in ("Order", "X", "Y"))
            return
        self.elements += 1
        if self.elements > _MOST_ELEMENTS:
            raise ValueError(f"it has more than {_MOST_ELEMENTS} elements")
        self.open.append(self.builder.start(tag, attributes))

    def end(self, tag: str) -> None:
        if tag not in _POINT_TAGS:
            self.builder.end(tag)
            self.open.pop()

    def refuse(self, *_: object) -> None:
        raise ValueError("it declares a document type, whose entities could be hostile: take out the line <!DOCTYPE …>")


def _parse(path: Path, content: bytes) -> tuple[Element, dict[Element, "array[float]"], bool]:
    handlers = _Handlers()
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = handlers.start, handlers.end
    parser.StartDoctypeDeclHandler = handlers.refuse
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # also an encoding that Python does not know
        raise InputError(f"{path} is no valid XML of annotations: {error}", remedy="export it again") from None
    handlers.builder.end("file")
    return next(iter(handlers.builder.close()), Element("a point")), handlers.points, handlers.is_halo


def _number(text: str | None) -> float:
    """A number with a decimal point or comma; NaN for what is none."""
    try:
        return float((text or "nan").replace(",", "."))
    except ValueError:
        return float("nan")


class _Reader:
    def __init__(self, path: Path, points: dict[Element, "array[float]"]) -> None:
        self._path, self._points = path, points

    def layer(self, layer: Element) -> list[Shape]:
        """The regions of a layer of ImageScope or HALO, without its negative ones."""
        name = layer.get("Name") or layer.get("Id") or "without a name"
        inside: list[Shape] = []
        holes: list[Shape] = []
        for number, region in enumerate(layer.iter("Region"), start=1):
            where = f"region {region.get('Id') or number} of layer {name}"
            kind = region.get("GeoShape") or region.get("Type") or ""
            drawn = Shape(geometry=self._geometry(where, kind, region), class_name=_class(layer, region))
            negative = region.get("NegativeROA", "").strip().lower() in ("1", "true")
            (holes if negative and isinstance(drawn.geometry, Polygon) else inside).append(drawn)
        areas = [shape for shape in inside if isinstance(shape.geometry, Polygon)]
        others = [shape for shape in inside if not isinstance(shape.geometry, Polygon)]
        if not areas:
            return others + [
                Shape(geometry=hole.geometry, class_name=hole.class_name, taken_away=True) for hole in holes
            ]
        cut = _cut(self._path, [shape.geometry for shape in areas], [hole.geometry for hole in holes])
        return others + [
            Shape(geometry=polygon, class_name=shape.class_name) for polygon, shape in zip(cut, areas, strict=True)
        ]

    def asap(self, root: Element) -> list[Shape]:
        """The annotations of ASAP, by their groups; a group in one that is taken away is, too."""
        above = {group.get("Name", ""): _group(group) for group in root.iter("Group")}
        annotations = list(root.iter("Annotation"))
        groups = {_group(a).casefold() for a in annotations if not takes_away(_group(a))}
        normal = "_2" if groups <= _CAMELYON16 else "normal" if "metastases" in groups else None
        shapes = []
        for number, annotation in enumerate(annotations, start=1):
            where = f"annotation {number} of {len(annotations)} ({annotation.get('Name', '')})"
            chain = [_group(annotation)]
            while above.get(chain[-1], "") not in ("", *chain):
                chain.append(above[chain[-1]])
                if len(chain) > _DEEPEST_GROUP:
                    raise InputError(
                        f"{self._path}: {where} lies more than {_DEEPEST_GROUP} groups deep", remedy="export it again"
                    )
            shapes.append(
                Shape(
                    geometry=self._geometry(where, annotation.get("Type", ""), annotation),
                    class_name=next(filter(takes_away, chain), chain[0]),
                    name=annotation.get("Name", ""),
                    taken_away=chain[0].casefold() == normal,
                )
            )
        return shapes

    def _geometry(self, where: str, kind: str, holder: Element) -> shapely.Geometry:
        corners, kind = self._corners(where, holder), kind.strip().lower()
        if not len(corners):
            return Polygon()
        low, high = corners.min(axis=0), corners.max(axis=0)
        if kind in _ELLIPSES and len(corners) in (2, 4):  # the corners of its box, or its outermost points
            circle = np.column_stack([np.cos(_ELLIPSE), np.sin(_ELLIPSE)])
            return Polygon((low + high) / 2 + circle * (high - low) / 2)
        if kind in ("1", "rectangle") and len(corners) == 2:
            return shapely.box(*low, *high)
        if len(corners) >= 3 and kind in (*_OUTLINES, *_ELLIPSES):
            return Polygon(corners)
        return MultiPoint(corners)

    def _corners(self, where: str, holder: Element) -> Corners:
        """The points in the order that they state, else as they stand."""
        numbers = [self._points[element] for element in holder.iter() if element in self._points]
        points = np.concatenate([np.empty((0, 3)), *(np.reshape(part, (-1, 3)) for part in numbers)])
        order, corners = points[:, 0], points[:, 1:]
        if len(wrong := np.flatnonzero(~(np.abs(corners) < FARTHEST_PX).all(axis=1))):  # also NaN
            raise InputError(
                f"{self._path}: {where}: point {wrong[0] + 1} has no X and Y that are pixels of a slide",
                remedy="export it again",
            )
        return corners if np.isnan(order).any() else corners[np.argsort(order, kind="stable")]


def _group(element: Element) -> str:
    name = element.get("PartOfGroup", "")
    return "" if name == "None" else name


def _class(layer: Element, region: Element) -> str:
    """The layer's name, what scripts and ImageScope write instead of one, or the region's text or colour."""
    attributes = layer.findall("Attributes/Attribute")
    stated = [attribute.get("Value") or attribute.get("Name") or "" for attribute in attributes]
    names = [layer.get("Name", ""), *(name for name in stated if name != "Description"), region.get("Text", "")]
    colour = layer.get("LineColor")
    names = [*filter(None, names), f"LineColor {colour}" if colour else ""]
    return next(filter(takes_away, names), names[0])


def _cut(path: Path, areas: Sequence[Polygon], holes: Sequence[Polygon]) -> list[Polygon]:
    """Each area with the holes that it has a part in; not with those that it lies in, as an island in a larger area."""
    check_outlines(path, [*areas, *holes])
    valid, valid_holes = (shapely.make_valid(np.asarray(p, object), method="structure") for p in (areas, holes))
    hole, area = overlapping(path, valid_holes, valid)
    inside = shapely.covers(valid_holes[hole], valid[area])
    used = np.zeros(len(holes), np.bool_)
    used[hole[~inside]] = True
    kept = ~inside | ~used[hole]  # a hole that is in nothing else takes away what lies in it
    rings: dict[int, list[shapely.LinearRing]] = {}
    for h, a in zip(hole[kept].tolist(), area[kept].tolist(), strict=True):
        rings.setdefault(a, []).append(holes[h].exterior)
    return [Polygon(polygon.exterior, rings.get(number)) for number, polygon in enumerate(areas)]
