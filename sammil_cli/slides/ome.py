"""OME-XML, the metadata of an OME-TIFF: its images, the pages that each of them lies in, their resolution and lens."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from sammil_cli.slides.resolution import Mpp, magnification, micrometres

_AXES = "ZCT"
_ASIDE = ("label", "macro", "overview", "thumbnail", "barcode")  # in the names of pictures of the glass


@dataclass(frozen=True, kw_only=True)
class OmePlane:
    """A plane of an image: the page of this file that it lies in, from 0, and its place in the stack, "z 2 of 5"."""

    page: int
    place: str


@dataclass(frozen=True, kw_only=True)
class OmeImage:
    """An image of the file. `doubt`: why `mpp` is None; `elsewhere`: the files of planes that lie in other ones."""

    name: str
    size_px: tuple[int, int]
    channels: int  # each in planes of its own; 1 for RGB
    mpp: Mpp | None
    doubt: str
    objective: float | None
    planes: tuple[OmePlane, ...]
    elsewhere: tuple[str, ...]

    @property
    def aside(self) -> bool:
        """Whether it is a picture of the glass or its label, by its name."""
        return any(word in self.name.lower() for word in _ASIDE)


class _WithoutDoctype(ElementTree.TreeBuilder):
    """OME-XML has no document type; that of a hostile file would define entities that fill the memory."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("it declares a document type, as no OME-XML does")


def read_ome(text: str, file_name: str, pages: int) -> list[OmeImage]:
    """The images that lie in a file, wholly or in part.

    Args:
        text: the OME-XML.
        file_name: the file's own name.
        pages: how many pages it has, those inside of others not counted.

    Raises:
        ValueError: it is no OME-XML, or describes other files only.
    """
    root = parse_xml(text)
    if not root.tag.endswith("OME"):
        raise ValueError("it is no OME-XML")
    binary_only = root.find("{*}BinaryOnly")
    if binary_only is not None:
        raise ValueError(f"it lies in {binary_only.get('MetadataFile') or 'another file'}")
    is_own, images, elsewhere, free = _own_file(root, file_name), [], set[str](), 0
    for image in root.iterfind("{*}Image"):
        pixels = image.find("{*}Pixels")
        if pixels is None:
            continue
        planes, others = _planes(pixels, is_own, pages, free)
        free = max([free, *(plane.page + 1 for plane in planes)])
        elsewhere.update(others)
        if planes:
            mpp, doubt = _mpp(pixels)
            images.append(
                OmeImage(
                    name=image.get("Name", ""),
                    size_px=(_whole(pixels, "SizeX"), _whole(pixels, "SizeY")),
                    channels=_sizes(pixels)["C"],
                    mpp=mpp,
                    doubt=doubt,
                    objective=_objective(root, image),
                    planes=tuple(planes),
                    elsewhere=tuple(sorted(others)),
                )
            )
    if not images:
        raise ValueError(f"it describes other files: {_few(elsewhere)}" if elsewhere else "it describes no image")
    return images


def parse_xml(text: str) -> ElementTree.Element:
    """The outermost element of XML without a document type.

    Raises:
        ValueError: it has one, or is no XML.
    """
    parser = ElementTree.XMLParser(target=_WithoutDoctype())  # noqa: S314 - a document type is refused
    try:
        parser.feed(text)
        root = parser.close()
    except ElementTree.ParseError as error:
        raise ValueError(f"it is no XML: {error}") from error
    if not isinstance(root, ElementTree.Element):
        raise ValueError("it is no XML: nothing is in it")
    return root


def _whole(element: ElementTree.Element, name: str, default: int = 1) -> int:
    text = element.get(name, str(default))
    if not re.fullmatch(r"\s*\+?[0-9]{1,18}\s*", text):
        raise ValueError(f"its {name} is {text[:20]!r}")
    return int(text)


def _sizes(pixels: ElementTree.Element) -> dict[str, int]:
    """How many planes there are along each axis; a channel of several samples, such as RGB, is in one plane."""
    samples = max((_whole(channel, "SamplesPerPixel") for channel in pixels.iterfind("{*}Channel")), default=1)
    sizes = {axis: max(1, _whole(pixels, f"Size{axis}")) for axis in _AXES}
    return {**sizes, "C": max(1, sizes["C"] // max(1, samples))}


def _planes(
    pixels: ElementTree.Element, is_own: Callable[[ElementTree.Element], bool], pages: int, free: int
) -> tuple[list[OmePlane], set[str]]:
    """The planes in this file, and the names of other files with planes of the image; `free`: the next free page."""
    sizes = _sizes(pixels)
    order = [axis for axis in pixels.get("DimensionOrder", "XYCZT") if axis in _AXES]
    count = math.prod(sizes.values())
    blocks = pixels.findall("{*}TiffData")
    found, elsewhere = dict[int, OmePlane](), set[str]()
    if not blocks and pixels.find("{*}MetadataOnly") is None:  # images then follow each other
        return [_plane(index, free + index, order, sizes) for index in range(min(count, max(0, pages - free)))], set()
    for block in blocks:
        uuid = block.find("{*}UUID")
        if uuid is not None and not is_own(uuid):
            elsewhere.add(uuid.get("FileName", "a file without a name"))
            continue
        page = _whole(block, "IFD", 0)
        stated = "PlaneCount" if "PlaneCount" in block.attrib else "NumPlanes"  # as it was called once
        planes = _whole(block, stated, 1 if "IFD" in block.attrib else count)
        first, step = 0, 1
        for axis in order:
            first += step * _whole(block, f"First{axis}", 0)
            step *= sizes[axis]
        for index in range(min(planes, count - first, pages - page)):
            found[first + index] = _plane(first + index, page + index, order, sizes)
    return [found[index] for index in sorted(found)], elsewhere


def _plane(index: int, page: int, order: list[str], sizes: dict[str, int]) -> OmePlane:
    places, words = dict[str, str](), {"Z": "z", "C": "channel", "T": "time"}
    for axis in order:
        index, place = divmod(index, sizes[axis])
        if sizes[axis] > 1:
            places[axis] = f"{words[axis]} {place + 1} of {sizes[axis]}"
    return OmePlane(page=page, place=", ".join(places[axis] for axis in _AXES if axis in places))


def _own_file(root: ElementTree.Element, file_name: str) -> Callable[[ElementTree.Element], bool]:
    """Tells of a block's UUID whether its file is this one: by the UUID, which a renamed file keeps; else by name."""
    own, names = root.get("UUID"), {uuid.get("FileName", "").lower() for uuid in root.iterfind(".//{*}UUID")}

    def is_own(uuid: ElementTree.Element) -> bool:
        if own and uuid.text:
            return uuid.text.strip().lower() == own.strip().lower()
        return len(names) == 1 or uuid.get("FileName", "").lower() == file_name.lower()

    return is_own


def _mpp(pixels: ElementTree.Element) -> tuple[Mpp | None, str]:
    """µm per pixel, or why it is not known."""
    values = []
    for name in ("PhysicalSizeX", "PhysicalSizeY"):
        text, unit = pixels.get(name), pixels.get(f"{name}Unit") or "µm"
        value = micrometres(text, unit) if text else None
        if text and value is None:
            return None, f"OME {name} is {text[:20]!r} {unit[:20]}, no length"
        values.append(value)
    if values[0] is None or values[1] is None:
        return None, "" if values == [None, None] else "OME gives the size of a pixel in one direction only"
    return (values[0], values[1]), ""


def _objective(root: ElementTree.Element, image: ElementTree.Element) -> float | None:
    """The power of the lens that the image names, or of the only one."""
    lenses = _lenses(root)
    for reference in ("{*}ObjectiveSettings", "{*}ObjectiveRef"):
        named = image.find(reference)
        if named is not None:
            lenses = [lens for lens in lenses if lens.get("ID") == named.get("ID")]
    instrument = image.find("{*}InstrumentRef")
    if len(lenses) > 1 and instrument is not None:
        lenses = _lenses(root, instrument.get("ID"))
    if len(lenses) != 1:
        return None
    powers = (magnification(lenses[0].get(name, "")) for name in ("NominalMagnification", "CalibratedMagnification"))
    return next((power for power in powers if power), None)


def _lenses(root: ElementTree.Element, instrument: str | None = None) -> list[ElementTree.Element]:
    found: Iterator[ElementTree.Element] = root.iterfind("{*}Instrument")
    return [lens for one in found if instrument in (None, one.get("ID")) for lens in one.iterfind("{*}Objective")]


def _few(names: set[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
