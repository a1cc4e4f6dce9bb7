"""The leakage audit of an evaluation: gathered from the folds, the labels, the bags and the tissue's pictures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sammil_cli.cohort.cohort import Member
from sammil_cli.config import EvaluateSettings
from sammil_cli.project.project import Project
from sammil_cli.report.audit import audit
from sammil_cli.report.intervals import paired_difference
from sammil_cli.report.metrics import Predictions
from sammil_cli.report.per_value import per_site
from sammil_cli.tissue.brightness import read_look
from sammil_cli.training.bag_content import BagContents, same_content
from sammil_cli.training.fold import Fold, patients_of_folds
from sammil_cli.training.site_baseline import BRIGHTNESS_ONLY, SITE_ONLY
from sammil_cli.training.thresholds import Values


@dataclass(frozen=True, kw_only=True)
class Looks:
    """Brightness and optical density of each slide's tissue, (2,); where one lacks them `of` is None, see `missing`."""

    of: Mapping[str, Values] | None
    missing: str


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What an evaluation has met: `others` are the baselines' predictions; `published`: the test part validated."""

    folds: Sequence[Fold]
    members: Mapping[str, Member]
    rows: Predictions
    others: Mapping[str, Predictions]
    contents: BagContents
    looks: Looks
    published: bool


def read_looks(project: Project, slides: Iterable[str]) -> Looks:
    """The looks of all slides. They come from files that the bags were made with: DVC sees them through these."""
    found = {slide: read_look(project.tissue, slide) for slide in sorted(slides)}
    known = {slide: look for slide, look in found.items() if look is not None}
    lacking = len(found) - len(known)
    said = f"{lacking} of {len(found)} slides have no readable picture of segment" if lacking else ""
    return Looks(of=None if lacking else known, missing=said)


def leakage(project: Project, settings: EvaluateSettings, met: Evidence) -> dict[str, object]:
    """`audit` and `per_site` of metrics.json."""
    level, draws = settings.interval, settings.bootstrap_draws
    beside = {
        name: paired_difference(met.others[name], met.rows, "auc", level=level, draws=draws)
        for name in (SITE_ONLY, BRIGHTNESS_ONLY)
        if name in met.others
    }
    sites = {member.site for member in met.members.values()} - {None}
    left_out = []
    if SITE_ONLY not in beside:
        why = "all slides are of one site" if sites else "labels.csv has no column site"
        left_out.append(f"{SITE_ONLY}: {why}")
    if BRIGHTNESS_ONLY not in beside:
        left_out.append(f"{BRIGHTNESS_ONLY}: {met.looks.missing}")
    found = audit(
        met.folds,
        met.members,
        patients_of_folds(project.splits),
        same_content(met.contents),
        published=met.published,
        beside=beside,
        left_out=left_out,
    )
    site = {slide: member.site for slide, member in met.members.items()}
    return {"audit": found, "per_site": per_site(met.rows, site, level=level, draws=draws)}
