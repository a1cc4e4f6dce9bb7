"""Folds of whole sites: every site is in one part, the classes as even over the parts as that allows."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sammil_cli.cohort.cohort import Cohort
from sammil_cli.errors import InputError

Positions = NDArray[np.int64]  # of patients
Parts = tuple[Positions, Positions, Positions]  # train, val, test

_STARTS = 20  # of the search, in other orders of the sites
_MOST_SWAPPED = 24  # sites; exchanging pairs of more takes seconds, and moves alone are enough
_MISSING = 1e3  # what a class that a part lacks costs: more than any unevenness
_BY_PATIENT = "folds_by: patient"


def sites_of(cohort: Cohort) -> dict[str, str]:
    """The site of each patient.

    Raises:
        InputError: a slide has no site, or a patient two.
    """
    without = [member.slide_id for member in cohort.members if member.site is None]
    if len(without) == len(cohort.members):
        remedy = f"add the column site to labels.csv, or set {_BY_PATIENT}"
        raise InputError("folds_by: site needs to know the sites, and the labels have no column site", remedy=remedy)
    if without:
        raise InputError(
            f"folds_by: site needs the site of every slide; {len(without)} have none, such as {without[0]!r}",
            remedy=f"fill the column site of labels.csv, or set {_BY_PATIENT}",
        )
    found: dict[str, str] = {}
    for member in cohort.members:
        site = str(member.site)
        if (other := found.setdefault(member.patient_id, site)) != site:
            raise InputError(
                f"patient {member.patient_id!r} has slides of two sites, {other!r} and {site!r}: folds_by: site cannot "
                "keep both whole",
                remedy=f"correct the column site, or set {_BY_PATIENT}",
            )
    return found


def check_given_sites(parts: Mapping[str, set[str]], site: Mapping[str, str]) -> None:
    """Refuses parts of the column `split` that share a site.

    Args:
        parts: role -> patients. site: of each patient.
    """
    seen: dict[str, str] = {}
    for role in ("train", "val", "test"):
        for patient in sorted(parts[role]):
            if (other := seen.setdefault(site[patient], role)) != role:
                raise InputError(
                    f"site {site[patient]!r} is in {other} and in {role} of the column split, and folds_by: site keeps "
                    "sites whole",
                    remedy=f"give a site to one part, or set {_BY_PATIENT}",
                )


def parts_by_site(
    labels: NDArray[np.int64],
    sites: Sequence[str],
    classes: Sequence[str],
    *,
    folds: int,
    val_fraction: float | None,
    seed: int,
) -> list[Parts]:
    """The parts of every fold, as positions of patients.

    Args:
        labels, sites: (p,) of the patients.
        val_fraction: the share of the patients beside a test part that validate; None = the test part does.

    Raises:
        InputError: too few sites, or a class at too few of them; the remedy has been tried.
    """
    names, place = np.unique(np.array(sites), return_inverse=True)
    counts = np.zeros((len(names), len(classes)), np.int64)
    np.add.at(counts, (place, labels), 1)

    def attempt(number: int) -> list[Parts] | str:
        return _attempt(counts, place, classes, number, val_fraction, seed)

    found = attempt(folds)
    if not isinstance(found, str):
        return found
    fewer = next((n for n in range(min(folds - 1, len(names)), 1, -1) if not isinstance(attempt(n), str)), None)
    remedy = f"set folds to {fewer}, or {_BY_PATIENT}" if fewer else f"set {_BY_PATIENT}, or add sites"
    raise InputError(found, remedy=remedy)


def inner_by_site(
    labels: NDArray[np.int64], sites: Sequence[str], classes: Sequence[str], val_fraction: float, seed: int
) -> tuple[Positions, Positions]:
    """Whole sites of some patients as training and validation part, positions into them.

    Raises:
        InputError: no choice of sites leaves every class in both.
    """
    names, place = np.unique(np.array(sites), return_inverse=True)
    counts = np.zeros((len(names), len(classes)), np.int64)
    np.add.at(counts, (place, labels), 1)
    part = deal(counts, (1 - val_fraction, val_fraction), seed)
    if part is None:
        raise InputError(
            f"of the {len(names)} sites beside the test part no choice leaves every class in training and validation",
            remedy=f"give val a site in the column split, or set {_BY_PATIENT}",
        )
    return np.flatnonzero(part[place] == 0), np.flatnonzero(part[place] == 1)


def _attempt(
    counts: NDArray[np.int64],
    place: Positions,
    classes: Sequence[str],
    folds: int,
    val_fraction: float | None,
    seed: int,
) -> list[Parts] | str:
    """The parts, or why they cannot be had; counts (S, C) patients of each class at a site, place (p,) their site."""
    sites = len(counts)
    if sites < folds:
        return f"{sites} site{'s' * (sites != 1)}, and {folds} folds of whole sites need one for each test part"
    at = (counts > 0).sum(axis=0)  # sites of each class
    rare = int(at.argmin())
    told = f"class {classes[rare]!r} is at {at[rare]} of {sites} sites"
    outer = deal(counts, np.full(folds, 1 / folds), seed)
    if outer is None:
        return f"{told}: {folds} test parts of whole sites cannot all hold every class"
    found: list[Parts] = []
    for number in range(folds):
        test = np.flatnonzero(outer[place] == number)
        rest = np.flatnonzero(outer != number)  # sites
        if val_fraction is None:
            train = np.flatnonzero(np.isin(place, rest))
            found.append((train, test, test))
            continue
        inner = deal(counts[rest], (1 - val_fraction, val_fraction), seed)
        if inner is None:
            return (
                f"{told}: beside the test part of fold {number}, training and validation cannot both hold every class"
            )
        train, val = (np.flatnonzero(np.isin(place, rest[inner == part])) for part in (0, 1))
        found.append((train, val, test))
    return found


def deal(counts: NDArray[np.int64], shares: Sequence[float] | NDArray[np.float64], seed: int) -> Positions | None:
    """Deals sites to parts so that each part holds about its share of every class.

    The squared distance from these shares, summed over parts and classes (each class counts alike, however rare), is
    made small by moving and exchanging sites, from several random starts.

    Args:
        counts: (S, C) patients of each class at each site. shares: (K,) of each part, sum 1.

    Returns:
        (S,) the part of each site; None where some part would lack a class.
    """
    if len(counts) < len(shares) or not counts.any(axis=0).all():
        return None
    weight = counts / counts.sum(axis=0)  # (S, C)
    wanted = np.asarray(shares, np.float64)[:, None]
    generator = np.random.default_rng(seed)
    found = [_search(weight, wanted, generator) for _ in range(_STARTS)]
    cost, best = min(found, key=lambda one: one[0])
    return best if cost < _MISSING else None


def _cost(held: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of parts (…, K, C) that hold these shares of the classes."""
    lacking = (held < 1e-12).sum(axis=(-2, -1))
    return np.asarray(((held - wanted) ** 2).sum(axis=(-2, -1)) + _MISSING * lacking, np.float64)


def _search(
    weight: NDArray[np.float64], wanted: NDArray[np.float64], generator: np.random.Generator
) -> tuple[float, Positions]:
    """One start: sites are placed one by one, the larger ones mostly first, then moved while that helps."""
    sites, parts = len(weight), len(wanted)
    order = np.argsort(-weight.sum(axis=1) * generator.uniform(0.5, 1.5, sites))
    part = np.full(sites, -1, np.int64)
    held = np.zeros((parts, weight.shape[1]))
    step = np.eye(parts)[:, :, None]  # (K, K, 1): the site in each of the parts
    for site in order:
        part[site] = int(_cost(held + step * weight[site], wanted).argmin())
        held[part[site]] += weight[site]
    cost, better = float(_cost(held, wanted)), True
    while better:
        better = False
        for site in order:
            without = held.copy()
            without[part[site]] -= weight[site]
            costs = _cost(without + step * weight[site], wanted)
            if costs.min() < cost - 1e-12:
                part[site] = int(costs.argmin())
                held, cost, better = _held(weight, part, parts), float(costs.min()), True
        if not better and sites <= _MOST_SWAPPED:
            cost, better = _swap(weight, wanted, part, cost)
            held = _held(weight, part, parts)
    return cost, part


def _swap(weight: NDArray[np.float64], wanted: NDArray[np.float64], part: Positions, cost: float) -> tuple[float, bool]:
    """Exchanges the first two sites for which that helps, in place; the cost, and whether there were such."""
    for one in range(len(part)):
        for other in range(one + 1, len(part)):
            if part[one] == part[other]:
                continue
            part[[one, other]] = part[[other, one]]
            now = float(_cost(_held(weight, part, len(wanted)), wanted))
            if now < cost - 1e-12:
                return now, True
            part[[one, other]] = part[[other, one]]
    return cost, False


def _held(weight: NDArray[np.float64], part: Positions, parts: int) -> NDArray[np.float64]:
    """(K, C) the share of each class in each part."""
    held = np.zeros((parts, weight.shape[1]))
    np.add.at(held, part, weight)
    return held
