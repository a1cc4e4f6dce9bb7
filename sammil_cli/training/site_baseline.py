"""What a model must beat that looks at no cell: the site a slide comes from, and how bright it is.

Stain, scanner and case mix differ between sites, and features show them (Howard et al. 2021, Nat. Commun. 12, 4423). A
model that does no better than these two may have learned nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sammil_cli.cohort.cohort import Member
from sammil_cli.training.baselines import class_shares, fit_mean_pool
from sammil_cli.training.decision import Decision
from sammil_cli.training.fold import Fold
from sammil_cli.training.thresholds import YOUDEN, Labels, Probabilities, Values, decide, fold_threshold

SITE_ONLY, BRIGHTNESS_ONLY = "site-only", "brightness-only"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a baseline says of a fold's test slides: scores (s, C), which rank, and predicted (s,).

    `on_val` (v, C): the scores of its validation slides; `threshold` of scores, None with more than two classes.
    """

    scores: Probabilities
    predicted: Labels
    on_val: Probabilities
    threshold: float | None


def site_shares(sites: Sequence[str | None], labels: Labels, classes: int) -> dict[str, Values]:
    """The class shares (C,) at each training site, smoothed: as if C more slides had the shares of all of them.

    A slide without a site belongs to none.
    """
    prior = class_shares(labels, classes)
    found = {}
    for site in sorted({site for site in sites if site is not None}):
        theirs = labels[[one == site for one in sites]]
        found[site] = (np.bincount(theirs, minlength=classes) + classes * prior) / (len(theirs) + classes)
    return found


def judge_by_site(fold: Fold, members: Mapping[str, Member], classes: int, decision: Decision = YOUDEN) -> Judgement:
    """The class shares of the slide's site in the training part; a site that it lacks has those of all sites.

    The threshold of two classes is chosen on validation for what the model's is (a fixed one is of shares); a site
    that was not seen is called as `majority` calls it. Scores are shares over those of all training slides, so that
    within a fold they rank as the shares do, and between folds, whose shares differ a little, an unseen site ranks
    nothing.
    """
    parts = {role: [members[slide] for slide in getattr(fold, role)] for role in ("train", "val", "test")}
    labels = {role: np.array([member.label for member in part], np.int64) for role, part in parts.items()}
    prior = class_shares(labels["train"], classes)
    known = site_shares([member.site for member in parts["train"]], labels["train"], classes)
    said = {
        role: np.stack([prior if member.site is None else known.get(member.site, prior) for member in parts[role]])
        for role in ("val", "test")
    }
    scores = {role: _over(one, prior) for role, one in said.items()}
    threshold = fold_threshold(labels["val"], scores["val"], decision.honest)
    if decision.rule == "fixed" and threshold is not None:
        threshold = float(_over(np.array([[1 - threshold, threshold]]), prior)[0, 1])
    is_seen = np.array([member.site in known for member in parts["test"]], np.bool_)
    called = decide(said["test"] if threshold is None else scores["test"], threshold)
    predicted = np.where(is_seen, called, int(prior.argmax()))
    return Judgement(scores=scores["test"], predicted=predicted, on_val=scores["val"], threshold=threshold)


def _over(shares: Values, prior: Values) -> Values:
    """Class shares (s, C) over those of all training slides (C,), summing to 1."""
    lift = np.divide(shares, prior, out=np.zeros_like(shares), where=prior > 0)
    return np.asarray(lift / lift.sum(axis=1, keepdims=True), np.float64)


def judge_by_brightness(
    fold: Fold, members: Mapping[str, Member], looks: Mapping[str, Values], classes: int, decision: Decision = YOUDEN
) -> Judgement:
    """Logistic regression on brightness and optical density, chosen as `mean-pool` is.

    Args:
        looks: (2,) of each slide, see `tissue.brightness`.
    """
    parts = {role: getattr(fold, role) for role in ("train", "val", "test")}
    labels = {role: np.array([members[slide].label for slide in part], np.int64) for role, part in parts.items()}
    seen = {role: np.stack([looks[slide] for slide in part]) for role, part in parts.items()}
    judge = fit_mean_pool(seen["train"], labels["train"], seen["val"], labels["val"], classes)
    on_val, scores = judge(seen["val"]), judge(seen["test"])
    threshold = fold_threshold(labels["val"], on_val, decision.honest)
    return Judgement(scores=scores, predicted=decide(scores, threshold), on_val=on_val, threshold=threshold)


def judge_confounders(
    fold: Fold,
    members: Mapping[str, Member],
    looks: Mapping[str, Values] | None,
    classes: int,
    decision: Decision = YOUDEN,
) -> dict[str, Judgement]:
    """Those of the two that can be had: by site where there are two or more, by brightness where it is known."""
    found = {}
    if len({member.site for member in members.values()} - {None}) > 1:
        found[SITE_ONLY] = judge_by_site(fold, members, classes, decision)
    if looks is not None:
        found[BRIGHTNESS_ONLY] = judge_by_brightness(fold, members, looks, classes, decision)
    return found
