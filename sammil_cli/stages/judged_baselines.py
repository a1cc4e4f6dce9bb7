"""The trivial baselines of `sammil evaluate`, on the very same folds."""

from dataclasses import replace

import numpy as np

from sammil_cli.report.per_patient import PatientRule
from sammil_cli.stages import patients
from sammil_cli.stages.judged_folds import FoldResult, Judged, result_of
from sammil_cli.stages.leakage import Looks
from sammil_cli.training import baselines
from sammil_cli.training.bag_content import BagContents
from sammil_cli.training.site_baseline import judge_confounders


def judge_baselines(
    judged: Judged, rule: PatientRule, contents: BagContents, looks: Looks
) -> dict[str, list[FoldResult]]:
    """The baselines on the very same folds; those that learn choose on validation, for what the model does.

    Args:
        rule: that their thresholds for patients are chosen by.
    """
    folds, known, means = [result.fold for result in judged.results], judged.labels.members, contents.means
    judged_slides = {slide: known[slide] for slide in judged.slides}
    count, decision = len(judged.facts[0].classes), judged.facts[0].decided_by.honest
    labels = {slide: member.label for slide, member in known.items()}
    found: dict[str, list[FoldResult]] = {baselines.MEAN_POOL: [], baselines.MAJORITY: []}
    for fold in folds:
        judge, threshold = baselines.judge_of_fold(means, labels, fold, count, decision)
        on_val, said = (judge(np.stack([means[slide] for slide in part])) for part in (fold.val, fold.test))
        members = {role: [known[slide] for slide in getattr(fold, role)] for role in ("train", "val")}
        of_patients = patients.chosen_on_patients(members["val"], on_val, threshold, decision, rule)
        found[baselines.MEAN_POOL].append(result_of(fold, known, said, said, threshold, of_patients))
        train = np.array([labels[slide] for slide in fold.train], np.int64)
        commonest = int(baselines.class_shares(train, count).argmax())
        # Shares differ a little between folds: as scores they would rank slides by their fold. Nothing is ranked here.
        level = np.full((len(fold.test), count), 1 / count)
        found[baselines.MAJORITY].append(
            FoldResult(
                fold=fold,
                members=[known[slide] for slide in fold.test],
                probabilities=level,
                uncalibrated=level,
                predicted=np.full(len(fold.test), commonest, np.int64),
                patient_threshold=None,
                always=patients.commonest_of_patients(members["train"], count, rule),
            )
        )
        for name, one in judge_confounders(fold, judged_slides, looks.of, count, decision).items():
            of_patients = patients.chosen_on_patients(members["val"], one.on_val, one.threshold, decision, rule)
            result = result_of(fold, known, one.scores, one.scores, one.threshold, of_patients)
            found.setdefault(name, []).append(replace(result, predicted=one.predicted))
    return found
