"""Fig. 10 of the paper: what group features add to each model, from the table that `sammil ablate --tables 7` wrote."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.lines import Line2D

from sammil_cli.errors import InputError
from sammil_cli.figures.plot import plain, plot
from sammil_cli.figures.sheet import BLUE, GREY, VERMILION
from sammil_cli.figures.written import write_figure
from sammil_cli.report.ablation import ABLATIONS
from sammil_cli.report.intervals import Estimate
from sammil_cli.report.png import lettering, to_png
from sammil_cli.storage.guarded_json import read_json

NAME = "group-features"
_AGAIN = "run: sammil ablate --tables 7"
_WITH = " with group features"
_NUMBER = re.compile(r"([+\-−]?\d+\.\d) \[([+\-−]?\d+\.\d), ([+\-−]?\d+\.\d)\]")
_ROW_IN, _BOTTOM_IN = 0.42, 0.95


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The pooled AUC of a model without and with group features, and the paired difference; all times 100."""

    model: str
    without: Estimate
    with_them: Estimate
    difference: Estimate


def run(ablation: Path, out: Path) -> list[Pair]:
    """Draws the figure.

    Args:
        ablation: the ablation.json that `sammil ablate --tables 7` wrote.

    Raises:
        InputError: it is missing, or has no table of group features.
    """
    try:
        content = read_json(ablation, remedy=_AGAIN)
    except FileNotFoundError:
        raise InputError(f"{ablation} is missing", remedy=_AGAIN) from None
    pairs = pairs_of(content, ablation)
    table = [
        {
            "model": pair.model,
            **{
                f"{what}_{end}": value
                for what, one in (("without", pair.without), ("with", pair.with_them), ("difference", pair.difference))
                for end, value in (("auc", one.value), ("low", one.low), ("high", one.high))
            },
        }
        for pair in pairs
    ]
    record = {"figure": NAME, "as": "Fig. 10", "title": str(content.get("title", "")), "times": 100, "models": table}
    write_figure(out, NAME, _picture(pairs, str(content.get("title", ""))), record, table)
    return pairs


def pairs_of(content: object, path: Path) -> list[Pair]:
    """The pairs of rows of Table 7.

    Raises:
        InputError: there is no such table, or no model has both rows.
    """
    tables = content.get("tables") if isinstance(content, dict) else None
    title = ABLATIONS["7"].title
    rows = next(
        (t["rows"] for t in tables or () if isinstance(t, dict) and str(t.get("title", "")).startswith(title)), None
    )
    if not isinstance(rows, list):
        raise InputError(f"{path} has no table {title!r}", remedy=_AGAIN)
    by_name = {str(row.get("variant")): row for row in rows if isinstance(row, dict)}
    found = []
    for name, row in by_name.items():
        beside = by_name.get(name + _WITH)
        if beside is not None:
            numbers = _estimate(row, "AUC pooled"), _estimate(beside, "AUC pooled"), _estimate(beside, "AUC minus")
            if None not in numbers:
                without, with_them, difference = (one for one in numbers if one is not None)
                found.append(Pair(model=name, without=without, with_them=with_them, difference=difference))
    if not found:
        raise InputError(f"{path}: no model has a row with group features and one without", remedy=_AGAIN)
    return found


def _estimate(row: dict[str, object], column: str) -> Estimate | None:
    cell = next((str(value) for name, value in row.items() if name.startswith(column)), "")
    numbers = _NUMBER.match(cell)
    return Estimate(*(float(number.replace("−", "-")) for number in numbers.groups())) if numbers else None


def _picture(pairs: Sequence[Pair], about: str) -> bytes:
    notes = [
        about,
        "Left: pooled out-of-fold AUC of each model and its interval. Right: the paired difference on the same draws "
        "of patients; an interval that holds 0 leaves open which is better.",
    ]
    height = _ROW_IN * len(pairs) + 0.3
    figure = plot("Group features in each model (as Fig. 10)", notes, height + _BOTTOM_IN)
    whole = figure.get_figheight()
    places = (0.12, 0.5), (0.68, 0.3)
    left, right = (figure.add_axes((start, _BOTTOM_IN / whole, width, height / whole)) for start, width in places)
    for place, pair in enumerate(pairs):
        y = len(pairs) - 1 - place
        for one, shift, colour, marker in ((pair.without, 0.13, GREY, "o"), (pair.with_them, -0.13, BLUE, "s")):
            ends = [[one.value - one.low], [one.high - one.value]]
            left.errorbar([one.value], [y + shift], xerr=ends, color=colour, marker=marker, capsize=3, markersize=6)
        gap = pair.difference
        ends = [[gap.value - gap.low], [gap.high - gap.value]]
        right.errorbar([gap.value], [y], xerr=ends, color=VERMILION, marker="D", capsize=3, markersize=6)
    names = [lettering(pair.model, 16) for pair in reversed(pairs)]
    right.axvline(0, color="0.4", linewidth=1)
    for axes, label, ticks in ((left, "AUC × 100", names), (right, "difference × 100", [""] * len(pairs))):
        plain(axes)
        axes.set_yticks(range(len(pairs)), ticks)
        axes.set_ylim(-0.6, len(pairs) - 0.4)
        axes.set_xlabel(label, fontsize=11)
    keys = [
        Line2D([], [], color=GREY, marker="o", label="without group features"),
        Line2D([], [], color=BLUE, marker="s", label="with group features"),
        Line2D([], [], color=VERMILION, marker="D", label="difference"),
    ]
    figure.legend(handles=keys, loc="lower left", ncols=3, frameon=False, fontsize=9.5, bbox_to_anchor=(0.05, 0.0))
    return to_png(figure)
