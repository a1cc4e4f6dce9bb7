"""Whether the loss terms are of one order: the averaged gradient of each beside that of the bag's classification."""

import math
import statistics
from collections.abc import Mapping, Sequence

LEAST, MOST = 0.001, 1.0  # of the bag's gradient: below, a term does nothing; above, it rules
_BAG, _PREFIX = "bag", "gradient_"
_WEIGHTS = {"pseudo_bags": "pseudo_bag_weight", "consistency": "consistency_weight"}


def shares_of_bag(curve: Sequence[Mapping[str, float]], chosen: int) -> dict[str, float]:
    """The averaged gradient of each loss term over that of the bag: the median over the epochs up to the chosen one.

    Those epochs made the weights that are kept. One alone is noisy, and after them the bag's gradient goes to 0 as the
    training slides are learned by heart, so that any other term looks large beside it.

    Args:
        curve: figures of each epoch (`learning_curves.read_curve`). chosen: the epoch of the fold's weights, from 0.

    Returns:
        By term; without the bag itself, without terms that have no gradient, and empty where there is no bag's term.
    """
    epochs = curve[: chosen + 1]
    found = {}
    for name in epochs[0] if epochs else ():
        term = name.removeprefix(_PREFIX)
        if name == term or term == _BAG:
            continue
        pairs = [(figures[name], figures.get(_PREFIX + _BAG, 0.0)) for figures in epochs]
        ratios = [one / bag for one, bag in pairs if bag > 0 and not math.isnan(one)]
        if ratios:
            found[term] = statistics.median(ratios)
    return found


def describe(found: Mapping[str, Mapping[str, float]], facts: Mapping[str, str]) -> str:
    """One line on what each term amounts to; empty where there is nothing to compare.

    Args:
        found: fold -> `shares_of_bag`. facts: what to say of a term, by its name.
    """
    parts = []
    for term, values in _by_term(found).items():
        about = f" ({facts[term]})" if term in facts else ""
        parts.append(f"{term}{about} {percent(statistics.median(values.values()))}")
    return f"gradient, of the bag's: {', '.join(parts)}" if parts else ""


def warnings(found: Mapping[str, Mapping[str, float]], facts: Mapping[str, str]) -> list[str]:
    """A line for each term whose gradient is out of proportion, with the folds where it is; arguments as `describe`.

    Only of terms whose weights are to be found on the user's own bags: other models' are their papers'.
    """
    lines = []
    for term, values in _by_term(found).items():
        if term not in _WEIGHTS:
            continue
        small = {fold: value for fold, value in values.items() if value < LEAST}
        large = {fold: value for fold, value in values.items() if value > MOST}
        about = f" ({facts[term]})" if term in facts else ""
        for folds, verdict in ((small, _too_small(term)), (large, _too_large(term))):
            if folds:
                middle = percent(statistics.median(folds.values()))
                where = f"all {len(folds)} folds" if len(folds) == len(values) else ", ".join(folds)
                lines.append(f"the gradient of {term}{about} is {middle} of the bag's in {where}: {verdict}")
    return lines


def percent(share: float) -> str:
    """A share to two digits: `0.051 %`, `350 %`."""
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def _too_small(term: str) -> str:
    hint = " (with consistency_form: divergence one value suits bags of every size)" if term == "consistency" else ""
    return f"it trains as if the term were not there; raise {_WEIGHTS[term]}{hint}, or set it to 0"


def _too_large(term: str) -> str:
    return f"the term outweighs the classification; lower {_WEIGHTS[term]}"


def _by_term(found: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """term -> fold -> share."""
    terms = dict.fromkeys(term for shares in found.values() for term in shares)
    return {term: {fold: shares[term] for fold, shares in found.items() if term in shares} for term in terms}
