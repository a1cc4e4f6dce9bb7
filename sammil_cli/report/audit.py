"""The leakage audit: what chose what on which slides, and what the parts of a fold share that they should not."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypedDict

from sammil_cli.cohort.cohort import Member
from sammil_cli.cohort.shared_patients import patients_in_names
from sammil_cli.report.intervals import Estimate
from sammil_cli.training.bag_content import Pair
from sammil_cli.training.fold import Fold

NOT_RECORDED = "not recorded"
_LISTED = 20  # pairs in metrics.json
_NAMED = 3
_PAIRS = (("train", "test"), ("val", "test"), ("train", "val"))


class Choice(TypedDict):
    """What was chosen (`what`), on which part of each fold; least and most slides and patients of a fold's part.

    `test_slides`: how many test slides, over all folds, are in that part of their own fold. All None where it is not
    recorded what it was chosen on.
    """

    what: str
    on: str
    slides: list[int] | None
    patients: list[int] | None
    test_slides: int | None


class Found(TypedDict):
    """Test slides, over all folds, that share something with the training or validation part; of how many."""

    test_slides: int
    of: int


class Audit(TypedDict):
    """See docs/evaluation.md, Leakage."""

    choices: list[Choice]
    shared_patients: dict[str, int]  # `train-test`, …: patients in both parts, over all folds
    patients_in_names: Found
    near_duplicates: Found
    near_duplicate_pairs: list[dict[str, object]]
    sites: int
    slides_without_site: int
    seen_sites: Found
    beside: dict[str, dict[str, float | None]]
    left_out: list[str]
    warnings: list[str]


def audit(
    folds: Sequence[Fold],
    members: Mapping[str, Member],
    patients: Mapping[str, str],
    pairs: Sequence[Pair],
    *,
    published: bool,
    beside: Mapping[str, Estimate],
    left_out: Sequence[str],
) -> Audit:
    """Looks at the folds as they were trained, and says what it found; nothing is assumed of how they were drawn.

    Args:
        members: the labelled slides, as they are judged.
        patients: of each slide, when the folds were drawn (splits.csv); a patient is shared if it is by either.
        pairs: slides with the same content.
        published: whether the test part validated, as `protocol: paper` has it.
        beside: AUC of the model minus that of each baseline that sees no cell.
        left_out: baselines that could not be had, with the reason.
    """
    tested = sum(len(fold.test) for fold in folds)
    slides = {slide for fold in folds for slide in (*fold.train, *fold.val, *fold.test)}
    in_names = patients_in_names([members[slide] for slide in sorted(slides)])
    site = {slide: members[slide].site for slide in slides}
    learnt = [_learnt(fold) for fold in folds]

    def count(key: Mapping[str, str | None]) -> Found:
        found = 0
        for fold, known in zip(folds, learnt, strict=True):
            there = {key.get(slide) for slide in known} - {None}
            found += sum(key.get(slide) in there for slide in fold.test)
        return {"test_slides": found, "of": tested}

    across = [
        {
            slide
            for pair in pairs
            for slide, other in (pair.slides, pair.slides[::-1])
            if slide in test and other in known
        }
        for test, known in zip((set(fold.test) for fold in folds), learnt, strict=True)
    ]
    parted = [pair for pair in pairs if any(set(pair.slides) & slides for slides in across)]
    result: Audit = {
        "choices": _choices(folds, patients, published=published),
        "shared_patients": {
            f"{one}-{other}": sum(len(_shared(fold, one, other, patients, members)) for fold in folds)
            for one, other in _PAIRS
        },
        "patients_in_names": count(dict(in_names)),
        "near_duplicates": {"test_slides": sum(map(len, across)), "of": tested},
        "near_duplicate_pairs": [_of_pair(pair, members) for pair in parted[:_LISTED]],
        "sites": len(set(site.values()) - {None}),
        "slides_without_site": sum(one is None for one in site.values()),
        "seen_sites": count(site),
        "beside": {name: _rounded(one) for name, one in beside.items()},
        "left_out": list(left_out),
        "warnings": [],
    }
    result["warnings"] = _warnings(result, folds, parted, published=published)
    return result


def _learnt(fold: Fold) -> set[str]:
    """The slides that a fold learned from or chose by, but for test slides, which the published protocol chooses by."""
    return {*fold.train, *fold.val} - set(fold.test)


def _shared(fold: Fold, one: str, other: str, then: Mapping[str, str], now: Mapping[str, Member]) -> set[str]:
    """The patients of both parts, by the table of folds or by the labels."""
    first, second = getattr(fold, one), getattr(fold, other)
    by_table = {then[slide] for slide in first} & {then[slide] for slide in second}
    return by_table | ({now[slide].patient_id for slide in first} & {now[slide].patient_id for slide in second})


def _choices(folds: Sequence[Fold], patients: Mapping[str, str], *, published: bool) -> list[Choice]:
    validation = "the test part itself" if published else "the validation part"
    on: list[tuple[str, str, Callable[[Fold], Iterable[str]]]] = [
        ("weights", "the training part", lambda fold: fold.train),
        *((what, validation, lambda fold: fold.val) for what in ("epoch", "threshold", "temperature")),
        ("what the baselines choose", validation, lambda fold: fold.val),
    ]
    found: list[Choice] = []
    for what, where, part in on:
        sizes = [len(set(part(fold))) for fold in folds]
        people = [len({patients[slide] for slide in part(fold)}) for fold in folds]
        both = sum(len(set(part(fold)) & set(fold.test)) for fold in folds)
        slides, persons = [min(sizes), max(sizes)], [min(people), max(people)]
        found.append({"what": what, "on": where, "slides": slides, "patients": persons, "test_slides": both})
    for what in ("settings and seed", "encoder"):
        found.append({"what": what, "on": NOT_RECORDED, "slides": None, "patients": None, "test_slides": None})
    return found


def _of_pair(pair: Pair, members: Mapping[str, Member]) -> dict[str, object]:
    one, other = (members.get(slide) for slide in pair.slides)
    same = one is not None and other is not None and one.patient_id == other.patient_id
    return {"slides": list(pair.slides), "share": pair.share, "same_patient": same}


def _rounded(found: Estimate) -> dict[str, float | None]:
    named = {"difference": found.value, "low": found.low, "high": found.high}
    return {name: None if math.isnan(value) else round(value, 6) for name, value in named.items()}


def _warnings(found: Audit, folds: Sequence[Fold], pairs: Sequence[Pair], *, published: bool) -> list[str]:
    """What makes the numbers too good, or may."""
    said = []
    shared = found["shared_patients"]
    if number := shared["train-test"] + (0 if published else shared["val-test"]):
        said.append(f"{number} times a patient is in the test part and in training or validation of one fold")
    if not published and (both := sum(len(set(fold.val) & set(fold.test)) for fold in folds)):
        said.append(f"{both} test slides are in the validation part of their own fold: they chose its epoch")
    if (twice := found["near_duplicates"])["test_slides"]:
        named = "; ".join(f"{one} and {other}" for one, other in (pair.slides for pair in pairs[:_NAMED]))
        more = f"; {len(pairs) - _NAMED} more pairs" if len(pairs) > _NAMED else ""
        said.append(
            f"{twice['test_slides']} of {twice['of']} test slides have a near-duplicate, by the content of the bags, "
            f"in training or validation ({named}{more}): delete one of each pair, or give both one patient_id"
        )
    if (names := found["patients_in_names"])["test_slides"]:
        said.append(
            f"{names['test_slides']} of {names['of']} test slides share a patient with training or validation by the "
            "names of the slides: write the column patient_id"
        )
    for name, one in found["beside"].items():
        difference, low, high = one["difference"], one["low"], one["high"]
        if difference is None or low is None or high is None or low > 0:
            continue
        verdict = "does not beat" if difference <= 0 else "is not shown to beat"
        said.append(f"the model {verdict} {name}: its AUC differs by {difference:+.3f} ({low:+.3f} to {high:+.3f})")
    return said
