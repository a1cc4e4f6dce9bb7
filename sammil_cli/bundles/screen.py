"""A bundle as people see it: what `bundle.json` says, in 80 columns."""

import textwrap
from collections.abc import Iterator, Sequence

from sammil_cli.bundles.facts import UNKNOWN, BundleFacts, Estimate, MemberEntry, Performance
from sammil_cli.bundles.patient_thresholds import together
from sammil_cli.config import as_yaml
from sammil_cli.console import three_digits
from sammil_cli.features.detail_words import detail_words
from sammil_cli.features.encoder_details import EncoderDetails
from sammil_cli.storage.shown_text import shortened
from sammil_cli.storage.weights import COMMERCIAL_USE

_WIDTH, _INDENT = 80, 16
_METRICS = {"auc": "AUC", "sensitivity": "sensitivity", "specificity": "specificity", "f1": "F1"}
_OF_THEM = {"mean": "mean of their slides", "max": "highest of them"}
_LIBRARIES = ("python", "torch", "numpy", "safetensors")
_TISSUE = ("segmenter", "tissue_mpp")
_COLUMNS = "{:<22}{:>5}  {:>9}  {:>11}  {:>11}  {:>10}"


def screen(name: str, facts: BundleFacts) -> list[str]:
    """The lines of a bundle; `name`: of its file."""
    kinds = ", ".join(dict.fromkeys(member.model for member in facts.members))
    groups = "with" if facts.bags.group_features else "without"
    count = len(facts.members)
    lines = [f"{name}: {count} model{'s' if count > 1 else ''}, {kinds} {groups} group features", ""]
    for label, text in (*_use(facts), *_trained_on(facts), *_expected(facts)):
        lines += _row(label, text)
    lines += ["", *_members(facts.members), ""]
    for label, text in (*_cohort(facts), *_bags(facts), *_origin(facts)):
        lines += _row(label, text)
    return lines


def _row(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=f"{label:<{_INDENT}}", subsequent_indent=" " * _INDENT, break_on_hyphens=False
    )


def _use(facts: BundleFacts) -> Iterator[tuple[str, str]]:
    yield "intended use", facts.intended_use
    positive = f"; positive: {facts.positive_class}" if facts.positive_class else ""
    yield "classes", ", ".join(facts.classes) + positive
    decision = facts.decision
    number = "" if decision.threshold is None else f"{decision.threshold:.3f}, "
    yield "threshold", f"{number}{decision.chosen}"
    if of_patients := together([member.patient_thresholds for member in facts.members]):
        yield "  of patients", ", ".join(f"{value:.3f} by the {_OF_THEM[rule]}" for rule, value in of_patients.items())
    if facts.conformal:
        numbers = ", ".join(f"{len(scores)} {name}" for name, scores in facts.conformal.scores.items())
        yield "abstains", f"at a coverage of {facts.conformal.coverage:g}, by the patients of each class: {numbers}"
    yield "calibration", _calibration([member.temperature for member in facts.members])


def _trained_on(facts: BundleFacts) -> Iterator[tuple[str, str]]:
    """Of a model of all slides: for how long it was trained, and why."""
    words = {member.chosen_on for member in facts.members}
    epochs = facts.members[0].epoch + 1
    if words == {"folds"}:
        yield "trained on", f"all slides, {epochs} epochs: the median of what the folds chose"
    elif words == {"nothing"}:
        yield "trained on", f"all slides, {epochs} epochs, as they were set: nothing was chosen"


def _calibration(temperatures: Sequence[float]) -> str:
    low, high = min(temperatures), max(temperatures)
    if low == high == 1:
        return "none (temperature 1)"
    said = f"{low:.3f}" if f"{low:.3f}" == f"{high:.3f}" else f"{low:.3f} to {high:.3f}"
    return f"temperature {said}, which divides the logits"


def _expected(facts: BundleFacts) -> Iterator[tuple[str, str]]:
    found = facts.performance
    if found is None:
        yield "expected", f"{UNKNOWN}: {facts.no_performance}"
        return
    yield "expected", f"of {found.of}: {found.slides} slides of {found.patients} patients in {found.folds} fold(s)"
    if found.stamp:
        yield "", found.stamp
    for name, title in _METRICS.items():
        if estimate := getattr(found, name):
            yield f"  {title}", _estimate(estimate, found)
    if found.notice:
        yield "", f"note: {found.notice}"


def _estimate(one: Estimate, found: Performance) -> str:
    interval = f"{three_digits(one.low)} to {three_digits(one.high)}"
    folds = f"; over folds {three_digits(one.mean)} ± {three_digits(one.sd)}" if found.folds > 1 else ""
    return f"{three_digits(one.pooled)} ({found.interval:.0%}: {interval}){folds}"


def _members(members: Sequence[MemberEntry]) -> Iterator[str]:
    yield _COLUMNS.format("model", "epoch", "threshold", "temperature", "AUC, chosen", "has seen")
    for one in members:
        saw = "not known" if one.saw is None else one.saw
        numbers = (three_digits(one.threshold), three_digits(one.temperature), three_digits(one.val_auc))
        yield _COLUMNS.format(shortened(one.name, 21), one.epoch + 1, *numbers, saw)


def _cohort(facts: BundleFacts) -> Iterator[tuple[str, str]]:
    found = facts.cohort
    if found is None:
        yield "cohort", f"{UNKNOWN}: there was no run record"
    else:
        classes = ", ".join(f"{one.slides} {one.name} ({one.patients})" for one in found.classes)
        yield "cohort", f"{found.slides} slides of {found.patients} patients; slides (patients): {classes}"


def _bags(facts: BundleFacts) -> Iterator[tuple[str, str]]:
    bags = facts.bags
    settings = facts.settings or {}
    if known := [f"{key} {settings[key]}" for key in _TISSUE if key in settings]:
        yield "tissue", ", ".join(known)
    mpp = f"{UNKNOWN} µm per pixel"
    if bags.patch_mpp:
        low, high = (f"{value:.3g}" for value in bags.patch_mpp)
        mpp = f"{low if low == high else f'{low} to {high}'} µm per pixel"
    yield "patches", f"{bags.patch_px} px at {mpp}"
    made = bags.made_with.get("sam", {})
    if made:
        said = ", ".join(f"{key} {as_yaml(value)}" for key, value in made.items() if key not in ("weights", "proposer"))
        yield "regions", f"{made.get('proposer', UNKNOWN)}: {said}"
    elif bags.group_features:
        yield "regions", UNKNOWN
    extract = ", ".join(f"{key} {as_yaml(value)}" for key, value in bags.made_with.get("extract", {}).items())
    yield "encoder", f"{bags.encoder}, {bags.dim} numbers a patch" + (f": {extract}" if extract else "")
    if words := detail_words(EncoderDetails(**bags.encoder_details.model_dump())):
        yield "", words
    for one in facts.weights:
        name = one.name if one.word in (None, one.name) else f"{one.name} ({one.word})"
        terms = f"licence: {one.licence}; commercial use: {COMMERCIAL_USE[one.commercial]}"
        yield "weights", f"of {one.used_for}, {name}: sha256 {one.sha256[:16]}…; {terms}"


def _origin(facts: BundleFacts) -> Iterator[tuple[str, str]]:
    run = facts.trained
    if run is None:
        yield "trained by", UNKNOWN
        return
    libraries = ", ".join(f"{name} {run.libraries[name]}" for name in _LIBRARIES if name in run.libraries)
    yield (
        "trained by",
        f"{run.tool} with {libraries} on {run.device.get('gpu') or run.device.get('processor', UNKNOWN)}",
    )
    if run.git:
        changed = f", {len(run.git.changed)} file(s) changed since" if run.git.changed else ""
        yield "project at", f"Git commit {run.git.revision}{changed}"
