"""Fig. 9 of the paper: how much the result depends on one setting or two, from the runs there are."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sammil_cli import console
from sammil_cli.config import Settings, setting_meant
from sammil_cli.errors import InputError
from sammil_cli.figures.plot import plain, plot
from sammil_cli.figures.sheet import BLUE, VERMILION
from sammil_cli.figures.sweep_points import SEED, Point, Sweep, of_experiments, of_folders, sweep_of
from sammil_cli.figures.written import rounded, write_figure
from sammil_cli.report.png import lettering, to_png
from sammil_cli.storage.files import canonical
from sammil_cli.training.thresholds import SELECTED_ON_TEST

NAME = "sweep"
_MOST_SETTINGS = 2
_HEIGHT_IN, _BOTTOM_IN, _LEGEND_IN = 4.6, 0.65, 0.35
_BESIDE = 0.09  # how far the two numbers of a run stand from its value
_SPREAD = 0.05  # between runs of one value


def run(
    settings: Sequence[str], folders: Sequence[Path], saved: Path | None, out: Path, *, level: float, draws: int
) -> list[Sweep]:
    """Draws the figure: a panel for each setting.

    Args:
        folders: trainings, judged by `sammil evaluate`; none = DVC's experiments.
        saved: what `dvc exp show --json` printed; None = ask DVC. level, draws: of the intervals of `folders`.

    Raises:
        InputError: more settings than two, an unknown one, or no runs that differ in one of them alone.
    """
    if not 1 <= len(settings) <= _MOST_SETTINGS:
        raise InputError(
            f"{len(settings)} settings are named", remedy="name one or two: sammil figure sweep mask_ratio"
        )
    for name in settings:
        if name.partition(".")[0] not in Settings.model_fields:
            raise InputError(f"there is no setting {name!r}", remedy=setting_meant(name))
    points = of_folders(folders, level=level, draws=draws) if folders else of_experiments(saved)
    sweeps = [sweep_of(points, setting) for setting in dict.fromkeys(settings)]
    table = [_row(sweep, value, point) for sweep in sweeps for value, point in _runs(sweep)]
    record = {
        "figure": NAME,
        "as": "Fig. 9",
        "chosen_by": "val_auc",
        "sweeps": [{"setting": s.setting, "chosen": _chosen_value(s), "left_out": s.left_out} for s in sweeps],
        "runs": table,
    }
    write_figure(out, NAME, _picture(sweeps, level), record, table)
    for sweep in sweeps:
        if sweep.left_out:
            console.say(f"{sweep.setting}: {sweep.left_out} run(s) left out, which differ in other settings, too")
    return sweeps


def _runs(sweep: Sweep) -> list[tuple[object, Point]]:
    return [(value, point) for value in sweep.values for point in sweep.points[canonical(value)]]


def _row(sweep: Sweep, value: object, point: Point) -> dict[str, object]:
    area = point.area
    return {
        "setting": sweep.setting,
        "value": value,
        "run": point.name,
        "seed": point.params.get(SEED),
        "val_auc": rounded(point.val),
        "val_auc_sd": rounded(point.val_sd),
        **{
            name: None if np.isnan(number) else rounded(number)
            for name, number in (("auc_pooled", area.value), ("auc_low", area.low), ("auc_high", area.high))
        },
    }


def _means(sweep: Sweep) -> list[float]:
    """The mean of val_auc over the runs of each value; NaN where none has one."""
    found = []
    for value in sweep.values:
        known = [point.val for point in sweep.points[canonical(value)] if point.val is not None]
        found.append(float(np.mean(known)) if known else np.nan)
    return found


def _chosen(sweep: Sweep) -> int | None:
    """The place of the value with the largest val_auc, the first of equals."""
    means = _means(sweep)
    return None if np.isnan(means).all() else int(np.nanargmax(means))


def _chosen_value(sweep: Sweep) -> object:
    chosen = _chosen(sweep)
    return None if chosen is None else sweep.values[chosen]


def _picture(sweeps: Sequence[Sweep], level: float) -> bytes:
    notes = [
        "Circles: val_auc, the AUC on inner validation patients, mean over folds and their sd: choose by this one. "
        f"Squares: pooled out-of-fold AUC with its {level:.0%} interval over patients: to report, not to choose by.",
        "Runs of one value with other seeds stand beside each other: their spread is what retraining alone does.",
    ]
    if any(point.params.get("protocol") == "paper" for sweep in sweeps for _, point in _runs(sweep)):
        notes.append(f"Runs in the published protocol: {SELECTED_ON_TEST}; their val_auc is of the test parts.")
    figure = plot("Sensitivity to settings (as Fig. 9)", notes, _HEIGHT_IN)
    whole = figure.get_figheight()
    room = _HEIGHT_IN / whole
    low, high = _limits(sweeps)
    across = len(sweeps)
    for number, sweep in enumerate(sweeps):
        left, width = 0.06 + number * 0.94 / across, 0.94 / across - 0.08
        bottom = (_BOTTOM_IN + _LEGEND_IN) / whole
        axes = figure.add_axes((left, bottom, width, room - bottom - 0.02))
        _panel(axes, sweep)
        axes.set_ylim(low, high)
    keys = [
        Line2D([], [], color=BLUE, marker="o", label="val_auc (± sd over folds)"),
        Line2D([], [], color=VERMILION, marker="s", linestyle="--", label=f"pooled AUC ({level:.0%} interval)"),
        Line2D([], [], color="0.4", linestyle=":", linewidth=2, label="largest val_auc: chosen by it"),
    ]
    figure.legend(handles=keys, loc="lower left", ncols=3, frameon=False, fontsize=9.5, bbox_to_anchor=(0.03, 0.0))
    return to_png(figure)


def _limits(sweeps: Sequence[Sweep]) -> tuple[float, float]:
    """Limits of the AUC axis that hold every interval; at least a tenth apart, at most a little above 1."""
    values = [
        number
        for sweep in sweeps
        for _, point in _runs(sweep)
        for number in (point.val, (point.val or 1.0) - (point.val_sd or 0.0), point.area.low, point.area.value)
        if number is not None and not np.isnan(number)
    ]
    lowest = min(values, default=0.5)
    return max(0.0, min(lowest, 0.9) - 0.04), 1.03


def _panel(axes: Axes, sweep: Sweep) -> None:
    plain(axes)
    chosen = _chosen(sweep)
    if chosen is not None:
        axes.axvline(chosen, color="0.4", linestyle=":", linewidth=2)
    for place, value in enumerate(sweep.values):
        own = sweep.points[canonical(value)]
        for number, point in enumerate(own):
            shift = (number - (len(own) - 1) / 2) * _SPREAD
            _mark(axes, place - _BESIDE + shift, point.val, point.val_sd, point.val_sd, BLUE, "o")
            if not np.isnan(point.area.value):
                below, above = point.area.value - point.area.low, point.area.high - point.area.value
                _mark(axes, place + _BESIDE + shift, point.area.value, below, above, VERMILION, "s")
    places = np.arange(len(sweep.values))
    axes.plot(places - _BESIDE, _means(sweep), color=BLUE, linewidth=1.4)
    pooled = [np.mean([p.area.value for p in sweep.points[canonical(value)]]) for value in sweep.values]
    axes.plot(places + _BESIDE, pooled, color=VERMILION, linewidth=1.4, linestyle="--")
    axes.set_xticks(places, [lettering(canonical(value).strip('"'), 14) for value in sweep.values])
    axes.set_xlim(-0.5, len(sweep.values) - 0.5)
    axes.set_xlabel(sweep.setting, fontsize=11)
    axes.set_ylabel("AUC", fontsize=11)


def _mark(
    axes: Axes, x: float, value: float | None, below: float | None, above: float | None, colour: str, marker: str
) -> None:
    """A point with its bar, which ends at 1, as an AUC does."""
    if value is None:
        return
    ends = [[below or 0.0], [min(above or 0.0, 1.0 - value)]]
    axes.errorbar(
        [x], [value], yerr=np.nan_to_num(ends), color=colour, marker=marker, markersize=6, capsize=3, linewidth=1.2
    )
