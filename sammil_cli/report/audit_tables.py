"""The leakage audit and the results per site as tables."""

from collections.abc import Mapping

from sammil_cli.report.audit import Audit, Choice, Found
from sammil_cli.report.per_value import OfValue
from sammil_cli.report.tables import NAMES, Table, of_class

_MOST_SITES = 30  # rows; metrics.json has all


def tables_of_audit(
    found: Audit, sites: Mapping[str, OfValue], positive_class: str | None, level: float
) -> list[Table]:
    """What chose what, what the parts share, and each site's results.

    Args:
        found, sites, positive_class, level: `audit`, `per_site`, `positive_class` and `interval` of metrics.json.
    """
    of_sites = [site_table(sites, positive_class, level)] if sites else []
    return [_choices(found), _shared(found), *of_sites]


def _choices(found: Audit) -> Table:
    chosen: dict[tuple[str, ...], list[str]] = {}
    for one in found["choices"]:
        chosen.setdefault(_on(one), []).append(one["what"])
    return Table(
        title="Leakage: what was chosen on what",
        header=("chosen", "on", "slides", "patients", "test slides"),
        rows=[(", ".join(what), *on) for on, what in chosen.items()],
        note="Of each fold's part: slides, patients, and test slides of that fold in it, counted from runs/splits.csv. "
        "What is chosen on test slides flatters their numbers. Not recorded: whether other settings or seeds were "
        "tried on this cohort before (choose by val_auc alone), and which slides the encoder learned from (if public "
        "ones, maybe yours).",
    )


def _on(one: Choice) -> tuple[str, ...]:
    among = "–" if one["test_slides"] is None else str(one["test_slides"])
    return one["on"], _range(one["slides"]), _range(one["patients"]), among


def _range(found: list[int] | None) -> str:
    if found is None:
        return "–"
    low, high = found
    return str(low) if low == high else f"{low} to {high}"


def _shared(found: Audit) -> Table:
    patients = found["shared_patients"]
    both = ", ".join(f"{parts.replace('-', ' and ')} {number}" for parts, number in patients.items())
    rows = [
        ("patients", both),
        ("patients, by the names of slides", _of(found["patients_in_names"])),
        ("near-duplicate slides", _of(found["near_duplicates"])),
        ("sites", _of(found["seen_sites"]) if found["sites"] else "not known: labels.csv has no column site"),
    ]
    rows += [(f"AUC minus that of {name}", _difference(one)) for name, one in found["beside"].items()]
    rows += [("not compared with", text) for text in found["left_out"]]
    return Table(
        title="Leakage: what the parts of a fold share",
        header=("shared", "found"),
        rows=rows,
        note="Test slides over all folds whose patient, content or site is also in training or validation. "
        "Near-duplicates: at least half of the patches of the smaller bag have equal features, or the bags have equal "
        "means; another scan of the same glass is not found. site-only knows the class shares of the slide's site in "
        "training, brightness-only the mean brightness and optical density of the tissue: a model that does not beat "
        "them need not have learned more.",
    )


def _of(one: Found) -> str:
    return f"{one['test_slides']} of {one['of']} test slides"


def _difference(one: Mapping[str, float | None]) -> str:
    difference, low, high = one["difference"], one["low"], one["high"]
    if difference is None or low is None or high is None:
        return "–"
    return f"{difference:+.3f} ({low:+.3f} to {high:+.3f})"


def site_table(sites: Mapping[str, OfValue], positive_class: str | None, level: float) -> Table:
    """Results per site, the largest first."""
    ordered = sorted(sites.items(), key=lambda one: (-one[1]["slides"], one[0]))
    shown = ordered[:_MOST_SITES]
    more = f" {len(ordered) - len(shown)} smaller sites: metrics.json." if len(ordered) > len(shown) else ""
    names = ("auc", "accuracy", "f1")
    return Table(
        title=of_class(f"Each site, {100 * level:g} % interval", positive_class),
        header=("site", "slides", "patients", *(NAMES[name] for name in names)),
        rows=[
            (site, str(one["slides"]), str(one["patients"]), *(_value(one["metrics"][name]) for name in names))
            for site, one in shown
        ],
        note="The pooled predictions of each site's slides; no AUC where a site has one class. Sites differ by chance, "
        f"too: look at the intervals.{more}",
    )


def _value(one: Mapping[str, float | None]) -> str:
    value, low, high = one["pooled"], one["low"], one["high"]
    if value is None:
        return "–"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})"
