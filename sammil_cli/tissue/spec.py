"""How tissue is looked for: the settings of the step as plain values, and settings that are known by a name."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, kw_only=True)
class TissueSpec:
    """How tissue is found. Lengths in µm and areas in µm², so that they mean the same on every slide."""

    segmenter: str
    mpp: float  # resolution of the thumbnail that is segmented
    threshold: int  # saturation, 0-255
    od_threshold: float  # optical density
    without_pen: bool
    without_borders: bool
    median_um: float
    close_um: float
    min_area_um2: float
    min_hole_um2: float
    max_holes: int


# CLAM's presets (docs/methods.md §10.1) give pixels at 1/64 of a 40x slide and multiples of a patch of 512² px:
# converted at 0.243 µm per pixel for the biopsies (CAMELYON16) and 0.25 for the others. faint and ihc are our own.
PRESETS: MappingProxyType[str, dict[str, Any]] = MappingProxyType(
    {
        "bwh-biopsy": {
            "segmenter": "saturation",
            "mpp": 15.6,
            "threshold": 15,
            "median_um": 171.0,
            "close_um": 31.0,
            "min_area_um2": 15_480.0,
            "min_hole_um2": 15_480.0,
            "max_holes": 2,
        },
        "bwh-resection": {
            "segmenter": "saturation",
            "mpp": 16.0,
            "threshold": 15,
            "median_um": 176.0,
            "close_um": 64.0,
            "min_area_um2": 1_638_400.0,
            "min_hole_um2": 262_144.0,
            "max_holes": 8,
        },
        "tcga": {
            "segmenter": "saturation",
            "mpp": 16.0,
            "threshold": 8,
            "median_um": 112.0,
            "close_um": 64.0,
            "min_area_um2": 262_144.0,
            "min_hole_um2": 65_536.0,
            "max_holes": 8,
        },
        "faint": {"segmenter": "od", "od_threshold": 0.025, "median_um": 60.0, "min_area_um2": 100_000.0},
        "ihc": {"segmenter": "od", "od_threshold": 0.04, "median_um": 40.0, "min_area_um2": 100_000.0},
    }
)


def setting_key(field: str) -> str:
    """The key of params.yaml that a field of `TissueSpec` comes from."""
    return field if field == "segmenter" else f"tissue_{field}"


def second_method(segmenter: str) -> str:
    """The segmenter that a mask is compared with."""
    return "od" if segmenter == "otsu" else "otsu"
