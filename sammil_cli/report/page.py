"""The report as one HTML page that needs no other file; pictures of slides lie beside it in `slides/`."""

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sammil_cli.storage.files import write_text

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.3rem .9rem;border-bottom:1px solid #d5dae0;text-align:right}
th:first-child,td:first-child{text-align:left}figure{display:inline-block;margin:.5%;width:32%;min-width:18rem}figcaption{text-align:center}
.big td{font-size:1.15rem}.note{color:#57606a}img{max-width:100%}
"""


def write_page(
    path: Path, summary: Mapping[str, Any], folds: Sequence[Mapping[str, Any]], curves: Mapping[str, bytes]
) -> None:
    """Writes the page.

    Args:
        summary: what metrics.json holds.
        folds: one row per fold, the same keys in each.
        curves: figure title -> PNG.
    """
    names = [name for name, value in summary.items() if isinstance(value, Mapping) and "mean" in value]
    spread = [(name.upper() if name != "accuracy" else "Accuracy", _spread(summary[name])) for name in names]
    pictures = "".join(
        f"<figure><img alt='{html.escape(title)}' src='data:image/png;base64,{base64.b64encode(png).decode()}'>"
        f"<figcaption>{html.escape(title)}</figcaption></figure>"
        for title, png in curves.items()
    )
    body = f"""<h1>{html.escape(str(summary["model"]))}: out-of-fold report</h1>
<p>{summary["slides"]} slides of {summary["patients"]} patients, {len(folds)} folds. Each slide is judged by the model
that did not see its patient. Protocol: {html.escape(str(summary["protocol"]))}; epoch and threshold were
chosen on validation patients.</p>
<table class="big"><tr><th>metric</th><th>mean ± sd over folds</th></tr>{_rows(spread)}</table>
<p class="note">The sd is the spread of the folds, not the error of the mean.{_undefined(summary)}</p>
{pictures}
<h2>Folds</h2>
<table><tr>{"".join(f"<th>{html.escape(key)}</th>" for key in folds[0])}</tr>
{_rows([[_cell(value) for value in fold.values()] for fold in folds])}</table>
<p>Every prediction: runs/predictions.csv. Heatmaps and top patches of every slide:
<a href="slides/index.html">slides</a> (written by <code>sammil visualize</code>).</p>"""
    write_text(path, document(f"sammil: {summary['model']}", body))


def document(title: str, body: str) -> str:
    """A whole HTML document; `body` is HTML."""
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{html.escape(title)}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{_STYLE}</style></head><body>{body}</body></html>\n"
    )


def _rows(rows: Sequence[Sequence[str]]) -> str:
    return "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)


def _spread(value: Mapping[str, Any]) -> str:
    if value["mean"] is None:
        return "not defined in any fold"
    return f"{value['mean']:.3f} ± {value['sd']:.3f}"


def _cell(value: object) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _undefined(summary: Mapping[str, Any]) -> str:
    lost = summary["folds"] - summary["folds_with_auc"]
    return (
        f" The AUC is not defined in {lost} folds whose test part lacks a class; they are left out of it."
        if lost
        else ""
    )
