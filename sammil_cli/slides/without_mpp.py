"""Slides that are opened although nobody knows their resolution: to compare pixels, or for their size alone."""

from dataclasses import replace

from sammil_cli.errors import SlideError
from sammil_cli.slides.files import open_slide
from sammil_cli.slides.slide import Slide
from sammil_cli.storage.paths import SlidePath

_ANY_MPP = 1.0  # pixels are read by their number, so this changes nothing
_UNKNOWN = "not known"


def open_or_none(path: SlidePath | None, mpp: float | None, scene: int | None) -> tuple[Slide | None, list[str]]:
    """The slide where it is there; one that does not say its resolution is opened all the same, to compare pixels."""
    if path is None:
        return None, []
    try:
        return open_slide(path, mpp, scene), []
    except SlideError as error:
        if error.code != "E_MPP":
            raise
    slide = open_slide(path, _ANY_MPP, scene)
    remark = "the slide does not say its resolution: areas in µm² and the patches' resolution are unknown"
    return replace(slide, mpp_source=_UNKNOWN), [remark]


def known_mpp(slide: Slide | None, given: float | None) -> float | None:
    """µm per level-0 pixel: the slide's, else the one that was given."""
    return given if slide is None or slide.mpp_source == _UNKNOWN else slide.mpp
