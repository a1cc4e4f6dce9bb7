"""Results of each site: the pooled predictions of its slides."""

from collections.abc import Mapping
from typing import TypedDict

import numpy as np

from sammil_cli.report.intervals import bootstrap
from sammil_cli.report.metrics import Predictions
from sammil_cli.report.summary import cells

_SHOWN = ("auc", "accuracy", "f1")


class OfSite(TypedDict):
    """Slides and patients of a site, and per metric `pooled`, `low`, `high`."""

    slides: int
    patients: int
    metrics: dict[str, dict[str, float | None]]


def per_site(rows: Predictions, site: Mapping[str, str | None], *, level: float, draws: int) -> dict[str, OfSite]:
    """The metrics at each site, by name; empty with fewer than two sites.

    Args:
        site: of each slide; slides without one are left out. level, draws: of the intervals.
    """
    of_row = [site[slide] for slide in rows.slides]
    names = sorted({name for name in of_row if name is not None})
    found: dict[str, OfSite] = {}
    for name in names if len(names) > 1 else ():
        part = rows.rows(np.array([one == name for one in of_row]))
        values = bootstrap(part, level=level, draws=draws)
        found[name] = {
            "slides": len(set(part.slides)),
            "patients": len(set(part.patients)),
            "metrics": {metric: cells(values[metric]) for metric in _SHOWN},
        }
    return found
