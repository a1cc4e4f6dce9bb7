"""sammil predict, all of it: slides or bags and trained models -> table, page, pictures, evidence for QuPath."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sammil_cli import console
from sammil_cli.bundles.ensemble import Verdict
from sammil_cli.bundles.models import Models, open_models
from sammil_cli.config import Settings, VisualizeSettings
from sammil_cli.errors import InputError
from sammil_cli.project.process_list import Row, summarise, write_rows
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.project.remark_summary import flags_in
from sammil_cli.report.per_patient import PatientRule, check_rule
from sammil_cli.runner.out_folder import OutFolder
from sammil_cli.runner.per_slide import limits_of, run_plan
from sammil_cli.slides.files import formats_of
from sammil_cli.stages import evidence
from sammil_cli.stages.given_slides import GivenSlides, gather
from sammil_cli.stages.new_bags import check_weights, make_bags, project_in, settings_for
from sammil_cli.stages.predict import judge_bags, stamp_of
from sammil_cli.stages.predicted_page import Judgements, predicted_page
from sammil_cli.stages.predicted_patients import (
    PatientVerdict,
    note_on,
    patients_table,
    verdicts_on_patients,
    write_patients,
)
from sammil_cli.stages.visualize import Judges, plan_pictures
from sammil_cli.storage.files import write_text
from sammil_cli.storage.paths import BagPath

_UNDRAWABLE = "E_BAG"  # a bag without places is judged all the same
_PAGE, _TABLE, _OF_PATIENTS = "index.html", "predictions.csv", "predictions_patients.csv"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is written besides the table of slides: `pictures` and evidence, or not; patients by `rule`."""

    out: Path
    pictures: bool = True
    rule: PatientRule = "mean"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to be judged by `model`: `slides` (files, folders, a table), or with none of them `bags`.

    `bags`: None = those of the working folder. `params`: how bags are made; None = as the model's own were.
    """

    model: Path
    slides: Sequence[Path] = ()
    bags: Path | None = None
    params: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """The verdicts, and for every slide that was given the row that says what became of it.

    `patients`: verdicts on these, where a table says that one has several of the slides.
    """

    verdicts: Sequence[Verdict]
    rows: Sequence[Row]
    patients: Sequence[PatientVerdict] = ()


def run(
    asked: Asked,
    wanted: Wanted,
    how: Mapping[str, RunOptions],
    how_bags_are_made: Callable[[Settings], Mapping[str, RunOptions]],
) -> Predicted:
    """Judges what is asked for and writes all of `wanted.out`.

    Args:
        how: how `predict` and `visualize` run. how_bags_are_made: how the four stages before run, by their settings;
            refuses weights that are not here.

    Raises:
        InputError, MissingError: as `check_asked`, `predict_slides` and `predict_bags`; or a rule for patients that
            the classes do not allow.
    """
    given = gather(asked.slides, wanted.out)
    check_asked(asked.model, wanted, given, asked.bags, asked_for_slides=bool(asked.slides))
    models = open_models(asked.model, how["predict"].device)
    check_rule(wanted.rule, len(models.folds[0].facts.classes))
    apart = wanted.out / "work" / "store"  # results of no project
    if asked.bags is None and asked.slides:
        settings = settings_for(models, asked.params)
        stages = {**how, **how_bags_are_made(settings)}
        check_weights(models, settings)
        stages = {stage: replace(options, store=apart) for stage, options in stages.items()}
        return predict_slides(models, project_in(wanted.out, given), given, settings, stages, wanted)
    if asked.bags is not None:  # of no project, maybe
        how = {**how, "visualize": replace(how["visualize"], store=apart)}
    return predict_bags(models, Project(bags=asked.bags or Project().bags), given.patients, how, wanted)


def check_asked(model: Path, wanted: Wanted, given: GivenSlides, bags: Path | None, *, asked_for_slides: bool) -> None:
    """Refuses what cannot be meant, before anything is loaded.

    Raises:
        InputError: a slide in the place of the model; `out` is no folder; slides together with bags; a table that
            names no slide.
    """
    if model.suffix.lower() == ".csv" or formats_of(model):
        raise InputError(
            f"{model} is no model, and the first word names one",
            remedy=f"sammil predict MODEL {model}, with a trained model, a run, a project or a bundle as MODEL",
        )
    out = wanted.out
    if out.suffix == ".csv" or (out.exists() and not out.is_dir()):
        raise InputError(
            f"--out {out} is no folder: the table, the page and the pictures lie in one",
            remedy=f"--out {out.with_suffix('') if out.suffix else 'DIR'}; the table is predictions.csv in it",
        )
    if bags is not None and given.paths:
        raise InputError(
            f"slides are given and --bags {bags}, too: which are to be judged?",
            remedy="leave one of them out; a table without the column path may stand beside --bags",
        )
    if bags is None and asked_for_slides and not given.paths and not given.refused:
        raise InputError(
            f"{given.table} names no slide file", remedy="give it a column path, or give the slides beside it"
        )


def predict_slides(
    models: Models,
    project: Project,
    given: GivenSlides,
    settings: Settings,
    how: Mapping[str, RunOptions],
    wanted: Wanted,
) -> Predicted:
    """Makes the bags of raw slides, judges them, and writes all of `wanted.out`; every call goes on where one ended.

    Args:
        project: see `new_bags.project_in`. how: by stage how it runs, `predict` and `visualize` among them.

    Raises:
        InputError, MissingError: nothing can be done; slides that cannot be done are rows.
    """
    _forget(project, wanted, how["predict"].only)
    made = make_bags(project, given, settings, how)
    verdicts: Sequence[Verdict] = ()
    rows = dict(made)
    ready = frozenset(slide_id for slide_id, row in made.items() if row.done)
    if ready:
        found = judge_bags(models, project, wanted.out / _TABLE, replace(how["predict"], only=ready))
        verdicts = found.verdicts
        for row in found.rows:
            of_stages = flags_in(made[row.slide_id].remarks) if row.slide_id in made else []
            rows[row.slide_id] = replace(row, remarks=tuple(dict.fromkeys((*row.remarks, *of_stages))))
    return _finish(models, project, Predicted(verdicts=verdicts, rows=list(rows.values())), given.patients, how, wanted)


def predict_bags(
    models: Models, project: Project, patients: Mapping[str, str], how: Mapping[str, RunOptions], wanted: Wanted
) -> Predicted:
    """As `predict_slides`, of the bags of a project.

    Raises:
        InputError: there are no bags, or not one that the models can judge.
    """
    there = replace(
        project,
        process_lists=wanted.out / "process_lists",
        pictures=wanted.out / "slides",
        evidence=wanted.out / "evidence",
    )
    _forget(there, wanted, how["predict"].only)
    found = judge_bags(models, project, wanted.out / _TABLE, how["predict"], there.process_lists / "predict.csv")
    return _finish(models, there, Predicted(verdicts=found.verdicts, rows=found.rows), patients, how, wanted)


def _forget(project: Project, wanted: Wanted, only: frozenset[str] | None) -> None:
    """Removes what an earlier call wrote, so that nothing of it is there if this one fails or is killed.

    Pictures and evidence come back from the store of results; with `only` those of other slides stay.
    """
    written = [*(wanted.out / name for name in (_PAGE, _TABLE, _OF_PATIENTS)), project.evidence / evidence.SCRIPT]
    for path in (*written, project.process_lists / "predict.csv"):
        path.unlink(missing_ok=True)
    for stage, folder in (("visualize", project.pictures), ("evidence", project.evidence)):
        if folder.is_dir():
            OutFolder(folder, stage, project.process_lists / f"{stage}.csv", only).clear((), ())


def _finish(
    models: Models,
    project: Project,
    found: Predicted,
    patients: Mapping[str, str],
    how: Mapping[str, RunOptions],
    wanted: Wanted,
) -> Predicted:
    """Patients, pictures, evidence, and the page that shows them."""
    mark = stamp_of(models.folds)
    found = replace(found, patients=verdicts_on_patients(found.verdicts, patients, wanted.rule))
    said = patients_table(found.patients, f"paper: {mark}" if mark else "honest")
    write_patients(wanted.out / _OF_PATIENTS, said)
    if said:
        console.say(f"patients: {wanted.out / _OF_PATIENTS} ({len(said)}). {note_on(found.patients)}".rstrip())
    if wanted.pictures and found.verdicts:
        found = _draw(models, project, found, how["visualize"])
    rows = sorted(found.rows, key=lambda row: row.slide_id)
    write_rows(project.process_lists / "predict.csv", rows)
    pictures = project.pictures if wanted.pictures else None
    judged = Judgements(verdicts=found.verdicts, rows=rows, patients=found.patients, patient_of=patients)
    write_text(wanted.out / _PAGE, predicted_page(models, judged, wanted.out, pictures, project.evidence))
    if lost := sum(not row.done for row in rows):
        console.say(
            f"predict: {len(rows) - lost} of {len(rows)} slide(s) done; the reasons of the others are on the page"
        )
    console.say(f"page: {wanted.out / _PAGE}")
    if wanted.pictures and found.verdicts:
        console.say(f"QuPath: open a slide and drag its file from {project.evidence} onto it")
    return replace(found, rows=rows)


def _draw(models: Models, project: Project, found: Predicted, options: RunOptions) -> Predicted:
    """Pictures and evidence of the judged slides; what became of them goes into the rows."""
    settings = (models.settings or Settings()).stage(VisualizeSettings)
    judges = {BagPath(project.bags / f"{one.slide_id}.h5"): _judges(models, one) for one in found.verdicts}
    limits = limits_of(settings)
    drawn = run_plan(partial(plan_pictures, project, settings, judges), options, limits)
    summarise("visualize", drawn, project.pictures, project.process_lists / "visualize.csv")
    if not any(row.done for row in drawn):
        return _with_pictures(found, drawn)
    shown = evidence.run(project, settings, options)
    summarise("evidence", shown, project.evidence, project.process_lists / "evidence.csv")
    return _with_pictures(found, [*drawn, *shown])


def _judges(models: Models, verdict: Verdict) -> Judges:
    """The models behind a verdict: those that did not see the slide, else all."""
    unseen = [
        folder
        for folder, fold in zip(models.folders, models.folds, strict=True)
        if fold.seen is None or verdict.slide_id not in fold.seen
    ]
    return Judges(trained=tuple(unseen or models.folders), seen=verdict.in_sample)


def _with_pictures(found: Predicted, drawn: Sequence[Row]) -> Predicted:
    """The rows, with what the pictures lack: a failure counts, a bag that cannot be drawn is a remark."""
    rows = {row.slide_id: row for row in found.rows}
    for one in drawn:
        row = rows[one.slide_id]
        if one.code == _UNDRAWABLE:
            rows[row.slide_id] = replace(row, remarks=(*row.remarks, f"no-picture: {one.message}"))
        elif not one.done and row.done:
            rows[row.slide_id] = replace(one, remarks=row.remarks)
        else:
            rows[row.slide_id] = replace(row, remarks=tuple(dict.fromkeys((*row.remarks, *flags_in(one.remarks)))))
    return replace(found, rows=list(rows.values()))
