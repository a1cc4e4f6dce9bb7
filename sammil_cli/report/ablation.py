"""Tables on a user's own cohort: SAM-MIL's (the paper's, 1 to 7), SRMIL's, and of the protocols."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from sammil_cli.report.comparison import WHAT_VERDICTS_MEAN, Comparison, compare_predictions, verdict
from sammil_cli.report.estimate import Estimate
from sammil_cli.report.intervals import bootstrap
from sammil_cli.report.metrics import Predictions, fold_metrics, over_folds
from sammil_cli.report.paired_tests import holm
from sammil_cli.report.published import with_published
from sammil_cli.report.tables import Table, of_class, shown_p

_NO_BAG_LEVEL = {"pseudo_bag_weight": 0.0, "consistency_weight": 0.0}
_SHOWN = {"auc": "AUC", "f1": "F1", "accuracy": "accuracy"}
_WITHOUT, _WITH = {"group_features": False, "group_feature_flag": False}, {"group_features": True}
_MODELS = (
    *("mean", "max", "abmil", "dsmil", "clam-sb", "clam-mb", "transmil", "dtfd", "ibmil", "mhim", "sam-mil", "srmil"),
    "transformer",
)
_WITH_GROUPS = "-groups"  # of a model's variant
# The paper's Table 1 in its order; only SAM-MIL has group features.
_TABLE_1 = ("max", "mean", "abmil", "dsmil", "clam-sb", "clam-mb", "transmil", "dtfd", "ibmil", "mhim")
_SAM_MIL, _SRMIL = "sam-mil", "srmil"
_OF_PAIRS = "abmil"
OTHER_SEED = "same model, other seed"
_OTHER_SEED = "-other-seed"
_SHARES = (0.3, 0.5, 0.9)  # of nodes that SRMIL hides, beside the user's own
_RECONSTRUCTION, _UNMASKED = "model_options.reconstruction_weight", "model_options.unmasked_weight"

# What each variant sets, in keys of -S; all else is as the user's settings say. SAM-MIL's masking is studied without
# its bag-level terms.
VARIANTS: dict[str, dict[str, Any]] = {
    "baseline": {**_WITHOUT, "mask_strategy": "none", **_NO_BAG_LEVEL},
    "no-mask": {**_WITH, "mask_strategy": "none", **_NO_BAG_LEVEL},
    "flagged": {**_WITH, "group_feature_flag": True, "mask_strategy": "none", **_NO_BAG_LEVEL},
    "random": {"mask_strategy": "random", **_NO_BAG_LEVEL},
    "non-group": {"mask_strategy": "non-group", **_NO_BAG_LEVEL},
    "instance": {"mask_strategy": "sam-guided", "mask_ratio_function": "sigmoid", **_NO_BAG_LEVEL},
    "constant": {"mask_strategy": "sam-guided", "mask_ratio_function": "constant", **_NO_BAG_LEVEL},
    "linear": {"mask_strategy": "sam-guided", "mask_ratio_function": "linear", **_NO_BAG_LEVEL},
    "bag": {"mask_strategy": "none"},
    "no-consistency": {"consistency_weight": 0.0},
    "full": {},
    "paper-protocol": {"protocol": "paper"},
    **{
        f"{model}{suffix}": {"model": model, "model_options": {}, **groups}
        for model in _MODELS
        for suffix, groups in (("", _WITHOUT), (_WITH_GROUPS, _WITH))
    },
    **{f"mask-share-{share}": {"model_options.mask_share": share} for share in _SHARES},
    "only-unmasked": {_RECONSTRUCTION: 0.0, _UNMASKED: 2.0},
    "only-masked": {_RECONSTRUCTION: 0.0, _UNMASKED: 0.0},
    "no-reconstruction": {_RECONSTRUCTION: 0.0},
    "no-masked": {_UNMASKED: 2.0},
    "no-unmasked": {_UNMASKED: 0.0},
}


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """A table: its title and its rows, each a variant and its name in the paper; the last row is the paper's choice.

    `model`: the one that it takes apart, None = the table is made whatever the model; `pairs`: every second row is
    compared with the one above it, instead of all with the last.
    """

    title: str
    rows: tuple[tuple[str, str], ...]
    model: str | None = _SAM_MIL
    pairs: bool = False

    @property
    def reference(self) -> str:
        """The variant that is trained with another seed as well, to see how far a seed alone moves it."""
        variants = [variant for variant, _ in self.rows]
        return variants[-1] if not self.pairs else _OF_PAIRS if _OF_PAIRS in variants else variants[0]


_CORE = (("baseline", "AB-MIL core, patches only"), ("no-mask", "AB-MIL core, with group features"))


def _pairs(models: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Each model without and with group features."""
    ends = (("", ""), (_WITH_GROUPS, " with group features"))
    return tuple((f"{model}{suffix}", f"{model}{said}") for model in models for suffix, said in ends)


ABLATIONS: dict[str, Ablation] = {
    "1": Ablation(
        title="Models (Table 1)",
        rows=(*((model, model) for model in _TABLE_1), (f"{_SAM_MIL}{_WITH_GROUPS}", _SAM_MIL)),
        model=None,
    ),
    "2": Ablation(
        title="Components (Table 2)",
        rows=(
            *_CORE,
            ("flagged", "AB-MIL core, with group features, flagged (not in the paper)"),
            ("instance", "+ SAM, instance level (masking)"),
            ("bag", "+ SAM, bag level (pseudo-bags, consistency)"),
            ("full", "+ SAM, instance and bag level"),
        ),
    ),
    "3": Ablation(
        title="Masking strategies (Table 3)",
        rows=(
            *_CORE,
            ("random", "random mask"),
            ("non-group", "non-group mask"),
            ("instance", "SAM-guided group mask"),
        ),
    ),
    "4": Ablation(
        title="Mask ratio functions (Table 4)",
        rows=(*_CORE, ("constant", "constant"), ("linear", "linear"), ("instance", "adjusted sigmoid")),
    ),
    "5": Ablation(
        title="Group features in two models (Table 5)", rows=_pairs(("transmil", "mhim")), model=None, pairs=True
    ),
    "6": Ablation(
        title="Consistency (Table 6)",
        rows=(*_CORE, ("no-consistency", "without consistency"), ("full", "with consistency")),
    ),
    "7": Ablation(title="Group features in each model (as Table 7)", rows=_pairs(_MODELS), model=None, pairs=True),
    "protocol": Ablation(
        title="Protocols",
        rows=(("paper-protocol", "paper: selected on test, no estimate of generalisation"), ("full", "honest")),
        model=None,
    ),
    "mask": Ablation(
        title="Share of hidden nodes (SRMIL)",
        rows=(
            *((f"mask-share-{share}", f"{share:.0%} hidden") for share in _SHARES),
            ("full", "as set (published: 70%)"),
        ),
        model=_SRMIL,
    ),
    "losses": Ablation(
        title="Loss terms (SRMIL)",
        rows=(
            ("only-unmasked", "classification, nothing hidden"),
            ("only-masked", "classification of what is left"),
            ("no-reconstruction", "both classifications"),
            ("no-masked", "reconstruction, classification with nothing hidden"),
            ("no-unmasked", "reconstruction, classification of what is left"),
            ("full", "reconstruction, both classifications"),
        ),
        model=_SRMIL,
    ),
}

# Of each model that can be taken apart, the tables that are made where none is named.
DEFAULT_TABLES = {_SAM_MIL: ("2", "3", "4", "6"), _SRMIL: ("mask", "losses")}


def tables_of(model: str) -> list[str]:
    """The tables that can be made with a model."""
    return [name for name, ablation in ABLATIONS.items() if ablation.model in (None, model)]


def variants_of(names: Sequence[str]) -> list[str]:
    """The variants that these tables need, each once; without those of another seed."""
    return list(dict.fromkeys(variant for name in names for variant, _ in ABLATIONS[name].rows))


def references_of(names: Sequence[str]) -> list[str]:
    """The variants that these tables need with another seed, each once."""
    return list(dict.fromkeys(ABLATIONS[name].reference for name in names))


def with_other_seed(variant: str) -> str:
    """What a variant trained with another seed is called, in files and among what `make_table` is given."""
    return f"{variant}{_OTHER_SEED}"


def make_table(name: str, found: Mapping[str, Predictions], *, level: float, draws: int) -> Table:
    """One table: mean ± sd over folds, the pooled value with its interval, and the difference to another row.

    What the paper has stands beside it, see `report.published`.

    Args:
        found: out-of-fold predictions by variant, and by `with_other_seed` of the reference; rows without them are
            left out.
        level, draws: see `report.intervals.bootstrap`.
    """
    ablation = ABLATIONS[name]
    variants = [variant for variant, _ in ablation.rows if variant in found]
    rows = [(label, found[variant]) for variant, label in ablation.rows if variant in found]
    reference, again = found.get(ablation.reference), found.get(with_other_seed(ablation.reference))
    seed = None
    if reference is not None and again is not None:
        seed = compare_predictions(reference, again, "auc", level=level, draws=draws)
    if ablation.pairs:
        pairs = (ablation.rows[at : at + 2] for at in range(0, len(ablation.rows), 2))
        there = ([(label, found[variant]) for variant, label in pair if variant in found] for pair in pairs)
        gaps = [*chain.from_iterable(differences(pair, 0, level=level, draws=draws) for pair in there)]
        place, label, to = len(rows), f"{ablation.reference}, other seed, minus {ablation.reference}", "row above"
    else:
        gaps = differences(rows, len(rows) - 1, level=level, draws=draws)
        place, label, to = len(rows) - 1, OTHER_SEED, "last row"
    if again is not None and seed is not None:
        rows.insert(place, (label, again))
        gaps.insert(place, seed)
        variants.insert(place, with_other_seed(ablation.reference))
    return with_published(comparison(ablation.title, rows, gaps, to, seed, level=level, draws=draws), name, variants)


def differences(
    rows: Sequence[tuple[str, Predictions]], reference: int, *, level: float, draws: int
) -> list[Comparison | None]:
    """The AUC of each row minus that of the reference, on the same draws of patients; None for the reference itself."""
    return [
        None if place == reference else compare_predictions(rows[reference][1], one, "auc", level=level, draws=draws)
        for place, (_, one) in enumerate(rows)
    ]


def comparison(
    title: str,
    rows: Sequence[tuple[str, Predictions]],
    gaps: Sequence[Comparison | None],
    reference: str,
    other_seed: Comparison | None,
    *,
    level: float,
    draws: int,
) -> Table:
    """A table of runs on the same folds.

    Args:
        rows: label and out-of-fold predictions. gaps: of each row, see `differences`. reference: what it is called.
        other_seed: the one of `gaps` that is the same model with another seed; None = not trained.
    """
    adjusted = iter(holm([gap.p for gap in gaps if gap is not None and gap is not other_seed]))
    cells = []
    for (label, one), gap in zip(rows, gaps, strict=True):
        spread = over_folds([fold_metrics(p.labels, p.probabilities, p.predicted) for p in one.by_fold()])
        means = []
        for metric in _SHOWN:
            mean, sd = spread[metric]["mean"], spread[metric]["sd"]
            means.append("–" if mean is None else f"{100 * mean:.1f} ± {100 * (sd or 0):.1f}")
        area = bootstrap(one, level=level, draws=draws)["auc"]
        pooled = in_points(area, "")
        beside = ("–", "–") if gap is None or gap is other_seed else _beside(gap, other_seed, next(adjusted))
        cells.append((label, *means, pooled, "–" if gap is None else in_points(gap.value), *beside))
    known = all(gap.retraining_known for gap in gaps if gap is not None)
    return Table(
        title=of_class(title, rows[0][1].positive_class),
        header=("variant", *_SHOWN.values(), f"AUC pooled [{level:.0%}]", f"AUC minus {reference}", *BESIDE),
        rows=cells,
        note="All × 100 but p. ± is the sd over folds, their spread and no error. "
        f"{WITH_TRAINING if known else WITHOUT_TRAINING} {WHAT_VERDICTS_MEAN}",
    )


BESIDE = ("p (Holm)", "shown")
WITH_TRAINING = "Intervals: patients drawn anew, and models and folds, by how far the repeats lie apart."
WITHOUT_TRAINING = (
    "Intervals: patients drawn anew; with one repeat they do not say how far another training would move."
)


def _beside(gap: Comparison, other_seed: Comparison | None, p: float) -> tuple[str, str]:
    return shown_p(p), verdict(gap, other_seed, adjusted=p)


def in_points(found: Estimate, sign: str = "+") -> str:
    """A difference and its interval, × 100 and with signs; without what is not defined.

    Args:
        sign: empty = of a number that is no difference.
    """
    if math.isnan(found.value):
        return "–"
    value, low, high = (f"{100 * one:{sign}.1f}" for one in (found.value, found.low, found.high))
    return value if math.isnan(found.low) else f"{value} [{low}, {high}]"
