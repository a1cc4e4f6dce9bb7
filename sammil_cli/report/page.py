"""The report as one HTML page that needs no other file; pictures of slides lie beside it in `slides/`."""

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sammil_cli.report.tables import Table, report_tables, stamp
from sammil_cli.storage.files import write_text

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.3rem .9rem;border-bottom:1px solid #d5dae0;text-align:right}
th:first-child,td:first-child{text-align:left}figure{display:inline-block;margin:.5%;width:32%;min-width:18rem}figcaption{text-align:center}
.note{color:#57606a}.warning{background:#fff4d6;border-left:4px solid #d4a100;padding:.4rem .8rem}
td{white-space:nowrap}
.stamped td:last-child{white-space:normal;text-align:left;font-size:.75rem;line-height:1.2}img{max-width:100%}
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
    pictures = "".join(
        f"<figure><img alt='{html.escape(title)}' src='data:image/png;base64,{base64.b64encode(png).decode()}'>"
        f"<figcaption>{html.escape(title)}</figcaption></figure>"
        for title, png in curves.items()
    )
    mark = stamp(summary)
    first, *others = [_table(table, mark) for table in report_tables(summary)]
    per_fold = Table(
        title="Folds", header=tuple(folds[0]), rows=[tuple(_cell(value) for value in fold.values()) for fold in folds]
    )
    warning = "".join(f"<p class='warning'>{html.escape(text)}</p>" for text in _warnings(summary))
    choice = (
        "epoch, threshold and temperature were chosen on the test slides themselves."
        if mark
        else "epoch, threshold and temperature were chosen on validation patients."
    )
    body = f"""<h1>{html.escape(str(summary["model"]))}: out-of-fold report</h1>
<p>{summary["slides"]} slides of {summary["patients"]} patients, {len(folds)} folds. Each slide is judged by the model
that was not trained on its patient. Protocol: {html.escape(str(summary["protocol"]))}; {choice}</p>
{warning}{first}{pictures}{"".join(others)}{_table(per_fold, mark)}
<p>Every prediction: runs/predictions.csv. Heatmaps and top patches of every slide:
<a href="slides/index.html">slides</a> (written by <code>sammil visualize</code>).</p>"""
    write_text(path, document(f"sammil: {summary['model']}", body))


def write_tables(path: Path, title: str, tables: Sequence[Table]) -> None:
    """Writes a page of tables and nothing else."""
    body = f"<h1>{html.escape(title)}</h1>\n" + "\n".join(_table(table, None) for table in tables)
    write_text(path, document(title, body))


def document(title: str, body: str) -> str:
    """A whole HTML document; `body` is HTML."""
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{html.escape(title)}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{_STYLE}</style></head><body>{body}</body></html>\n"
    )


def _table(table: Table, mark: str | None) -> str:
    """A table with its title and note; where there is a mark every row ends with it."""
    header = (*table.header, "") if mark else table.header
    rows = [(*row, mark) for row in table.rows] if mark else table.rows
    kind = " class='stamped'" if mark else ""
    note = f"<p class='note'>{html.escape(table.note)}</p>" if table.note else ""
    return f"<h2>{html.escape(table.title)}</h2>\n<table{kind}>{_cells('th', header)}{_all(rows)}</table>{note}"


def _all(rows: Sequence[Sequence[str]]) -> str:
    return "".join(_cells("td", row) for row in rows)


def _cells(tag: str, row: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"


def _warnings(summary: Mapping[str, Any]) -> list[str]:
    said = [summary.get("notice"), summary.get("optimism", {}).get("missing")]
    return [text for text in said if text]


def _cell(value: object) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
