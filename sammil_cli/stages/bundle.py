"""sammil bundle: the trained models of a run -> one file."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sammil_cli import console
from sammil_cli.bundles.archive import SUFFIX
from sammil_cli.bundles.bundle_file import read_bundle, write_bundle
from sammil_cli.bundles.ensemble import TrainedFold, read_trained
from sammil_cli.bundles.facts import RESEARCH_USE, BundleFacts, ConformalEntry, Performance
from sammil_cli.bundles.gather import bags_of, decision_of, member_of, trained_by, weights_of
from sammil_cli.bundles.models import Models, open_models
from sammil_cli.bundles.patient_thresholds import together
from sammil_cli.bundles.performance import OF_ALL, OF_FOLDS, OF_ONE
from sammil_cli.bundles.screen import screen
from sammil_cli.errors import InputError
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.stages.refit import refitted
from sammil_cli.storage.nearest_ids import did_you_mean
from sammil_cli.storage.paths import ModelPath
from sammil_cli.storage.store import find_store
from sammil_cli.storage.summed import SUMMED

REFIT = "refit"  # the name of a model of all slides


def run(
    source: Path,
    out: Path,
    *,
    fold: str | None = None,
    intended_use: str = RESEARCH_USE,
    report: Path | None = None,
    refit: RunOptions | None = None,
    bags: Path | None = None,
    labels: Path | None = None,
) -> BundleFacts:
    """Writes the folds of a run, one of them, or one model that is trained on all slides, into one file.

    Args:
        source: a project, what `sammil train` wrote, or a folder of trained models.
        fold: the name of the only model that is taken; None = all.
        refit: how to train one model on all slides (`stages.refit`); None = the folds are taken.
        bags, labels: for that; None = those of the project.
        report: what `sammil evaluate` wrote; None = the folder `report` of the project.

    Raises:
        InputError: no models, no such fold, or a name that no bundle has.
    """
    if out.suffix != SUFFIX:
        raise InputError(f"{out} does not end in {SUFFIX}", remedy=f"-o {out.with_suffix(SUFFIX)}")
    if refit is not None and fold is not None:
        raise InputError(f"a refit is of all slides, not of the fold {fold}", remedy="leave out --refit, or --fold")
    if refit is None and (other := next((one for one in (bags, labels) if one is not None), None)):
        raise InputError(f"{other} is for a refit, and none is asked for", remedy="add --refit, or leave it out")
    models = open_models(source, "cpu", report=report)
    if models.bundle is not None:
        raise InputError(f"{source} is a bundle already", remedy=f"see what is in it: sammil bundle show {source}")
    if refit is not None:
        home = _home(models)
        project = Project.at(Path(os.path.relpath(home)))
        project = replace(project, bags=bags or project.bags, labels=labels or project.labels)
        store = refit.store or find_store(home)
        of_folds = together([one.patient_thresholds for one in models.folds])
        with refitted(project, models, replace(refit, store=store)) as folder:
            model = replace(read_trained(folder, "cpu")[0], patient_thresholds=of_folds)
            return _write(out, models, {REFIT: (folder, model)}, intended_use, of=OF_FOLDS)
    named = {folder.resolve().name: (folder, one) for folder, one in zip(models.folders, models.folds, strict=True)}
    if fold is not None and fold not in named:
        hint = did_you_mean(fold, set(named))
        raise InputError(f"{source} has no model {fold!r}", remedy=hint or f"it has: {', '.join(named)}")
    if fold is not None and len(named) > 1:
        return _write(out, models, {fold: named[fold]}, intended_use, of=OF_ONE)
    return _write(out, models, named, intended_use, of=OF_ALL)


def _home(models: Models) -> Path:
    """The project that a run lies in: the nearest folder above it with labels, or the one above `runs`."""
    above = models.folders[0].resolve().parents[2:]
    return next((folder for folder in above if (folder / Project().labels).is_file()), above[0])


def _write(
    out: Path, models: Models, chosen: Mapping[str, tuple[ModelPath, TrainedFold]], intended_use: str, *, of: str
) -> BundleFacts:
    """Writes the chosen models, by name; `of`: what their performance is of."""
    facts = _facts(models, {name: one for name, (_, one) in chosen.items()}, intended_use, of)
    write_bundle(out, facts, {name: folder for name, (folder, _) in chosen.items()})
    count = f"{len(chosen)} models" if len(chosen) > 1 else "1 model"
    console.say(f"bundle: {count}, {out.stat().st_size / 1e6:,.1f} MB → {out}")
    if facts.no_performance:
        console.say(f"note: its expected performance is not known: {facts.no_performance}")
    return facts


def show(path: Path) -> BundleFacts:
    """Prints what is in a bundle, all of it verified; its models are not loaded.

    Raises:
        InputError: there is no such file; `E_DAMAGED`, it is no bundle, or not as it was written.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder, no bundle", remedy=f"make one: sammil bundle {path} -o model.sammil")
    facts, _ = read_bundle(path)
    console.say(*screen(path.name, facts))
    return facts


def _facts(models: Models, chosen: Mapping[str, TrainedFold], intended_use: str, of: str) -> BundleFacts:
    """What is known of the models, those of `chosen` the members."""
    folds, record = list(chosen.values()), models.record
    bags, performance = bags_of(folds), models.performance
    if isinstance(performance, Performance):
        performance = performance.model_copy(update={"of": of})
    return BundleFacts(
        schema=SUMMED,
        intended_use=intended_use,
        classes=list(folds[0].facts.classes),
        positive_class=folds[0].facts.positive_class,
        decision=decision_of(folds),
        members=[member_of(name, one) for name, one in chosen.items()],
        performance=performance if isinstance(performance, Performance) else None,
        no_performance=performance if isinstance(performance, str) else None,
        cohort=models.cohort,
        bags=bags,
        weights=weights_of([one.facts for one in folds]),
        trained=trained_by(record) if record else None,
        settings=record.params if record else None,
        conformal=ConformalEntry(**models.conformal.as_json()) if models.conformal else None,
    )
