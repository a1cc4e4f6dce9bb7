"""Which picture of a TIFF is the slide, where it holds several: scenes, planes of a stack, pages of the same size."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import tifffile

from sammil_cli.errors import SlideError
from sammil_cli.slides.ome import OmeImage, read_ome
from sammil_cli.slides.resolution import Mpp
from sammil_cli.slides.tiff_pages import is_named

_COARSER = 4.0  # a picture that is so much coarser than the slide is an overview of it
_SMALLER = 0.1  # of the slide's area: where the resolution is not known, smaller ones are labels and overviews
_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A picture that may be the slide.

    `number` is what data/slides.csv calls it. `loose`: pages that may be its levels, besides those inside of its own
    page. `described`: metadata says that it is an image of its own, and of how many `channels` it is one. `first`:
    chosen before others; `aside`: one of the glass or its label. `mpp` and `objective` as OME-XML says; `doubt`: why it
    does not; `stale`: all that the file says is of another picture.
    """

    number: int
    page: tifffile.TiffPage
    name: str = ""
    mpp: Mpp | None = None
    doubt: str = ""
    stale: bool = False
    objective: float | None = None
    described: bool = False
    channels: int = 1
    first: bool = True
    aside: bool = False
    loose: Sequence[tifffile.TiffPage] = field(default=(), repr=False)
    remarks: tuple[str, ...] = ()

    @property
    def area_px(self) -> int:
        """Pixels of the page."""
        return int(self.page.imagewidth * self.page.imagelength)

    def __str__(self) -> str:
        """For a remark: `2 (2600 x 2000 px, scan, z 1 of 3)`."""
        parts = (f"{self.page.imagewidth} x {self.page.imagelength} px", self.name[:60])
        return f"{self.number} ({', '.join(filter(None, parts))})"


def find_scenes(tiff: tifffile.TiffFile, pages: Sequence[tifffile.TiffPage], scan: tifffile.TiffPage) -> list[Scene]:
    """The pictures of a TIFF; `pages` are those that are not inside of others, `scan` the one that looks like a slide.

    In an OME-TIFF they are the planes of its images, in the order of its metadata; in others every page is one, and
    the scan the first to be chosen.
    """
    note = ""
    if tiff.ome_metadata:
        try:
            return _of_ome(read_ome(tiff.ome_metadata, tiff.filename, len(pages)), pages)
        except ValueError as error:
            note = f"the OME metadata cannot be used: {error}"
    remarks = [f"ome: {note}"] if note else []
    images = (tiff.imagej_metadata or {}).get("images", 1)
    if isinstance(images, int) and images > len(pages):  # ImageJ writes large stacks so: one page, then bare pixels
        remarks.append(
            f"scenes: only {len(pages)} of {images} pictures of ImageJ's stack can be read; save them one by one"
        )
    size = (scan.imagewidth, scan.imagelength)
    alone = sum((page.imagewidth, page.imagelength) == size for page in pages) == 1
    return [
        Scene(
            number=number,
            page=page,
            doubt=note,
            # Of several that are as large, nobody knows whose levels the smaller ones are.
            loose=pages if alone and page is scan else (),
            first=page is scan,
            aside=is_named(page),
            remarks=tuple(remarks),
        )
        for number, page in enumerate(pages, start=1)
    ]


def _of_ome(images: Sequence[OmeImage], pages: Sequence[tifffile.TiffPage]) -> list[Scene]:
    claimed = {plane.page for image in images for plane in image.planes}
    # Pages of no image may be levels where there is one slide only; else nobody knows whose.
    single = sum(len(image.planes) for image in images if not image.aside) == 1
    loose = [page for number, page in enumerate(pages) if number not in claimed] if single else []
    scenes: list[Scene] = []
    for image in images:
        elsewhere = f"ome: planes of this image lie in other files ({', '.join(image.elsewhere[:3])})"
        for plane in image.planes:
            page = pages[plane.page]
            size_px, mpp, doubt = (page.imagewidth, page.imagelength), image.mpp, image.doubt
            stale = size_px != image.size_px  # the picture was shrunk or cut, and its metadata copied
            if stale:
                said, found = (f"{width} x {height}" for width, height in (image.size_px, size_px))
                mpp, doubt = None, f"the OME metadata is of a picture of {said} px, this one has {found}"
            scenes.append(
                Scene(
                    number=len(scenes) + 1,
                    page=page,
                    name=", ".join(filter(None, (image.name, plane.place))),
                    mpp=mpp,
                    doubt=doubt,
                    stale=stale,
                    objective=image.objective,
                    described=True,
                    channels=image.channels,
                    aside=image.aside,
                    loose=loose,
                    remarks=(elsewhere,) if image.elsewhere else (),
                )
            )
    return scenes


def largest(scenes: Sequence[Scene]) -> Scene:
    """The scene that is the slide where the user says nothing: no picture of the glass, the first of those alike."""
    return max(scenes, key=lambda scene: (not scene.aside, scene.first, scene.area_px))


def choose(number: int, scenes: Sequence[Scene], usual: Scene, others: Sequence[Scene]) -> Scene:
    """The scene of that number.

    Args:
        scenes: all of them, `usual` the largest and `others` those that may be wanted as well. Where no metadata says
            what they are, only these are given: a thumbnail would come with the resolution of the slide.

    Raises:
        SlideError: `E_SCENE`, no scene has that number.
    """
    offered = scenes if usual.described else [usual, *others]
    for scene in offered:
        if scene.number == number:
            return scene
    raise no_scene(number, offered)


def no_scene(number: int, scenes: Sequence[Scene] = ()) -> SlideError:
    """The error of a scene that a file does not have."""
    has = f"the file has {_listed(scenes)}" if len(scenes) > 1 else "only one of this file can be read"
    return SlideError(
        "E_SCENE",
        f"data/slides.csv asks for scene {number}, {has}",
        remedy="correct the column scene of data/slides.csv, or leave the cell empty",
    )


def check_channels(scene: Scene) -> None:
    """Refuses a grey picture that is one of several channels, be the others in other files.

    Raises:
        SlideError: `E_FORMAT`.
    """
    if scene.channels > 1 and scene.page.samplesperpixel == 1:
        raise SlideError(
            "E_FORMAT",
            f"not a brightfield RGB slide: it has {scene.channels} grey channels, as of fluorescence",
            remedy="take it out of the slide folder; if it is brightfield, export it as 8-bit RGB",
        )


def left_out(scenes: Sequence[Scene], chosen: Scene, levels: Sequence[tifffile.TiffPage]) -> list[Scene]:
    """The scenes besides the chosen one that may be wanted as well: no levels, labels or overviews of it."""
    used = {page.offset for page in (chosen.page, *levels)}
    return [other for other in scenes if other.page.offset not in used and _counts(other, chosen)]


def _counts(other: Scene, chosen: Scene) -> bool:
    if other.aside and not chosen.aside:
        return False
    if other.mpp is not None and chosen.mpp is not None:
        return sum(other.mpp) < _COARSER * sum(chosen.mpp)
    page, main = other.page, chosen.page
    size, whole = (page.imagewidth, page.imagelength), (main.imagewidth, main.imagelength)
    copy = size != whole and abs(size[0] * whole[1] - size[1] * whole[0]) <= sum(whole)
    alike = page.is_tiled == main.is_tiled and page.samplesperpixel == main.samplesperpixel and not page.subfiletype
    return (other.described or (alike and not copy)) and other.area_px >= _SMALLER * chosen.area_px


def remark(chosen: Scene, others: Sequence[Scene]) -> str:
    """What is said of scenes that were left out."""
    return (
        f"scenes: taken is {chosen}, left out: {_listed(others)}; "
        "the column scene of data/slides.csv chooses another one by its number"
    )


def _listed(scenes: Sequence[Scene]) -> str:
    more = f" and {len(scenes) - _LISTED} more" if len(scenes) > _LISTED else ""
    return ", ".join(map(str, scenes[:_LISTED])) + more
