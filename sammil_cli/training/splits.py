"""Folds by patient, or by site, drawn once from the seed."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit

from sammil_cli.cohort.class_sizes import small_classes
from sammil_cli.cohort.cohort import Cohort, Member, Patient, patients_of
from sammil_cli.cohort.given_folds import tests_overlap
from sammil_cli.cohort.roles import ROLES
from sammil_cli.errors import InputError
from sammil_cli.training.fold import Fold, fold_of_all
from sammil_cli.training.site_folds import check_given_sites, inner_by_site, parts_by_site, sites_of

_Positions = NDArray[np.int64]  # into the patients of one repeat


@dataclass(frozen=True)
class _Draw:
    """The outer folds of one repeat as positions into its patients: (all others, test part)."""

    patients: NDArray[np.str_]
    labels: NDArray[np.int64]
    members: tuple[Member, ...]  # in the order in which a part lists its slides
    outer: list[tuple[_Positions, _Positions]]


def draw_folds(
    cohort: Cohort,
    *,
    folds: int,
    repeats: int,
    val_fraction: float,
    seed: int,
    protocol: Literal["honest", "paper"] = "honest",
    published: bool = False,
    by: Literal["patient", "site"] = "patient",
) -> list[Fold]:
    """Stratified folds over patients; a patient counts for the highest class of its slides.

    Where labels.csv gives the folds (`cohort.given_folds`), these stand; `folds` and `published` do not count. Given
    folds whose test parts share slides are repeats of one fold each. Where `folds` is 1, or the labels give every slide
    to training, all slides train: `fold.fold_of_all`.

    Args:
        val_fraction: share of a fold's training patients that are its validation part; `honest` only.
        seed: of the first repeat; each next repeat has the next one.
        protocol: `honest` takes validation from the training patients; in `paper` it is the test part itself, as in
            the published code, and all other patients train (docs/methods.md §1).
        published: draw the test parts as the published code does (docs/methods.md §1): from all patients of the label
            file, in its order. Slides then stand in the order drawn, else in that of the file.
        by: `site` keeps whole sites (column `site`) in one part, and with them their patients.

    Raises:
        InputError: too few patients of a class, in all or in the training part of a fold; by site: a slide without
            one, a patient with two, or sites that cannot give every part every class.
    """
    if nothing_tested(cohort, folds):
        return _of_all(cohort, repeats, protocol)
    if any(member.parts for member in cohort.members):
        return _as_given(cohort, repeats, val_fraction if protocol == "honest" else None, seed, by_site=by == "site")
    validated = protocol == "honest"
    if by == "site":
        if published:
            raise InputError(
                "published_folds draws by patient, and folds_by is site",
                remedy="set published_folds to false, or folds_by to patient",
            )
        return _draw_by_site(cohort, sites_of(cohort), folds, repeats, val_fraction if validated else None, seed)
    result = []
    for repeat in range(repeats):
        if published:
            draw = _draw_as_published(cohort, folds, seed + repeat, validated=validated)
        else:
            draw = _draw_by_name(cohort, folds, seed + repeat, validated=validated)
        for number, (rest, test) in enumerate(draw.outer):
            name = f"fold {number} of repeat {repeat}"
            train, val = rest, test
            if validated:
                train, val = _inner(rest, draw.labels, cohort.classes, val_fraction, seed + repeat, name)
            _check_trained(cohort.classes, draw.labels[train], name)
            result.append(_fold(repeat, number, draw.members, draw.patients, (train, val, test)))
    return result


def nothing_tested(cohort: Cohort, folds: int) -> bool:
    """Whether all slides train: the labels say so, or one fold is asked for and they say nothing."""
    return cohort.trains_all or (folds == 1 and not any(member.parts for member in cohort.members))


def _of_all(cohort: Cohort, repeats: int, protocol: str) -> list[Fold]:
    """One fold of all slides a repeat."""
    if protocol == "paper":
        raise InputError(
            "protocol: paper chooses epoch and threshold on the test fold, and all slides are to be trained on",
            remedy="set protocol to honest, or folds to 2 or more",
        )
    slides = tuple(member.slide_id for member in cohort.members)
    _check_trained(cohort.classes, np.array([member.label for member in cohort.members]), "the labels")
    return [fold_of_all(slides, repeat) for repeat in range(repeats)]


def _as_given(cohort: Cohort, repeats: int, val_fraction: float | None, seed: int, *, by_site: bool) -> list[Fold]:
    """The folds that the labels give; where one has no validation part, it is drawn from its training patients.

    Args:
        val_fraction: None = the test part validates, and what was given for validation trains, too.
    """
    site = sites_of(cohort) if by_site else {}
    count = len(cohort.members[0].parts)
    single = tests_overlap(member.parts for member in cohort.members)  # each fold is a repeat
    result = []
    for repeat, number in product(range(repeats), range(count)):
        name = "the given fold" if count == 1 else f"given fold {number}"
        parts = {role: tuple(m for m in cohort.members if m.parts[number] == role) for role in ROLES}
        _check_given({role: {m.patient_id for m in part} for role, part in parts.items()}, site, name)
        if val_fraction is None:
            parts["train"] = tuple(m for m in cohort.members if m.parts[number] in ("train", "val"))
            parts["val"] = parts["test"]
        elif not parts["val"]:
            names, labels = _columns(sorted(patients_of(parts["train"]), key=lambda patient: patient.patient_id))
            rest = np.arange(len(names))
            if site:
                inner = inner_by_site(labels, [site[one] for one in names], cohort.classes, val_fraction, seed + repeat)
            else:
                inner = _inner(rest, labels, cohort.classes, val_fraction, seed + repeat, name)
            validating = set(names[inner[1]])
            parts["val"] = tuple(m for m in parts["train"] if m.patient_id in validating)
            parts["train"] = tuple(m for m in parts["train"] if m.patient_id not in validating)
        _check_trained(cohort.classes, np.array([m.label for m in parts["train"]]), name)
        if not parts["test"]:
            raise InputError(f"no slide of the test part of {name} is here", remedy="add its bags, or give it others")
        place = (repeat * count + number, 0) if single else (repeat, number)
        slides = {role: tuple(m.slide_id for m in part) for role, part in parts.items()}
        result.append(Fold(repeat=place[0], fold=place[1], **slides))
    return result


def _check_given(patients: Mapping[str, set[str]], site: Mapping[str, str], name: str) -> None:
    """Refuses a patient, or with `site` a site, in two parts of a given fold; `patients`: by part."""
    for one, other in combinations(ROLES, 2):
        if both := patients[one] & patients[other]:
            raise InputError(
                f"patient {min(both)!r} is in {one} and in {other} of {name}", remedy="give a patient to one part"
            )
    if site:
        check_given_sites(patients, site)


def _fold(
    repeat: int,
    number: int,
    members: Sequence[Member],
    patients: NDArray[np.str_],
    parts: tuple[_Positions, _Positions, _Positions],
) -> Fold:
    """A fold of the slides of some patients; `parts`: positions into them, by role."""
    named = {role: set(patients[chosen]) for role, chosen in zip(ROLES, parts, strict=True)}
    slides = {role: tuple(m.slide_id for m in members if m.patient_id in names) for role, names in named.items()}
    return Fold(repeat=repeat, fold=number, **slides)


def _draw_by_site(
    cohort: Cohort, site: Mapping[str, str], folds: int, repeats: int, val_fraction: float | None, seed: int
) -> list[Fold]:
    """By the names of patients and sites; `site`: of each patient, `val_fraction` None = the test part validates."""
    names, labels = _columns(sorted(patients_of(cohort.members), key=lambda patient: patient.patient_id))
    _check_enough(cohort, labels, folds, validated=val_fraction is not None)
    sites = [site[name] for name in names]
    drawn = (
        parts_by_site(labels, sites, cohort.classes, folds=folds, val_fraction=val_fraction, seed=seed + repeat)
        for repeat in range(repeats)
    )
    return [
        _fold(repeat, number, cohort.members, names, parts)
        for repeat, found in enumerate(drawn)
        for number, parts in enumerate(found)
    ]


def _draw_by_name(cohort: Cohort, folds: int, seed: int, *, validated: bool) -> _Draw:
    """By the names of the patients with slides: the order of the label file does not matter."""
    names, labels = _columns(sorted(patients_of(cohort.members), key=lambda patient: patient.patient_id))
    _check_enough(cohort, labels, folds, validated=validated)
    cutter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return _Draw(names, labels, cohort.members, list(cutter.split(names, labels)))


def _draw_as_published(cohort: Cohort, folds: int, seed: int, *, validated: bool) -> _Draw:
    """By the order of the label file, from all of its patients; then those without slides drop out."""
    patients = list(cohort.patients)
    random.Random(seed).shuffle(patients)  # noqa: S311 - the published generator, no secret
    names, labels = _columns(patients)
    _check_enough(cohort, labels, folds, validated=validated)
    place = {name: position for position, name in enumerate(names)}
    members = tuple(sorted(cohort.members, key=lambda member: place[member.patient_id]))
    here = np.isin(names, [member.patient_id for member in members])
    outer = [(rest[here[rest]], test[here[test]]) for rest, test in StratifiedKFold(folds).split(names, labels)]
    for number, (_, test) in enumerate(outer):
        if absent := set(range(len(cohort.classes))) - set(labels[test].tolist()):
            raise InputError(
                f"no patient of class {cohort.classes[min(absent)]!r} in the test part of published fold {number} has "
                f"slides: only {here.sum()} of the {len(patients)} patients of the labels have any",
                remedy="set published_folds to false, or add the missing slides",
            )
    return _Draw(names, labels, members, outer)


def _columns(patients: Sequence[Patient]) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    return np.array([p.patient_id for p in patients]), np.array([p.label for p in patients])


def _inner(
    rest: _Positions, labels: NDArray[np.int64], classes: Sequence[str], val_fraction: float, seed: int, name: str
) -> tuple[_Positions, _Positions]:
    """The training and the validation part of a fold, stratified.

    Args:
        rest: the patients that are not tested. name: of the fold, for messages.
    """
    size = max(len(classes), round(val_fraction * len(rest)))
    tally = Counter(labels[rest].tolist())
    single = next((classes[label] for label, number in sorted(tally.items()) if number == 1), None)
    if single is not None:
        raise InputError(
            f"{name}: class {single!r} has 1 patient beside the test part; training and validation need one each",
            remedy="add patients of this class, or drop it",
        )
    left = len(rest) - size
    if left < len(classes):
        raise InputError(
            f"{name}: of {len(rest)} patients beside the test part {size} are for validation, and {max(left, 0)} are "
            f"left to train {len(classes)} classes on",
            remedy=f"lower val_fraction ({val_fraction:g}), or add patients",
        )
    train, val = next(StratifiedShuffleSplit(1, test_size=size, random_state=seed).split(rest, labels[rest]))
    return rest[train], rest[val]


def _check_trained(classes: Sequence[str], trained: NDArray[np.int64], name: str) -> None:
    if absent := set(range(len(classes))) - set(trained.tolist()):
        raise InputError(
            f"{name}: no patient of class {classes[min(absent)]!r} is left to train on",
            remedy="lower val_fraction, add patients of this class, or drop it",
        )


def _check_enough(cohort: Cohort, labels: NDArray[np.int64], folds: int, *, validated: bool) -> None:
    tally = Counter(labels.tolist())
    patients = {name: tally[label] for label, name in enumerate(cohort.classes)}
    highest = {patient.patient_id: patient.label for patient in patients_of(cohort.members)}
    shared = Counter(
        cohort.classes[label]
        for label, patient in {(m.label, m.patient_id) for m in cohort.members}
        if label != highest[patient]
    )
    for small in small_classes(patients, folds, validated=validated, shared=shared):
        raise InputError(small.message, remedy=small.fix)
