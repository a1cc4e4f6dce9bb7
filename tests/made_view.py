"""A made-up view of a slide for tests of its picture."""

from typing import Any

import cv2
import numpy as np

from sammil_cli.report.heading import Heading
from sammil_cli.report.slide_view import SlideView


def decode(png: bytes) -> np.ndarray:
    """A PNG as (h, w, 3), red first."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image[..., ::-1]


def make_heading(**changes: Any) -> Heading:
    values = {
        "slide_id": "slide_1",
        "truth": "tumour",
        "called": "tumour",
        "shown": "tumour",
        "probability": 0.9,
        "threshold": 0.4,
        "texts": ("0.900", "0.400"),
        "judged_by": "sam-mil, fold 0.1",
        "encoder": "texture",
        "seen": "out of fold: not seen in training",
    }
    return Heading(**{**values, **changes})


def make_view(**changes: Any) -> SlideView:
    """A slide wider than high, with three patches at its top left."""
    image = np.full((60, 110, 3), 240, np.uint8)
    image[5:30, 10:80] = (200, 120, 160)
    values = {
        "heading": make_heading(),
        "image": image,
        "regions": image[:, ::-1].copy(),
        "um_per_px": 20.0,
        "xy": np.array([[10.0, 5.0], [20.0, 5.0], [10.0, 15.0]]),
        "side": 10.0,
        "attention": np.array([0.7, 0.1, 0.2]),
        "evidence": np.array([0.9, 0.4, 0.5]),
        "shown": "tumour",
        "classes": 2,
        "threshold": 0.45,
        "outlines": [],
        "top": [],
        "details": [],
        "patch_um": 128.0,
    }
    return SlideView(**{**values, **changes})
