"""Results of each value of a column, such as each site: the pooled predictions of its slides."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np

from sammil_cli.report.intervals import bootstrap
from sammil_cli.report.metrics import Predictions
from sammil_cli.report.summary import cells

SHOWN = ("auc", "accuracy", "f1")
OF_DECISIONS = (*SHOWN, "sensitivity", "specificity")


class OfValue(TypedDict):
    """Slides and patients with a value, and per metric `pooled`, `low`, `high`."""

    slides: int
    patients: int
    metrics: dict[str, dict[str, float | None]]


def per_value(
    rows: Predictions, value: Mapping[str, str | None], *, level: float, draws: int, metrics: Sequence[str] = SHOWN
) -> dict[str, OfValue]:
    """The metrics at each value, by name; those that are not defined there are None.

    Args:
        value: of each slide; slides without one are left out. level, draws: of the intervals.
        metrics: which; those that these classes do not have are left out.
    """
    of_row = [value[slide] for slide in rows.slides]
    found: dict[str, OfValue] = {}
    for name in sorted({name for name in of_row if name is not None}):
        part = rows.rows(np.array([one == name for one in of_row]))
        values = bootstrap(part, level=level, draws=draws)
        found[name] = {
            "slides": len(set(part.slides)),
            "patients": len(set(part.patients)),
            "metrics": {metric: cells(values[metric]) for metric in metrics if metric in values},
        }
    return found


def per_site(rows: Predictions, site: Mapping[str, str | None], *, level: float, draws: int) -> dict[str, OfValue]:
    """The metrics at each site, by name; empty with fewer than two sites.

    Args:
        site: of each slide. level, draws: as for `per_value`.
    """
    several = len({site[slide] for slide in rows.slides} - {None}) > 1
    return per_value(rows, site, level=level, draws=draws) if several else {}
