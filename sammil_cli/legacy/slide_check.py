"""Old coordinates held against the slide: do patches lie in it, show what they showed, and show tissue."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.legacy.patch_file import read_images
from sammil_cli.legacy.rows import Floats
from sammil_cli.slides.pixels import RGB
from sammil_cli.slides.slide import Slide

_GLASS = 220  # a pixel as bright as this in its darkest channel is bare glass
_BLANK_SHARE = 0.95  # of a blank patch's pixels are glass
_SAME = 12.0  # grey levels of mean difference that other decoders and resizing explain

Encode = Callable[[list[RGB]], NDArray[np.float32]]


def check_size(slide: Slide, xy: NDArray[np.int32], slide_size_px: tuple[int, int] | None, place: str) -> None:
    """Refuses patches that begin outside of the slide. Such that reach over its edge are usual: CLAM pads.

    Raises:
        SlideError: `E_LEGACY_MISMATCH`.
    """
    if slide_size_px not in (None, slide.size_px):
        raise _other_slide(f"{place} is of a slide of {slide_size_px} px, {slide.path.name} has {slide.size_px}")
    outside = ((xy < 0) | (xy >= np.array(slide.size_px))).any(axis=1)
    if outside.any():
        raise _other_slide(
            f"{outside.sum()} of {len(xy)} patches begin outside of {slide.path.name}, which has {slide.size_px} px; "
            f"the first at {tuple(xy[np.flatnonzero(outside)[0]].tolist())}"
        )


def spread(count: int, chosen: int) -> NDArray[np.int64]:
    """Positions of `chosen` patches of `count`, evenly spread, rising."""
    return np.unique(np.linspace(0, count - 1, min(chosen, count)).round().astype(np.int64))


def read_patches(slide: Slide, xy: NDArray[np.int32], level0_px: int, patch_px: int) -> list[RGB]:
    """Patches as the old run read them: `level0_px` level-0 pixels wide, as images of `patch_px`.

    Where those are more, the pixels that there are are enlarged, as older tools did.
    """
    side = (min(level0_px, patch_px),) * 2
    images = [slide.read_at((int(x), int(y)), (level0_px, level0_px), side) for x, y in xy]
    if side[0] == patch_px:
        return images
    return [np.asarray(cv2.resize(image, (patch_px, patch_px)), np.uint8) for image in images]


def check_glass(images: list[RGB]) -> str:
    """Says how many re-read patches are bare glass.

    Raises:
        SlideError: `E_LEGACY_MISMATCH`, all are.
    """
    blank = sum(bool((image.min(axis=2) >= _GLASS).mean() >= _BLANK_SHARE) for image in images)
    if blank == len(images):
        raise _other_slide(
            f"all of {len(images)} patches re-read from the slide are bare glass: the coordinates are of another "
            "slide or of another level"
        )
    return f"{len(images)} patches re-read from the slide, {blank} of them bare glass"


def check_images(path: Path, images: list[RGB], chosen: NDArray[np.int64]) -> str:
    """Compares re-read patches with the images that an old CLAM file holds, pixel by pixel.

    Raises:
        SlideError: `E_LEGACY_MISMATCH`, they show something else · `E_LEGACY_DAMAGED`.
    """
    stored = read_images(path, chosen)
    difference = [float(np.abs(a.astype(np.int16) - b).mean()) for a, b in zip(stored, images, strict=True)]
    worst = int(np.argmax(difference))
    if difference[worst] > _SAME:
        raise _other_slide(
            f"the stored image of patch {chosen[worst]} differs from the slide by {difference[worst]:.0f} grey levels "
            "on average"
        )
    return f"{len(images)} stored images are what the slide shows (largest mean difference {difference[worst]:.2f})"


def check_features(stored: Floats, images: list[RGB], encode: Encode, name: str) -> str:
    """Encodes re-read patches anew and says how much they resemble the stored features (k, d); it decides nothing."""
    anew = encode(images)
    if anew.shape != stored.shape:
        return f"encoder {name} gives {anew.shape[1]}-d features, the stored ones have {stored.shape[1]}: not compared"
    old = stored.astype(np.float32)
    norms = np.linalg.norm(anew, axis=1) * np.linalg.norm(old, axis=1)
    cosine = (anew * old).sum(axis=1) / np.maximum(norms, 1e-12)
    verdict = "the same encoder" if cosine.min() > 0.99 else "alike" if cosine.min() > 0.9 else "another encoder"
    return f"{len(images)} patches encoded anew by {name}: cosine {cosine.min():.4f} to {cosine.max():.4f} ({verdict})"


def _other_slide(message: str) -> SlideError:
    remedy = "bring the slide and the files of one run together; convert without this check: --no-slides"
    return SlideError("E_LEGACY_MISMATCH", message, remedy=remedy)
