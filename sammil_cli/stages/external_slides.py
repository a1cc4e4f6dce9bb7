"""Slides of an external cohort, each judged by the models that have not seen its patient."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sammil_cli import console
from sammil_cli.bundles.ensemble import TrainedFold, Verdict, judge
from sammil_cli.cohort.cohort import Member
from sammil_cli.mil.contract import Bag
from sammil_cli.project.process_list import Row
from sammil_cli.report.metrics import Predictions, fold_metrics, over_folds
from sammil_cli.report.per_patient import PatientRule, Place
from sammil_cli.stages.predict import of_one_bag
from sammil_cli.training.bags import BagFolder
from sammil_cli.training.thresholds import Probabilities

Said = tuple[Verdict, Sequence[Verdict]]  # of the models together, and of each


@dataclass(frozen=True, kw_only=True)
class JudgedSlide:
    """A slide, its verdict, and what each model says that has not seen its patient (by number of the model)."""

    member: Member
    verdict: Verdict
    single: Mapping[int, Verdict]


@dataclass(frozen=True, kw_only=True)
class JudgedSlides:
    """The slides that could be judged. `seen`: those that every model has seen; they are not judged.

    `rows`: of the process list, a row for each slide but these.
    """

    classes: tuple[str, ...]
    slides: Sequence[JudgedSlide]
    seen: Sequence[str]
    rows: Sequence[Row]

    @property
    def predictions(self) -> Predictions:
        """The slides as one repeat; `fold` numbers the sets of models that judged together, 0 where all did alike."""
        sets = list(dict.fromkeys(frozenset(one.single) for one in self.slides))
        found = self._predictions([(one.member, one.verdict) for one in self.slides])
        return replace(found, fold=np.array([sets.index(frozenset(one.single)) for one in self.slides], np.int64))

    @property
    def uncalibrated(self) -> Probabilities:
        """(s, C) of the same rows."""
        return np.array([list(one.verdict.uncalibrated.values()) for one in self.slides])

    @property
    def thresholds(self) -> dict[Place, float | None]:
        """That of the models together, by (repeat, fold) of `predictions`."""
        folds = self.predictions.fold.tolist()
        return {(0, fold): one.verdict.threshold for fold, one in zip(folds, self.slides, strict=True)}

    def for_patients(self, rule: PatientRule) -> tuple[dict[Place, float | None], str | None]:
        """Thresholds for patients, by place as `thresholds`, and whose they are: `patients` or `slides`.

        Those of slides stand where a model does not know its own for patients. With more than two classes, None.
        """
        of_slides = self.thresholds
        if None in of_slides.values():
            return of_slides, None
        folds = self.predictions.fold.tolist()
        own = {
            (0, fold): (one.verdict.patient_thresholds or {}).get(rule)
            for fold, one in zip(folds, self.slides, strict=True)
        }
        return (of_slides, "slides") if None in own.values() else (own, "patients")

    def over_models(self) -> dict[str, dict[str, float | None]]:
        """Mean and sd over the models of each one's metrics on the slides that it has not seen."""
        of: dict[int, list[tuple[Member, Verdict]]] = defaultdict(list)
        for one in self.slides:
            for number, verdict in one.single.items():
                of[number].append((one.member, verdict))
        found = [self._predictions(judged) for judged in of.values()]
        return over_folds([fold_metrics(rows.labels, rows.probabilities, rows.predicted) for rows in found])

    def _predictions(self, judged: Sequence[tuple[Member, Verdict]]) -> Predictions:
        zeros = np.zeros(len(judged), np.int64)
        return Predictions(
            slides=tuple(member.slide_id for member, _ in judged),
            patients=tuple(member.patient_id for member, _ in judged),
            repeat=zeros,
            fold=zeros,
            labels=np.array([member.label for member, _ in judged], np.int64),
            predicted=np.array([self.classes.index(verdict.predicted) for _, verdict in judged], np.int64),
            probabilities=np.array([list(verdict.probability.values()) for _, verdict in judged]),
            positive_class=judged[0][1].positive_class,
        )


def judge_slides(members: Sequence[Member], folds: Sequence[TrainedFold], bags: BagFolder) -> JudgedSlides:
    """Judges slides that have a bag; one that cannot be judged costs itself.

    A model that has seen one slide of a patient judges none of this patient's.
    """
    own: dict[str, set[str]] = defaultdict(set)
    for member in members:
        own[member.patient_id].add(member.slide_id)
    judged, seen, rows = [], [], []
    with console.progress(len(members), "evaluate") as bar:
        for member in members:
            slides = own[member.patient_id]
            blind = [number for number, fold in enumerate(folds) if fold.seen is None or not fold.seen & slides]
            if blind:
                said, row = of_one_bag(bags, member.slide_id, [folds[number] for number in blind], _say)
                rows.append(row)
                if said is not None:
                    single = dict(zip(blind, said[1], strict=True))
                    judged.append(JudgedSlide(member=member, verdict=said[0], single=single))
            else:
                seen.append(member.slide_id)
            bar.advance(member.slide_id)
    return JudgedSlides(classes=folds[0].facts.classes, slides=judged, seen=seen, rows=rows)


def _say(slide: str, bags: Mapping[bool, Bag], folds: Sequence[TrainedFold]) -> Said:
    single = [judge(slide, bags, [fold]) for fold in folds]
    return (judge(slide, bags, folds) if len(folds) > 1 else single[0]), single
