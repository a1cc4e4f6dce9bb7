"""sammil evaluate: trained folds and their test parts -> predictions, metrics, curves, report page."""

from functools import partial

from sammil_cli import console
from sammil_cli.config import EvaluateSettings
from sammil_cli.project.leftovers import tidy
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.project.result_sums import sums_of, write_result_sums
from sammil_cli.report import figures, metrics
from sammil_cli.report.metrics import Predictions
from sammil_cli.report.page import write_page
from sammil_cli.report.per_patient import PatientRule
from sammil_cli.report.summary import beside
from sammil_cli.report.tables import Numbers, has_patients
from sammil_cli.runner.inputs import Unchanged
from sammil_cli.stages import patients
from sammil_cli.stages.judged_baselines import judge_baselines
from sammil_cli.stages.judged_curves import patient_figures, write_curves
from sammil_cli.stages.judged_folds import files_judged, judge, pool
from sammil_cli.stages.judged_lists import lists_of
from sammil_cli.stages.judged_summary import check_abstention, patients_of, summary_of
from sammil_cli.stages.judged_tables import fold_rows, licence_tables, print_tables, write_predictions
from sammil_cli.stages.leakage import Evidence, leakage, read_looks
from sammil_cli.storage.files import replaced_together, write_json
from sammil_cli.training.bag_content import read_contents


def run(project: Project, settings: EvaluateSettings, options: RunOptions, *, changed_labels: bool = False) -> Numbers:
    """Predicts each fold's test slides with its own model, writes everything and returns the metrics.

    Args:
        changed_labels: whether labels that changed since training are meant; else they are refused.
    """
    check_abstention(project, settings)
    tidy(project, store=options.store)
    watched = Unchanged(partial(files_judged, project))
    rule = settings.patient_rule
    judged = judge(project, options.device, watched, changed_labels=changed_labels, rule=rule)
    facts, results, classes = judged.facts, judged.results, judged.facts[0].classes
    rows, uncalibrated = judged.rows, judged.uncalibrated
    level, draws = settings.interval, settings.bootstrap_draws
    summary = summary_of(project, settings, judged)
    with console.counted(judged.bags.read, len(judged.slides), "compare bags") as read:
        contents = read_contents(read, judged.slides)
    looks = read_looks(project, judged.slides)
    baseline = judge_baselines(judged, rule, contents, looks)
    others = {name: pool(found, None) for name, found in baseline.items()}
    summary["baselines"] = {name: beside(found, level=level, draws=draws) for name, found in others.items()}
    met = Evidence(
        folds=[result.fold for result in results],
        members={slide: judged.labels.members[slide] for slide in judged.slides},
        rows=rows,
        others=others,
        contents=contents,
        looks=looks,
        published=facts[0].protocol == "paper",
    )
    summary |= leakage(project, settings, met)
    of_patients = judged.of_patients(rule)
    summary["per_patient"] = patients_of(settings, judged, of_patients, baseline)
    watched.check("evaluate")
    with replaced_together() as new:
        predictions, measured = new(project.predictions), new(project.metrics)
        by_patient = new(project.patient_predictions)
        write_predictions(predictions, judged, summary["protocol"], settings.abstain)
        patients.write_patients(by_patient, of_patients, classes, summary["protocol"])
        write_json(measured, summary)
        curves = write_curves(project.curves, new, rows, classes, level=level, draws=draws)
        curves["Reliability"] = figures.reliability(
            {
                "as the model says": metrics.reliability(rows.labels, uncalibrated),
                "calibrated": metrics.reliability(rows.labels, rows.probabilities),
            }
        )
        shown = of_patients if has_patients(summary) else None
        if shown:
            curves |= patient_figures(shown.rows, classes, level=level, draws=draws)
        lists = lists_of(project, settings, judged, shown)
        folds = fold_rows(facts, results, shown)
        write_page(new(project.page), summary, folds, curves, licence_tables(facts), lists)
        write_result_sums(new(sums_of(project)), measured, predictions, by_patient)
    print_tables(summary)
    console.say(f"report: {project.page}")
    return summary


def out_of_fold(project: Project, device: str) -> Predictions:
    """Each fold's test slides by its own model; writes nothing."""
    return judge(project, device, Unchanged(partial(files_judged, project)), changed_labels=False, rule=None).rows


def out_of_fold_with_patients(project: Project, device: str, rule: PatientRule) -> tuple[Predictions, Predictions]:
    """As `out_of_fold`: the slides, and their patients by the rule (`report.per_patient.by_patient`)."""
    judged = judge(project, device, Unchanged(partial(files_judged, project)), changed_labels=False, rule=rule)
    return judged.rows, judged.of_patients(rule).rows
