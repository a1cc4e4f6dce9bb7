"""What became of one row of a benchmark, and its file: `result.json` in the row's folder, by the key of its input."""

from pathlib import Path

import numpy as np

from sammil_cli.errors import InputError
from sammil_cli.report.benchmark_table import Measured
from sammil_cli.report.metrics import Predictions
from sammil_cli.storage.summed import read_summed, write_summed

_FILE = "result.json"
_COUNTS = ("repeat", "fold", "labels", "predicted")


def write_result(folder: Path, key: str, found: Measured) -> None:
    """Writes the predictions and costs of a row.

    Args:
        key: of all that they were made from.
    """
    rows = found.predictions
    predictions: dict[str, object] = {"slides": list(rows.slides), "patients": list(rows.patients)}
    predictions |= {name: getattr(rows, name).tolist() for name in (*_COUNTS, "probabilities")}
    predictions["positive_class"] = rows.positive_class
    costs = {"parameters": found.parameters, "ms_per_slide": found.ms_per_slide}
    peaks = {"peak_bytes": found.peak_bytes, "peak_gpu_bytes": found.peak_gpu_bytes}
    write_summed(folder / _FILE, {"key": key, **costs, **peaks, "predictions": predictions})


def read_result(folder: Path, key: str) -> Measured | None:
    """What `write_result` wrote; None where the folder has no result of this key, or a damaged one."""
    try:
        facts = read_summed(folder / _FILE, "")
        if facts["key"] != key:
            return None
        held = dict(facts["predictions"])
        predictions = Predictions(
            slides=tuple(held["slides"]),
            patients=tuple(held["patients"]),
            probabilities=np.array(held["probabilities"], np.float64),
            positive_class=held["positive_class"],
            **{name: np.array(held[name], np.int64) for name in _COUNTS},
        )
        return Measured(
            predictions=predictions,
            parameters=int(facts["parameters"]),
            ms_per_slide=float(facts["ms_per_slide"]),
            peak_bytes=facts["peak_bytes"],
            peak_gpu_bytes=facts["peak_gpu_bytes"],
        )
    except (FileNotFoundError, InputError, KeyError, TypeError, ValueError):
        return None
