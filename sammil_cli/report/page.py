"""The report as one HTML page that needs no other file; pictures of slides lie beside it in `slides/`."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sammil_cli.report.abstention import abstention_note
from sammil_cli.report.audit_tables import tables_of_audit
from sammil_cli.report.decided import decision_note
from sammil_cli.report.document import document, escaped
from sammil_cli.report.tables import Table, has_patients, of_class, patients_note, report_tables, stamp, validation_note
from sammil_cli.storage.files import write_text


def write_page(
    path: Path,
    summary: Mapping[str, Any],
    folds: Sequence[Mapping[str, Any]],
    curves: Mapping[str, bytes],
    facts: Sequence[Table] = (),
) -> None:
    """Writes the page.

    Args:
        summary: what metrics.json holds.
        folds: one row per fold, the same keys in each.
        curves: figure title -> PNG.
        facts: tables that hold no results; they are the last.
    """
    pictures = _pictures(curves)
    mark = stamp(summary)
    audited = tables_of_audit(summary["audit"], summary["per_site"], summary["positive_class"], summary["interval"])
    first, *others = [_table(table, mark) for table in (*report_tables(summary), *audited)]
    per_fold = Table(
        title=of_class("Folds", summary["positive_class"]),
        header=tuple(folds[0]),
        rows=[tuple(_cell(value) for value in fold.values()) for fold in folds],
    )
    positive = f" The positive class is {summary['positive_class']}." if summary["positive_class"] else ""
    of_patients = patients_note(summary)
    warned = of_patients if summary.get("per_patient") else None
    leaks = summary["audit"]["warnings"]
    doubt = summary.get("decision", {}).get("remark")
    said = (summary.get("notice"), doubt, summary.get("optimism", {}).get("missing"), warned, *leaks)
    single = "" if summary.get("per_patient") else f"<p class='note'>{escaped(str(of_patients))}</p>"
    table_of_patients = ", per patient: runs/predictions_patients.csv" if has_patients(summary) else ""
    warning = "".join(f"<p class='warning'>{escaped(text)}</p>" for text in said if text)
    choice = (
        "epoch, threshold and temperature were chosen on the test slides themselves."
        if mark
        else "epoch, threshold and temperature were chosen on validation patients."
    )
    lines = (decision_note(summary), abstention_note(summary))
    decided = "".join(f"<p class='note'>{escaped(line)}</p>" for line in lines if line)
    body = f"""<h1>{escaped(str(summary["model"]))}: out-of-fold report</h1>
<p>{summary["slides"]} slides of {summary["patients"]} patients, {len(folds)} folds. Each slide is judged by the model
that was not trained on its patient.{escaped(positive)} Protocol: {escaped(str(summary["protocol"]))};
{choice}</p>
{warning}{first}<p class='note'>{escaped(validation_note(summary))}</p>{decided}
{single}{pictures}{"".join(others)}{_table(per_fold, mark)}{"".join(_table(table, None) for table in facts)}
<p>Every prediction: runs/predictions.csv{table_of_patients}. Heatmaps and top patches of every slide:
<a href="slides/index.html">slides</a> (written by <code>sammil visualize</code>).</p>"""
    write_text(path, document(f"sammil: {summary['model']}", body))


def write_tables(
    path: Path,
    title: str,
    tables: Sequence[Table],
    figures: Mapping[str, bytes] | None = None,
    remark: str = "",
    *,
    wide: bool = True,
    mark: str | None = None,
) -> None:
    """Writes a page of tables.

    Args:
        figures: title -> PNG, below the first table, each as wide as the page or three in a row.
        remark: what a reader must know first; empty = nothing. mark: what every number carries, see `stamp`.
    """
    first, *others = [_table(table, mark) for table in tables]
    warning = f"<p class='warning'>{escaped(remark)}</p>" if remark else ""
    body = "\n".join([f"<h1>{escaped(title)}</h1>{warning}", first + _pictures(figures or {}, wide=wide), *others])
    write_text(path, document(title, body))


def _pictures(figures: Mapping[str, bytes], *, wide: bool = False) -> str:
    """Figures that lie in the page itself; three stand in a row, or each as wide as the page."""
    style = " style='width:99%'" if wide else ""
    return "".join(
        f"<figure{style}><img alt='{escaped(title)}' src='data:image/png;base64,{base64.b64encode(png).decode()}'>"
        f"<figcaption>{escaped(title)}</figcaption></figure>"
        for title, png in figures.items()
    )


def _table(table: Table, mark: str | None) -> str:
    """A table with its title and note; where there is a mark every row ends with it."""
    header = (*table.header, "") if mark else table.header
    rows = [(*row, mark) for row in table.rows] if mark else table.rows
    body = "".join(_cells("td", row) for row in rows)
    kind = " class='stamped'" if mark else ""
    note = f"<p class='note'>{escaped(table.note)}</p>" if table.note else ""
    return f"<h2>{escaped(table.title)}</h2>\n<table{kind}>{_cells('th', header)}{body}</table>{note}"


def _cells(tag: str, row: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escaped(cell)}</{tag}>" for cell in row) + "</tr>"


def _cell(value: object) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
