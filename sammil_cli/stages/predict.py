"""sammil predict, the judging: bags and one trained model, or several together -> a verdict on every slide."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from sammil_cli import console
from sammil_cli.bundles.ensemble import TrainedFold, Verdict, judge
from sammil_cli.bundles.left_open import left_open, remark_on
from sammil_cli.bundles.models import Models, open_models
from sammil_cli.errors import InputError, SammilError, SlideError
from sammil_cli.mil.contract import Bag
from sammil_cli.project.leftovers import tidy
from sammil_cli.project.process_list import Row, refusal, summarise, write_rows
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.report.abstention import COLUMNS
from sammil_cli.report.conformal import ConformalScores
from sammil_cli.runner.earlier_files import check_done
from sammil_cli.runner.inputs import Unchanged
from sammil_cli.runner.worker import trouble_of
from sammil_cli.storage.files import write_csv
from sammil_cli.training.bag_needs import GIVE_PLACES, NO_PLACES
from sammil_cli.training.bag_survey import look
from sammil_cli.training.bags import BagFolder
from sammil_cli.training.making_check import check_bag
from sammil_cli.training.thresholds import in_digits
from sammil_cli.training.usual_bags import remarks_on

_SHOWN = 20  # slides in the table on the screen
# What stands in the table, and on the screen.
IN_SAMPLE = {True: ("true", "yes"), False: ("false", "no"), None: ("unknown", "unknown")}
_OF_ONE_SLIDE = (SammilError, RuntimeError, MemoryError, OSError, ValueError)  # what one bag may cost
Said = TypeVar("Said")


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The verdicts, and a row of the process list for every slide: those that could not be judged say why."""

    verdicts: Sequence[Verdict]
    rows: Sequence[Row]


def run(models: Path, bags_folder: Path, out: Path, options: RunOptions) -> Prediction:
    """Judges slides by the models that lie in a place; see `open_models` and `judge_bags`."""
    project = Project(bags=bags_folder)
    return judge_bags(open_models(models, options.device), project, out, options)


def judge_bags(
    models: Models, project: Project, out: Path, options: RunOptions, process_list: Path | None = None
) -> Prediction:
    """Judges the slides of the project's bags and writes the table; a bag that cannot be judged costs its own slide.

    A slide of the models' own cohort is judged by the models that did not see it in training or validation. If all
    of them saw it, all judge it, and `in_sample` says so.

    Args:
        out: the table. process_list: None = among the project's.

    Raises:
        InputError: no bags, or not one bag that the models can judge.
        KeyboardInterrupt: after what was judged has been written.
    """
    folds, bags_folder = models.folds, project.bags
    process_list = process_list or project.process_lists / "predict.csv"
    tidy(project, out.parent, store=options.store)
    check_done(project, bags_folder, "extract", {path.stem for path in bags_folder.glob("*.h5")}, options.only)
    bags = BagFolder(bags_folder, options.device)
    slides = [slide for slide in bags.paths if options.only is None or slide in options.only]
    verdicts: list[Verdict] = []
    rows: list[Row] = []
    try:
        with console.progress(len(slides), "predict") as bar:
            for slide in slides:
                verdict, row = of_one_bag(bags, slide, folds, judge)
                if verdict and models.conformal:
                    row = replace(row, remarks=(*row.remarks, *remark_on(verdict, models.conformal)))
                verdicts += [] if verdict is None else [verdict]
                rows.append(row)
                bar.advance(slide)
    except KeyboardInterrupt:
        console.say(f"predict: interrupted, {len(verdicts)} of {len(slides)} slide(s) judged")
        raise
    finally:
        write_rows(process_list, rows)
        if verdicts:
            _write(out, verdicts, folds, models.conformal)
    if not verdicts:
        first = rows[0]
        more = f" ({len(rows)} slides, all reasons: {process_list})" if len(rows) > 1 else ""
        raise InputError(f"no slide can be judged; {first.slide_id}: {first.message}{more}", remedy=first.remedy)
    _print(out, verdicts, folds)
    say_remarks(rows)
    if len(verdicts) < len(rows):
        summarise("predict", [replace(row, remarks=()) for row in rows], out, process_list)
    return Prediction(verdicts=verdicts, rows=rows)


def of_one_bag(
    bags: BagFolder,
    slide: str,
    folds: Sequence[TrainedFold],
    say: Callable[[str, Mapping[bool, Bag], Sequence[TrainedFold]], Said],
) -> tuple[Said | None, Row]:
    """What models say of one slide, if its bag is one for them; its row of the process list says what became of it.

    Args:
        say: is given the slide, its bag by whether instances are flagged, and the models, as `ensemble.judge`.
    """
    try:
        watched = Unchanged(partial(list, [bags.paths[slide]]))
        remarks = _check(bags, slide, folds)
        places = any(fold.model.needs_places for fold in folds)
        flags = {fold.facts.spec.group_feature_flag for fold in folds}
        kinds = {flagged: bags.load(slide, places=places, flagged=flagged) for flagged in flags}
        said = say(slide, kinds, folds)
        watched.check("predict")
        return said, Row(slide_id=slide, status="done", remarks=remarks)
    except _OF_ONE_SLIDE as error:
        return None, refusal(slide, trouble_of(error))


def _check(bags: BagFolder, slide: str, folds: Sequence[TrainedFold]) -> tuple[str, ...]:
    """Looks at a slide's bag, and whether it is one for these models; returns remarks.

    Raises:
        SlideError: `E_BAG`, it is not made as those that a model learned from; else as `bag_survey.look`.
    """
    seen, remarks = look(bags.paths[slide]), dict[str, None]()
    making = seen.making
    for fold in folds:
        if fold.model.needs_places and not seen.placed:
            raise SlideError("E_BAG", NO_PLACES, remedy=GIVE_PLACES)
        if not seen.regions and fold.facts.spec.group_features:
            lack = "it has no regions, so no group features, which the model learned from"
            if "sam" not in making.made_with and fold.facts.trained_on and "sam" in fold.facts.trained_on.made_with:
                raise SlideError("E_BAG", lack, remedy="give it regions: sammil segment, sammil sam, sammil extract")
            remarks[lack] = None
        try:
            likeness = check_bag(making, fold.facts, remedy="train a model on bags like these")
        except InputError as error:
            raise SlideError("E_BAG", error.message, remedy=error.remedy) from None
        if likeness.unknown:
            known = f"one of the two does not say it: {', '.join(likeness.unknown)}"
            remarks[f"not compared with the bags of the training, since {known}"] = None
        remarks |= dict.fromkeys(f"differs in which patches it has: {line}" for line in likeness.remarks)
    remarks |= dict.fromkeys(remarks_on(bags.read(slide).features, [fold.facts.usual for fold in folds]))
    return tuple(remarks)


def say_remarks(rows: Sequence[Row]) -> None:
    """Each remark once, with the number of its slides."""
    for remark, count in Counter(remark for row in rows for remark in row.remarks).items():
        console.say(f"{count} bag(s): {remark}")


def stamp_of(folds: Sequence[TrainedFold]) -> str | None:
    """What the numbers carry where one of the models was chosen on the test fold."""
    return next((fold.facts.stamp for fold in folds if fold.facts.stamp), None)


def shown_digits(verdict: Verdict, digits: int) -> tuple[dict[str, str], str]:
    """Probabilities by class, and the threshold, as text that shows the decision."""
    classes, values = list(verdict.probability), np.array(list(verdict.probability.values()))
    texts, threshold = in_digits(values, verdict.threshold, classes.index(verdict.predicted), digits)
    return dict(zip(classes, texts, strict=True)), threshold


def _write(
    path: Path, verdicts: list[Verdict], folds: Sequence[TrainedFold], conformal: ConformalScores | None
) -> None:
    classes = folds[0].facts.classes
    kinds = ("low", "high", "uncalibrated")
    columns = [f"{kind}_{name}" for kind in ("probability", *kinds) for name in classes]
    header = ("slide_id", "predicted", "positive_class", "threshold", *columns, "models", "in_sample", "protocol")
    header += COLUMNS if conformal else ()
    protocol = f"paper: {mark}" if (mark := stamp_of(folds)) else "honest"
    rows = []
    for verdict in verdicts:
        probability, threshold = shown_digits(verdict, 6)
        others = (f"{getattr(verdict, kind)[name]:.6f}" for kind in kinds for name in classes)
        decided = (verdict.slide_id, verdict.predicted, verdict.positive_class or "", threshold)
        seen = (verdict.models, IN_SAMPLE[verdict.in_sample][0], protocol)
        undecided = (*left_open(verdict, conformal), conformal.coverage) if conformal else ()
        rows.append((*decided, *(probability[name] for name in classes), *others, *seen, *undecided))
    write_csv(path, header, rows)


def _print(out: Path, verdicts: list[Verdict], folds: Sequence[TrainedFold]) -> None:
    positive, mark = folds[0].facts.positive_class, stamp_of(folds)
    rows = []
    for verdict in verdicts[:_SHOWN]:
        shown = positive or verdict.predicted  # of more than two classes the one that is called
        probability, threshold = shown_digits(verdict, 3)
        rows.append(
            (
                verdict.slide_id,
                verdict.predicted,
                probability[shown],
                threshold or "–",
                f"{verdict.low[shown]:.3f}–{verdict.high[shown]:.3f}",
                verdict.models,
                IN_SAMPLE[verdict.in_sample][1],
            )
        )
    title = f"{len(verdicts)} slide(s) by {len(folds)} model(s)"
    title += f", the first {_SHOWN}" if len(verdicts) > _SHOWN else ""
    title += f", positive class: {positive}" if positive else ""
    console.print_table(
        f"{title} - {mark}" if mark else title,
        ("slide", "predicted", f"P({positive or 'predicted'})", "threshold", "over models", "models", "in sample"),
        rows,
    )
    if unknown := sum(verdict.in_sample is None for verdict in verdicts):
        console.say(
            f"{unknown} slide(s) may have been seen in training: a model does not say which slides it has seen (it was "
            "imported, or trained before models kept that and copied without its splits.csv)"
        )
    if known := sum(verdict.in_sample is True for verdict in verdicts):
        console.say(
            f"{known} slide(s) were seen in training or validation by every model: no fair predictions of these"
        )
    if mark:
        console.say("protocol paper: these models were chosen on the slides that they were tested on")
    console.say(f"predictions: {out}")
