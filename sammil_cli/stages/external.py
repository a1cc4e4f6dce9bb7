"""sammil evaluate --on: trained models and an external cohort -> metrics beside the internal folds, page."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from sammil_cli import console
from sammil_cli.bundles.models import open_models
from sammil_cli.cohort.columns import column_of
from sammil_cli.config import EvaluateSettings
from sammil_cli.errors import InputError
from sammil_cli.project.leftovers import tidy
from sammil_cli.project.process_list import Row, summarise, write_rows
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.report import figures, metrics
from sammil_cli.report.external_tables import external_tables
from sammil_cli.report.metrics import Predictions
from sammil_cli.report.page import write_tables
from sammil_cli.report.per_patient import check_rule
from sammil_cli.report.tables import Numbers, Summary, stamp
from sammil_cli.runner.earlier_files import check_done
from sammil_cli.runner.inputs import Unchanged
from sammil_cli.stages.external_cohort import read_cohort
from sammil_cli.stages.external_doubts import doubts
from sammil_cli.stages.external_slides import JudgedSlides, judge_slides
from sammil_cli.stages.external_summary import (
    beside_internal,
    by_columns,
    members_of,
    notices,
    of_patients,
    of_slides,
    refused,
)
from sammil_cli.stages.internal_folds import internal_folds
from sammil_cli.stages.patients import judge_patients, write_patients
from sammil_cli.stages.predict import say_remarks
from sammil_cli.storage.files import replaced_together, write_csv, write_json
from sammil_cli.training.bags import BagFolder
from sammil_cli.training.thresholds import in_digits

WRITTEN = ("index.html", "metrics.json", "predictions.csv", "predictions_patients.csv", "process_list.csv")
_SEEN = {True: "true", False: "false", None: "unknown"}
_Points = Callable[[np.ndarray, np.ndarray], list[tuple[float, float]]]


def run(
    labels: Path,
    source: Path,
    bags_folder: Path,
    out: Path,
    settings: EvaluateSettings,
    options: RunOptions,
    *,
    by: Sequence[str] = (),
) -> tuple[Numbers, list[Row]]:
    """Judges the slides of a label table by trained models that have not seen them, and writes all that comes of it.

    Args:
        labels: a label table in the classes of the models. source: see `open_models`. out: the folder of the report.
        by: columns of the table; the metrics are given for each value of each.

    Returns:
        What metrics.json holds, and a row of the process list for each slide that was to be judged.

    Raises:
        InputError: no models, labels that are not theirs, no such column, or not one slide that they can judge.
    """
    models = open_models(source, options.device)
    facts = [fold.facts for fold in models.folds]
    check_rule(settings.patient_rule, len(facts[0].classes))
    watched = Unchanged(partial(list, [labels]))
    project = Project(bags=bags_folder)
    tidy(project, out, store=options.store)
    check_done(project, bags_folder, "extract", {path.stem for path in bags_folder.glob("*.h5")}, None)
    bags = BagFolder(bags_folder, options.device)
    given = read_cohort(labels, facts[0].classes, bags.paths)
    columns = {name: column_of(given.table, name, given.cohort.members) for name in by}
    for name in WRITTEN:  # of an earlier call: it must not look like the result of this one if it fails
        (out / name).unlink(missing_ok=True)
    judged = judge_slides(given.cohort.members, models.folds, bags)
    process_list = out / "process_list.csv"
    write_rows(process_list, judged.rows)
    _check_any(judged, source)
    rows = judged.predictions
    thresholds, threshold_of = judged.for_patients(settings.patient_rule)
    patients = judge_patients(rows, judged.uncalibrated, settings.patient_rule, thresholds)
    internal, known = internal_folds(models, settings), {slide for fold in models.folds for slide in fold.seen or ()}
    found = of_slides(judged, facts, settings)
    summary = {
        **found,
        "labels": str(labels),
        "patient_rule": settings.patient_rule,
        "in_sample": list(judged.seen),
        "without_bag": list(given.without_bag),
        "without_label": [slide for slide in given.without_label if slide not in known],
        "refused": refused(judged),
        **beside_internal(found, internal.numbers, rows.slides, known),
        "by": by_columns(judged, columns, settings),
        "per_patient": of_patients(patients, judged.classes, settings, threshold_of),
    }
    unknown = sum(one.verdict.in_sample is None for one in judged.slides)
    summary["notices"] = notices(summary, doubts(models, members_of(judged), bags), unknown)
    watched.check("evaluate")
    with replaced_together() as new:
        _write_predictions(new(out / "predictions.csv"), judged, summary["protocol"])
        write_patients(new(out / "predictions_patients.csv"), patients, judged.classes, summary["protocol"])
        write_json(new(out / "metrics.json"), summary)
        drawn = _figures(judged, internal.rows)
        title = f"{summary['model']} on {labels.name}: external cohort"
        remark = "; ".join(summary["notices"])
        tables = external_tables(summary)
        write_tables(new(out / "index.html"), title, tables, drawn, remark, wide=False, mark=stamp(summary))
    _print(summary, judged.rows)
    if refused(judged):
        summarise("evaluate", judged.rows, out, process_list)
    console.say(f"report: {out / 'index.html'}")
    return summary, list(judged.rows)


def _check_any(judged: JudgedSlides, source: Path) -> None:
    if judged.slides:
        return
    if judged.seen and not judged.rows:
        raise InputError(
            f"every one of the {len(judged.seen)} slides was seen in training by every model of {source}",
            remedy="give slides that the models have not seen; their own folds are judged by: sammil evaluate",
        )
    first = next(row for row in judged.rows if not row.done)
    raise InputError(f"no slide can be judged; {first.slide_id}: {first.message}", remedy=first.remedy)


def _figures(judged: JudgedSlides, internal: Predictions | None) -> dict[str, bytes]:
    """Title -> PNG: the external cohort, beside the internal folds taken together."""
    rows, classes = judged.predictions, judged.classes
    beside = {"external": rows} | ({} if internal is None else {"internal folds": internal})
    positive = f", positive class: {rows.positive_class}" if rows.positive_class else ""
    roc, pr = (_curves(beside, classes, points) for points in (metrics.roc_points, metrics.pr_points))
    reliable = {
        "as the models say": metrics.reliability(rows.labels, judged.uncalibrated),
        "calibrated": metrics.reliability(rows.labels, rows.probabilities),
    }
    counts = metrics.confusion(rows.labels, rows.predicted, len(classes))
    return {
        f"ROC{positive}": figures.curves(roc, "false positive rate", "true positive rate", diagonal=True),
        f"Precision and recall{positive}": figures.curves(pr, "recall", "precision", diagonal=False),
        "Confusion": figures.confusion(counts, classes),
        "Reliability": figures.reliability(reliable),
    }


def _curves(
    beside: Mapping[str, Predictions], classes: Sequence[str], points: _Points
) -> list[tuple[str, float, float]]:
    found = []
    for name, rows in beside.items():
        for index in [1] if len(classes) == 2 else range(len(classes)):
            curve = name if len(classes) == 2 else f"{name}, {classes[index]}"
            truth = (rows.labels == index).astype(np.int64)
            found += [(curve, x, y) for x, y in points(truth, rows.probabilities[:, index])]
    return found


def _print(summary: Summary, rows: Sequence[Row]) -> None:
    mark, positive = stamp(summary), summary["positive_class"]
    named = f", positive class: {positive}" if positive else ""
    sizes = ", ".join(f"{size} {name}" for name, size in summary["class_sizes"].items())
    console.say(
        f"{summary['models']} model(s) ({summary['model']}) on {summary['slides']} slides ({sizes}) of "
        f"{summary['patients']} patients{named}"
    )
    for table in external_tables(summary):
        console.print_table(f"{table.title} - {mark}" if mark else table.title, table.header, table.rows)
    if "threshold" in summary:
        console.say(f"threshold carried over: {summary['threshold']['chosen']}; chosen here: an estimate of nothing")
    if summary["internal"] is None:
        console.say(f"not beside the internal folds: {summary['no_difference']}")
    elif summary["no_difference"]:
        console.say(f"no difference from the internal folds: {summary['no_difference']}")
    for key, what in (("without_bag", "labelled slide(s) have no bag"), ("without_label", "bag(s) have no label")):
        if names := summary[key]:
            console.say(f"{len(names)} {what}: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}")
    say_remarks(rows)
    for text in (*summary["notices"], (summary["per_patient"] or {}).get("notice")):
        if text:
            console.say(f"note: {text}")


def _write_predictions(path: Path, judged: JudgedSlides, protocol: str) -> None:
    """A row per slide: the columns of runs/predictions.csv, so that `sammil compare` reads it, and a few more."""
    classes, rows = judged.classes, judged.predictions
    header = ("slide_id", "patient_id", "repeat", "fold", "role", "label", "predicted", "positive_class", "threshold")
    kinds = ("low", "high", "uncalibrated")
    columns = [f"{kind}_{name}" for kind in ("probability", *kinds) for name in classes]
    cells = []
    for at, one in enumerate(judged.slides):
        verdict, predicted = one.verdict, int(rows.predicted[at])
        probabilities, threshold = in_digits(rows.probabilities[at], verdict.threshold, predicted, 6)
        known = (one.member.slide_id, one.member.patient_id, 0, int(rows.fold[at]), "test", classes[one.member.label])
        decided = (classes[predicted], rows.positive_class or "", threshold, *probabilities)
        others = [f"{getattr(verdict, kind)[name]:.6f}" for kind in kinds for name in classes]
        cells.append((*known, *decided, *others, verdict.models, _SEEN[verdict.in_sample], protocol))
    write_csv(path, (*header, *columns, "models", "in_sample", "protocol"), cells)
