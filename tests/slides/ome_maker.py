"""Drawn OME-TIFFs: any images, planes and metadata, also such as no good writer makes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

HEAD = '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"{}>{}'
RGB = NDArray[np.uint8]


def ome(*images: str, before: str = "", root: str = "") -> str:
    """OME-XML of images as `image` gives them."""
    return HEAD.format(root, before) + "".join(images) + "</OME>"


def image(
    size: tuple[int, int],
    data: str = "",
    *,
    name: str = "",
    mpp: object = None,
    unit: str = "µm",
    inside: str = "",
    **pixels: object,
) -> str:
    """An Image element of RGB planes; `data`: its TiffData; `inside`: elements before Pixels."""
    facts = {"DimensionOrder": "XYCZT", "Type": "uint8", "SizeX": size[0], "SizeY": size[1], "SizeC": 3}
    facts |= {"SizeZ": 1, "SizeT": 1}
    if mpp is not None:
        facts |= {"PhysicalSizeX": mpp, "PhysicalSizeY": mpp, "PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    attributes = " ".join(f'{key}="{value}"' for key, value in (facts | pixels).items())
    samples = 3 if (facts | pixels)["SizeC"] == 3 else 1
    channel = f'<Channel ID="Channel:0" SamplesPerPixel="{samples}"/>'
    return f'<Image ID="Image:0" Name="{name}">{inside}<Pixels {attributes}>{channel}{data}</Pixels></Image>'


def noise(width: int, height: int, seed: int) -> RGB:
    """A picture that is like no other."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def half(rgb: RGB) -> RGB:
    """The next level."""
    size = (rgb.shape[1] // 2, rgb.shape[0] // 2)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def write(path: Path, description: str | None, pages: Sequence[tuple[RGB, int]], **options: Any) -> Path:
    """Pages, each with its levels inside of it."""
    with tifffile.TiffWriter(path) as tiff:
        for number, (page, levels) in enumerate(pages):
            text = description.encode() if number == 0 and description is not None else None
            more: dict[str, Any] = {
                "photometric": "rgb" if page.ndim == 3 else "minisblack",
                "tile": (64, 64),
            } | options
            tiff.write(page, metadata=None, description=text, subifds=levels or None, **more)
            for _ in range(levels):
                page = half(page)
                tiff.write(page, metadata=None, subfiletype=1, **more)
    return path
