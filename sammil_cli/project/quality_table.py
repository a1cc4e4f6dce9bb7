"""The quality of a whole cohort's regions or bags: one row per slide in a table, and what stands out in words."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli import console
from sammil_cli.errors import InputError
from sammil_cli.storage.files import write_csv
from sammil_cli.storage.summed import read_of_slide

# The numbers of a stage's JSON files that are shown, and how they read in a table; the CSV has all of them.
_SHOWN = {
    "regions": "regions",
    "coverage": "share of the tissue in any region",
    "largest_share": "share of the tissue in the largest one",
    "overlap": "regions on a covered pixel",
    "area_um2_q05": "area of a small region (5 %), µm²",
    "area_um2_q50": "area of the median region, µm²",
    "area_um2_q95": "area of a large region (95 %), µm²",
    "predicted_iou": "predicted IoU",
    "stability": "stability",
    "patches": "patches",
    "no_region": "share of the patches in no region",
    "regions_per_patch": "regions of a patch that has any",
    "regions_without_patch": "regions without a patch",
    "regions_below_patch": "share of the regions smaller than a patch",
    "group_features": "group features",
    "contrast": "contrast between regions",
    "contrast_of_squares": "the same, of as many squares",
}
# Where a slide may stand out of its cohort, and the least difference that counts: of counts the share of the median.
_OUTLYING = {"coverage": 0.02, "no_region": 0.02, "regions": 0.1, "contrast": 0.02}
_COUNTS = ("regions",)
_ROBUST_SDS = 3.0
_FEWEST = 8  # slides, or nothing stands out of them
_MOST_NAMED = 3


def report(stage: str, folder: Path, process_lists: Path) -> None:
    """Gathers `folder`/*.json into `process_lists`/<stage>_quality.csv and prints what a person should know of them.

    Without such files there is no table: an older one is removed.
    """
    path = process_lists / f"{stage}_quality.csv"
    records = _read(stage, folder)
    if not records:
        path.unlink(missing_ok=True)
        return
    names = list(dict.fromkeys(name for record in records.values() for name in record if name != "flags"))
    rows = [(slide, *(_cell(of.get(name)) for name in names), _words(of)) for slide, of in records.items()]
    write_csv(path, ("slide_id", *names, "flags"), rows)
    columns = {name: _numbers(records, name) for name in names}
    console.print_table(
        f"{stage}: quality of {len(records)} slide(s)",
        ("number", "median", "5-95 % of slides"),
        [(_SHOWN[name], *_spread(columns[name])) for name in _SHOWN if name in columns],
    )
    for line in [*_squares(columns), *_flagged(records), *_standing_out(list(records), columns)]:
        console.say(f"    {line}")
    console.say(f"    each slide: {path}")


def _read(stage: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Slide id -> record; files that are no such record, or damaged, are left out."""
    records = {}
    for path in sorted(folder.glob("*.json")):
        try:
            record = read_of_slide(path, f"run: sammil {stage}")
        except InputError as error:
            console.say(f"left out of the table: {error.message} (fix: {error.remedy})")
            continue
        if not isinstance(record.get("flags"), list):
            continue
        values = {name: value for name, value in record.items() if name != "flags" and value is not None}
        if wrong := [name for name, value in values.items() if not _is_number(value)]:
            console.say(f"left out of the table: {path} has no number for {wrong[0]} (fix: run: sammil {stage})")
            continue
        records[path.stem] = record
    return records


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _words(record: Mapping[str, Any]) -> str:
    return ";".join(str(flag).partition(":")[0] for flag in record["flags"])


def _cell(value: Any) -> str:
    """A number to four digits after the point at most; None is an empty cell."""
    if value is None:
        return ""
    return f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _numbers(records: Mapping[str, Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    """A number of each slide, NaN where it has none."""
    return np.array([np.nan if (value := of.get(name)) is None else value for of in records.values()], np.float64)


def _spread(values: NDArray[np.float64]) -> tuple[str, str]:
    known = values[~np.isnan(values)]
    if not len(known):
        return "-", "-"
    low, middle, high = np.quantile(known, (0.05, 0.5, 0.95))
    return console.short_number(middle), f"{console.short_number(low)} - {console.short_number(high)}"


def _squares(columns: Mapping[str, NDArray[np.float64]]) -> list[str]:
    regions, squares = columns.get("contrast"), columns.get("contrast_of_squares")
    if regions is None or squares is None or not (known := ~np.isnan(regions) & ~np.isnan(squares)).any():
        return []
    better = np.count_nonzero(regions[known] > squares[known])
    return [f"regions follow the picture better than as many squares on {better} of {np.count_nonzero(known)} slide(s)"]


def _flagged(records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line per flag: how many slides carry it, and which."""
    carriers: dict[str, list[str]] = {}
    for slide, record in records.items():
        for word in _words(record).split(";"):
            carriers.setdefault(word, []).append(slide)
    carriers.pop("", None)
    ordered = sorted(carriers.items(), key=lambda item: (-len(item[1]), item[0]))
    return [f"{word}: {len(slides)} of {len(records)} slide(s) ({_named(slides)})" for word, slides in ordered]


def _named(slides: list[str]) -> str:
    more = len(slides) - _MOST_NAMED
    return ", ".join(slides[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _standing_out(slides: list[str], columns: Mapping[str, NDArray[np.float64]]) -> list[str]:
    """A line per number with slides further than 3 robust standard deviations from the cohort's median."""
    lines = []
    for name, least in _OUTLYING.items():
        values = columns.get(name, np.empty(0))
        if np.count_nonzero(~np.isnan(values)) < _FEWEST:
            continue
        scale = np.log(np.maximum(values, 1)) if name in _COUNTS else values
        apart = np.abs(scale - np.nanmedian(scale))
        far = apart > max(_ROBUST_SDS * 1.4826 * float(np.nanmedian(apart)), least)
        if far.any():
            order = [i for i in np.argsort(-np.nan_to_num(apart)) if far[i]]
            found = [f"{slides[i]} {console.short_number(values[i])}" for i in order]
            median = console.short_number(float(np.nanmedian(values)))
            lines.append(f"outliers in {_SHOWN[name]} (median {median}): {_named(found)}")
    return lines
