"""What `sammil evaluate` prints of judged folds, and the tables that it writes."""

from collections.abc import Sequence
from pathlib import Path

from sammil_cli import console
from sammil_cli.bundles.gather import weights_of
from sammil_cli.report.abstention import COLUMNS, abstention_note, cells_of, sets_out_of_fold
from sammil_cli.report.audit_tables import tables_of_audit
from sammil_cli.report.decided import decision_note
from sammil_cli.report.tables import Numbers, Summary, Table, patients_note, report_tables, stamp, validation_note
from sammil_cli.stages.judged_folds import FoldResult, Judged, per_fold
from sammil_cli.stages.patients import JudgedPatients
from sammil_cli.storage.files import write_csv
from sammil_cli.storage.weights import COMMERCIAL_USE
from sammil_cli.training.model_facts import ModelFacts
from sammil_cli.training.thresholds import in_digits


def print_tables(summary: Summary) -> None:
    """Prints all tables of metrics.json, and what must be said of them."""
    mark = stamp(summary)
    positive = f", positive class: {summary['positive_class']}" if summary["positive_class"] else ""
    console.say(f"{summary['model']} on {summary['slides']} slides of {summary['patients']} patients{positive}")
    audited = tables_of_audit(summary["audit"], summary["per_site"], summary["positive_class"], summary["interval"])
    for table in (*report_tables(summary), *audited):
        console.print_table(f"{table.title} - {mark}" if mark else table.title, table.header, table.rows)
    console.say(validation_note(summary))
    for line in (decision_note(summary), abstention_note(summary)):
        if line:
            console.say(line)
    said = (
        summary["notice"],
        summary["decision"]["remark"],
        summary.get("optimism", {}).get("missing"),
        patients_note(summary),
    )
    for text in (*said, *summary["audit"]["warnings"]):
        if text:
            console.say(f"note: {text}")


def licence_tables(facts: Sequence[ModelFacts]) -> list[Table]:
    """Whose weights made the features, and what their licences allow; none where no weights did."""
    rows = [
        (one.used_for, one.word or one.name, one.licence, COMMERCIAL_USE[one.commercial], f"{one.sha256[:16]}…")
        for one in weights_of(facts)
    ]
    header = ("weights of", "word", "licence", "commercial use", "sha256")
    note = "What a licence of weights says of models that are made with them is for their users to find out."
    return [Table(title="Licences", header=header, rows=rows, note=note)] if rows else []


def write_predictions(path: Path, judged: Judged, protocol: str, abstain: float | None) -> None:
    """Writes a row per slide and repeat; with a coverage to abstain at, the classes that it leaves open, too."""
    classes, rows = judged.facts[0].classes, judged.rows
    header = ("slide_id", "patient_id", "repeat", "fold", "role", "label", "predicted", "positive_class", "threshold")
    columns = [f"{kind}_{name}" for kind in ("probability", "uncalibrated") for name in classes]
    facts = {(fact.repeat, fact.fold): fact for fact in judged.facts}
    before = judged.uncalibrated
    sets = None if abstain is None else sets_out_of_fold(rows, abstain)
    cells = []
    for at, place in enumerate(zip(rows.repeat, rows.fold, strict=True)):
        predicted = int(rows.predicted[at])
        fact = facts[place]
        probabilities, threshold = in_digits(rows.probabilities[at], fact.calibrated_threshold, predicted, 6)
        known = (rows.slides[at], rows.patients[at], *place, "test", classes[rows.labels[at]])
        decided = (classes[predicted], rows.positive_class or "", threshold)
        uncalibrated = ["" if value is None else f"{value:.6f}" for value in (*before[at], fact.threshold)]
        left_open = () if sets is None else (*cells_of(sets[at], predicted, classes), abstain)
        cells.append((*known, *decided, *probabilities, *uncalibrated, protocol, *left_open))
    more = () if sets is None else COLUMNS
    write_csv(path, (*header, *columns, "uncalibrated_threshold", "protocol", *more), cells)


def fold_rows(
    facts: Sequence[ModelFacts], results: Sequence[FoldResult], of_patients: JudgedPatients | None
) -> list[Numbers]:
    """A row per fold, with its patients and their threshold where they are shown."""
    return [
        {
            "repeat": fact.repeat,
            "fold": fact.fold,
            "test slides": len(result.members),
            "epoch": fact.epoch + 1,
            "val AUC": fact.val_auc,
            "threshold": fact.calibrated_threshold,
            "temperature": fact.temperature,
            **{name: scores[name] for name in ("accuracy", "auc", "f1")},
            **(of_patients.of_fold((fact.repeat, fact.fold)) if of_patients else {}),
        }
        for fact, result, scores in zip(facts, results, per_fold(results), strict=True)
    ]
