"""sammil compare: runs beside a reference, on the slides and patients that both judge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sammil_cli import console
from sammil_cli.errors import InputError
from sammil_cli.report.changed_calls import changed_table, counts_of, slides_of_two, write_slides
from sammil_cli.report.comparison import Comparison, compare_metrics, compare_unpaired
from sammil_cli.report.comparison_tables import (
    Compared,
    Difference,
    Unit,
    adjust,
    as_json,
    comparison_tables,
    differences,
    numbers,
)
from sammil_cli.report.intervals import bootstrap, patients_of_classes
from sammil_cli.report.markdown import as_markdown, escaped
from sammil_cli.report.metrics import Predictions
from sammil_cli.report.per_patient import (
    PatientRule,
    by_patient,
    check_rule,
    mixed_patients,
    several_slides,
    torn_patients,
)
from sammil_cli.report.shared_slides import Shared, folds_apart, in_classes, shared_slides
from sammil_cli.report.tables import Table
from sammil_cli.stages.judged_runs import JudgedRun, read_run
from sammil_cli.storage.files import write_json, write_text
from sammil_cli.training.thresholds import SELECTED_ON_TEST

_FEW = 10  # patients of a class below which intervals and tests say little
_SHOWN_SETTINGS = 6
_UNITS: tuple[Unit, ...] = ("slide", "patient")
_SAME_RUN, _OTHER_PROTOCOL = "the same run", "protocols differ"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How runs are compared: level of the intervals, draws of patients, how a patient's slides are put together."""

    level: float
    draws: int
    rule: PatientRule


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """A run beside the reference: what both judge, what sets them apart, and why no verdict is given (None = it is)."""

    run: JudgedRun
    shared: Shared
    said: tuple[str, ...]
    withheld: str | None


@dataclass(frozen=True, kw_only=True)
class RunsCompared:
    """Every metric of every run beside the reference; `notes`: what sets the runs apart, and what to mind.

    `facts`: all that comparison.json holds (docs/compare.md).
    """

    differences: Sequence[Difference]
    notes: Sequence[str]
    facts: dict[str, object]


def run(paths: Sequence[Path], other_seed: Path | None, asked: Asked, out: Path) -> RunsCompared:
    """Compares runs with the first of them, and writes comparison.md, comparison.json and slides.csv.

    Args:
        other_seed: the reference trained with another seed; None = there is no such run. out: a folder.

    Raises:
        InputError: fewer than two runs, one that cannot be read, or one of other classes; a level or number of draws
            out of range.
    """
    if len(paths) < 2:
        raise InputError("sammil compare needs two runs or more", remedy="name them: sammil compare RUN RUN")
    _check(asked)
    runs = _named([read_run(path) for path in (*paths, *([other_seed] if other_seed else []))])
    check_rule(asked.rule, len(runs[0].classes))
    reference, others = runs[0], [_pair(runs[0], one) for one in runs[1:]]
    seed = others.pop() if other_seed else None
    stamp = SELECTED_ON_TEST if any(one.protocol.startswith("paper") for one in runs) else None
    tables: list[Table] = []
    record: list[dict[str, object]] = []
    found_all: list[Difference] = []
    compared = _compare_all([*others, *([seed] if seed else [])], reference, asked)
    for unit in _UNITS:
        found = [one for pair in others if (one := compared[unit, pair.run.name]) is not None]
        if not found:
            continue
        again = None if seed is None else compared[unit, seed.run.name]
        moved = None if again is None else again.found
        tables += comparison_tables(reference.name, found, moved, reference.rows.positive_class)
        beside = list(zip(found, adjust(found), strict=True))
        found_all += [row for one, adjusted in beside for row in differences(one, adjusted, moved)]
        record += [as_json(one, adjusted, moved) | {"other_seed": _moved(moved)} for one, adjusted in beside]
    calls = [(pair.run.name, slides) for pair in others if (slides := slides_of_two(pair.shared, reference.classes))]
    for name, slides in calls:
        table = changed_table(reference.name, name, slides, out / "slides.csv")
        tables += [table] if table else []
    if stamp:
        tables = [replace(table, title=f"{table.title} - {stamp}") for table in tables]
    alike = [name for name, slides in calls if not any(one.change for one in slides)]
    notes = [f"{name} calls every slide as {reference.name} does" for name in alike]
    notes += [note for pair in (*others, *([seed] if seed else [])) for note in pair.said]
    if any(one["unit"] == "patient" for one in record) and len(reference.classes) == 2:
        notes += [_by_slides(one, asked.rule) for one in runs if one.patient_rule != asked.rule]
    facts = {
        "schema": 1,
        "kind": "comparison",
        "reference": reference.name,
        "level": asked.level,
        "draws": asked.draws,
        "patient_rule": asked.rule,
        "positive_class": reference.rows.positive_class,
        "stamp": stamp,
        "runs": [_facts(one) for one in runs],
        "notes": notes,
        "comparisons": record,
        "disagreements": [{"run": name, **counts_of(slides)} for name, slides in calls],
    }
    lines = "".join(f"- {escaped(note)}\n" for note in notes)
    named = f"{', '.join(pair.run.name for pair in others)} beside {reference.name}"
    title = f"# {escaped(named)}\n\n"
    write_text(
        out / "comparison.md", f"{title}{lines}\n{as_markdown(tables)}" if notes else title + as_markdown(tables)
    )
    write_json(out / "comparison.json", facts)
    write_slides(out / "slides.csv", reference.name, calls)
    for table in tables:
        console.print_table(table.title, table.header, table.rows)
    console.say(*dict.fromkeys(table.note for table in tables))
    console.say(*(f"note: {note}" for note in notes), f"comparison: {out / 'comparison.md'}")
    return RunsCompared(differences=tuple(found_all), notes=tuple(notes), facts=facts)


def _check(asked: Asked) -> None:
    """Refuses what the command line's own limits refuse, where it is asked for from Python."""
    if not 0.5 <= asked.level <= 0.999:
        raise InputError(f"{asked.level} is no level of intervals", remedy="use one from 0.5 to 0.999, such as 0.95")
    if asked.draws < 100:
        raise InputError(f"{asked.draws} draws of patients are too few", remedy="use 100 or more; 2000 is usual")


def _named(runs: Sequence[JudgedRun]) -> list[JudgedRun]:
    """The runs with names that differ: of those alike, with what was asked for."""
    names = [one.name for one in runs]
    named = [one if names.count(one.name) == 1 else replace(one, name=str(one.path)) for one in runs]
    again = [one.name for one in named]
    return [
        one if again.count(one.name) == 1 else replace(one, name=f"{one.name} ({number})")
        for number, one in enumerate(named, start=1)
    ]


def _pair(reference: JudgedRun, run: JudgedRun) -> _Pair:
    """What can be compared of two runs.

    Raises:
        InputError: they have other classes, or label every shared slide otherwise.
    """
    name = run.name
    if set(run.classes) != set(reference.classes):
        raise InputError(
            f"{name} judges the classes {', '.join(run.classes)}, {reference.name} {', '.join(reference.classes)}",
            remedy="compare runs of the same classes; set classes of params.yaml alike and train again",
        )
    said = []
    same = run.sha256 == reference.sha256
    if same:
        said.append(f"{name} and {reference.name} hold the same run: every prediction is the same")
    if run.rows.positive_class != reference.rows.positive_class:
        said.append(
            f"the positive class of {name} is {run.rows.positive_class!r}; all numbers here are of "
            f"{reference.rows.positive_class!r}, decisions stay those of each run"
        )
    if other_protocol := run.protocol != reference.protocol:
        said.append(
            f"{name} was judged by the protocol {run.protocol!r}, {reference.name} by {reference.protocol!r}: what was "
            "selected on test and what was not cannot be ranked"
        )
    rows = in_classes(run.rows, run.classes, reference.classes)
    shared = shared_slides(reference.rows, rows, name, reference.name)
    if not shared.first.slides:
        raise InputError(
            f"every slide that {name} and {reference.name} share has another label in one of them",
            remedy="judge both with the same labels.csv: sammil evaluate",
        )
    said += [*shared.said, *(folds_apart(shared.first, shared.second, name) if shared.paired else ())]
    if settings := _other_settings(reference, run):
        said.append(f"{name} has other settings than {reference.name}: {settings}")
    if torn := torn_patients(reference.rows) or torn_patients(run.rows):
        said.append(
            f"patient {torn[0]!r} has slides in several folds of one repeat, so that models which learned from this "
            "patient judge it: nothing is shown per patient, and figures may be too good; train again"
        )
    if min(patients_of_classes(shared.first)) < _FEW:
        said.append(
            f"{name} and {reference.name} share fewer than {_FEW} patients of a class: take intervals as too narrow "
            "and p as too small"
        )
    withheld = _SAME_RUN if same else _OTHER_PROTOCOL if other_protocol else None
    return _Pair(run=run, shared=shared, said=tuple(said), withheld=withheld)


def _other_settings(reference: JudgedRun, run: JudgedRun) -> str | None:
    """The settings that differ, of the stages that make a result, in a few words; None = none, or not known."""
    if reference.settings is None or run.settings is None:
        return None
    one, other = reference.settings, run.settings
    names = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    words = [f"{name} {other.get(name)} (was {one.get(name)})" for name in names[:_SHOWN_SETTINGS]]
    more = [f"and {len(names) - _SHOWN_SETTINGS} more"] if len(names) > _SHOWN_SETTINGS else []
    return ", ".join([*words, *more]) or None


def _compare_all(pairs: Sequence[_Pair], reference: JudgedRun, asked: Asked) -> dict[tuple[Unit, str], Compared | None]:
    """Every run beside the reference, by unit and by the name of the run."""
    found = {}
    with console.progress(len(_UNITS) * len(pairs), "compare") as bar:
        for unit in _UNITS:
            for pair in pairs:
                found[unit, pair.run.name] = _compare(pair, reference, unit, asked)
                bar.advance(f"{pair.run.name}, per {unit}")
    return found


def _compare(pair: _Pair, reference: JudgedRun, unit: Unit, asked: Asked) -> Compared | None:
    """One run beside the reference; per patient None where that is as per slide, or cannot be had."""
    first, second = pair.shared.first, pair.shared.second
    if unit == "patient":
        if not several_slides(first) or (pair.shared.paired and not pair.shared.same_patients):
            return None
        if torn_patients(first) or torn_patients(second):  # said in `_pair`
            return None
        first, second = (
            by_patient(rows, asked.rule, one.thresholds_of_patients(asked.rule))
            for rows, one in ((first, reference), (second, pair.run))
        )
        if not first.slides or not second.slides:  # labels of all patients are mixed
            return None
    compare = compare_metrics if pair.shared.paired else compare_unpaired
    found: dict[str, Comparison] = compare(first, second, level=asked.level, draws=asked.draws)
    own, its = (bootstrap(rows, level=asked.level, draws=asked.draws) for rows in (second, first))
    return Compared(
        run=pair.run.name,
        unit=unit,
        slides=len(set(pair.shared.first.slides)),
        patients=len(set(first.patients)),
        paired=pair.shared.paired,
        found=found,
        own={name: own[name] for name in found},
        of_reference={name: its[name] for name in found},
        withheld=pair.withheld,
    )


def _moved(found: Mapping[str, Comparison] | None) -> dict[str, object] | None:
    return None if found is None else {name: numbers(one.value) for name, one in found.items()}


def _by_slides(run: JudgedRun, rule: PatientRule) -> str:
    return (
        f"{run.name}: patients are called at the thresholds of slides, since evaluate chose none for patients by "
        f"{rule!r} (sammil evaluate -S patient_rule={rule})"
    )


def _facts(run: JudgedRun) -> dict[str, object]:
    rows: Predictions = run.rows
    return {
        "name": run.name,
        "sha256": run.sha256,
        "protocol": run.protocol,
        "slides": len(set(rows.slides)),
        "patients": len(set(rows.patients)),
        "mixed_patients": len(mixed_patients(rows)),
        "repeats": len(set(rows.repeat.tolist())),
        "classes": list(run.classes),
    }
