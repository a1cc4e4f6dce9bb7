"""Verdicts on patients from those on their slides, where a table says whose slides these are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sammil_cli.bundles.ensemble import Verdict
from sammil_cli.report.per_patient import PatientRule, check_rule, patients_of_part
from sammil_cli.storage.files import write_csv
from sammil_cli.training.thresholds import decide, in_digits, mean_threshold

NOTE = (
    "Patients are decided by the thresholds of their slides (their mean): the models keep no threshold of patients, "
    "which sammil evaluate chooses on validation patients."
)
Patient = Mapping[str, object]


def patients_table(
    verdicts: Sequence[Verdict], patients: Mapping[str, str], rule: PatientRule, protocol: str
) -> list[Patient]:
    """A row for each patient with the columns of the table; empty where no patient has several of the slides.

    Args:
        patients: by slide id; a slide without one is a patient of its own.

    Raises:
        InputError: a rule that the classes do not allow.
    """
    names = [patients.get(verdict.slide_id, verdict.slide_id) for verdict in verdicts]
    if max(Counter(names).values(), default=0) < 2:
        return []
    classes = list(verdicts[0].probability)
    check_rule(rule, len(classes))
    said = np.array([list(verdict.probability.values()) for verdict in verdicts])
    found = patients_of_part(names, np.zeros(len(names), np.int64), said, rule)  # labels are not known: all alike
    rows = list[Patient]()
    for name, of, probabilities in zip(found.names, found.rows, found.probabilities, strict=True):
        slides = [verdicts[at] for at in of]
        threshold = mean_threshold([verdict.threshold for verdict in slides])
        predicted = int(decide(probabilities[None], threshold)[0])
        texts, limit = in_digits(probabilities, threshold, predicted, 6)
        rows.append(
            {
                "patient_id": name,
                "slides": len(slides),
                "predicted": classes[predicted],
                "positive_class": slides[0].positive_class or "",
                "threshold": limit,
                **{f"probability_{one}": text for one, text in zip(classes, texts, strict=True)},
                "in_sample": _in_sample([verdict.in_sample for verdict in slides]),
                "patient_rule": rule,
                "threshold_of": "slides",
                "protocol": protocol,
            }
        )
    return rows


def write_patients(path: Path, rows: Sequence[Patient]) -> None:
    """Writes the table, or removes an earlier one where there is nothing to say."""
    if rows:
        write_csv(path, list(rows[0]), [list(row.values()) for row in rows])
    else:
        path.unlink(missing_ok=True)


def _in_sample(seen: Sequence[bool | None]) -> str:
    """Of a patient: `true` where one of its slides was learned from."""
    return "true" if True in seen else "unknown" if None in seen else "false"
