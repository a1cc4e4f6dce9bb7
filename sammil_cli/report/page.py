"""The report as one HTML page that needs no other file; pictures of slides lie beside it in `slides/`."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sammil_cli.report.abstention import abstention_note
from sammil_cli.report.audit_tables import tables_of_audit
from sammil_cli.report.decided import decision_note
from sammil_cli.report.document import page, picture_size
from sammil_cli.report.listing import Listing
from sammil_cli.report.slide_rows import Trouble
from sammil_cli.report.tables import (
    Summary,
    Table,
    has_patients,
    interval_of,
    of_class,
    patients_note,
    report_tables,
    shown_cells,
    stamp,
    validation_note,
)
from sammil_cli.storage.files import write_text


@dataclass(frozen=True, kw_only=True)
class Lists:
    """What the page lists one by one: judged slides, slides that were set aside before, judged patients."""

    slides: Listing | None = None
    undone: Sequence[Trouble] = ()
    patients: Listing | None = None


def write_page(
    path: Path,
    summary: Summary,
    folds: Sequence[Mapping[str, Any]],
    curves: Mapping[str, bytes],
    facts: Sequence[Table] = (),
    lists: Lists | None = None,
) -> None:
    """Writes the page.

    Args:
        summary: what metrics.json holds.
        folds: one row per fold, the same keys in each.
        curves: figure title -> PNG.
        facts: tables that hold no results; they are the last.
    """
    lists = lists or Lists()
    audited = tables_of_audit(summary["audit"], summary["per_site"], summary["positive_class"], summary["interval"])
    first, *others = [*report_tables(summary), *audited]
    of_patients = patients_note(summary)
    per_patient = bool(summary.get("per_patient"))
    warnings = (
        summary.get("notice"),
        summary.get("decision", {}).get("remark"),
        summary.get("optimism", {}).get("missing"),
        of_patients if per_patient else None,
        *summary["audit"]["warnings"],
    )
    notes = (
        validation_note(summary),
        decision_note(summary),
        abstention_note(summary),
        None if per_patient else of_patients,
    )
    html = page(
        "report",
        title=f"sammil: {summary['model']}",
        model=summary["model"],
        lead=_lead(summary, len(folds)),
        warnings=[text for text in warnings if text],
        notes=[text for text in notes if text],
        key=_key(summary, lists),
        mark=stamp(summary),
        first=first,
        figures=_figures(curves),
        curves=_of_curves(summary),
        slides=lists.slides,
        undone=lists.undone,
        patients=lists.patients,
        others=others,
        folds=Table(
            title=of_class("Folds", summary["positive_class"]),
            header=tuple(folds[0]),
            rows=[tuple(_cell(value) for value in fold.values()) for fold in folds],
        ),
        facts=facts,
        files="Every prediction: runs/predictions.csv"
        + (", per patient: runs/predictions_patients.csv." if has_patients(summary) else "."),
    )
    write_text(path, html)


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
        figures: title -> PNG, below the first table, each as wide as the page or several in a row.
        remark: what a reader must know first; empty = nothing. mark: what every number carries, see `stamp`.
    """
    drawn = _figures(figures or {})
    write_text(path, page("numbers", title=title, tables=tables, figures=drawn, remark=remark, wide=wide, mark=mark))


def _lead(summary: Summary, folds: int) -> str:
    positive = f" The positive class is {summary['positive_class']}." if summary["positive_class"] else ""
    chosen = "the test slides themselves" if stamp(summary) else "validation patients"
    return (
        f"{summary['slides']} slides of {summary['patients']} patients, {folds} folds. Each slide is judged by the "
        f"model that was not trained on its patient.{positive} Protocol: {summary['protocol']}; epoch, threshold and "
        f"temperature were chosen on {chosen}."
    )


def _of_curves(summary: Summary) -> str:
    others = "Thin lines: the folds." if summary["positive_class"] else "Each class against the rest."
    return (
        f"Curves: all test parts together, with a {100 * summary['interval']:g} % band, point by point, of patients "
        f"drawn anew; the models stay as they are. {others}"
    )


def _key(summary: Summary, lists: Lists) -> list[tuple[str, str, str]]:
    """The numbers on top: name, value, what stands small beside it."""
    found = []
    for name, key in (("AUC", "auc"), ("Accuracy", "accuracy")):
        pooled, interval, _ = shown_cells(summary[key])
        found.append((name, pooled, "" if interval == "–" else f"{interval} ({interval_of(summary)})"))
    if lists.slides:
        rows = lists.slides.rows
        found.append(("Slides called wrong", str(sum(row.wrong for row in rows)), f"of {len(rows)}"))
    if lists.undone:
        found.append(("Not judged", str(len(lists.undone)), ""))
    return found


def _figures(drawn: Mapping[str, bytes]) -> list[dict[str, object]]:
    """Figures as a page holds them: title, size in px where it is known, the PNG in base64."""
    return [
        {"title": title, "size": picture_size(png), "data": base64.b64encode(png).decode()}
        for title, png in drawn.items()
    ]


def _cell(value: object) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
