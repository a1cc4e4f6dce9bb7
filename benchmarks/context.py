"""Does the context of regions help, and which part of SAM-MIL uses it? A benchmark that has the power to tell.

Slides are laid out of real tiles by region shapes, alike in both classes; the classes differ in the task alone
(`context_cohort.py`). Regions are a knob (`context_regions.py`), from the true ones to such as know nothing. A row of
the result is the core of SAM-MIL (attention over patches) with one part added, all of it, or the core with another
seed: what retraining alone does. Intervals are of Student's t over cohorts, each the mean over its seeds, since cohorts
and not trainings are independent. A training that was done is not done again; a killed run goes on at the next one.

    python benchmarks/context.py --tiles DIR --out results
    python benchmarks/context.py --tiles DIR --out results --cohorts 1 --seeds 1 --slides 60    # a small try
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import context_cohort
import context_regions
import numpy as np
import torch
from context_cohort import TASKS, Slide, make_cohort, with_regions
from context_regions import KINDS
from context_tiles import Tiles, read_tiles
from scipy import stats

from sammil_cli.mil.contract import Bag
from sammil_cli.mil.masking import keep_instances
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.recipe import Recipe
from sammil_cli.storage.code import code_of
from sammil_cli.storage.files import digest, sha256_file, write_json, write_text
from sammil_cli.storage.guarded_json import read_json
from sammil_cli.training.loop import area_under_curve, predict, train_fold
from sammil_cli.training.trained_model import build_model

_CORE: dict[str, Any] = {
    "group_features": False,
    "mask_strategy": "none",
    "pseudo_bag_weight": 0.0,
    "consistency_weight": 0.0,
}
_ALL = {"group_features": True, "mask_strategy": "sam-guided", "pseudo_bag_weight": 0.5, "consistency_weight": 0.01}
_NONE = "–"  # regions of a row that sees none
_CORE_ROW, _OTHER_SEED = "core, patches only", "core, another seed"
# What each row sets, beside the core's settings.
WITHOUT_REGIONS: dict[str, dict[str, Any]] = {
    _CORE_ROW: {},
    _OTHER_SEED: {},
    "+ pseudo-bags": {"pseudo_bag_weight": 0.5},
}
WITH_REGIONS: dict[str, dict[str, Any]] = {
    "+ group features": {"group_features": True},
    "+ group features, flagged": {"group_features": True, "group_feature_flag": True},
    "+ masks": {"mask_strategy": "sam-guided"},
    "+ masks, centre: median": {"mask_strategy": "sam-guided", "sigmoid_center": "median"},
    "+ consistency": {"consistency_weight": 0.01},
    "all of SAM-MIL": _ALL,
    "all of SAM-MIL, flagged": {**_ALL, "group_feature_flag": True},
}
# The knob is turned in full for these; the other rows get three kinds, which saves hours.
_WITH_ALL_KINDS = ("+ group features", "+ group features, flagged")
_KINDS_OF_OTHERS = ("true", "superpixels", "shuffled")

_VALIDATION = 0.2  # of the slides to train on
_SEED_STEP = 1000  # between a training and the same one with another seed
_PARTS = ("sammil_cli.training.loop", "sammil_cli.mil.models.sam_mil")


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training, and with the digests of tiles and code the key of its result."""

    task: str
    row: str
    regions: str
    cohort: int
    seed: int
    slides: int
    epochs: int


def main() -> None:
    """Trains what is not trained yet; writes `results.md` after each cohort."""
    asked = _arguments()
    torch.set_num_threads(1)
    tiles = read_tiles(asked.tiles, asked.normal, asked.out)
    made_with = {"tiles": tiles.digest, "code": _code()}
    plan = _plan(asked)
    total, begun, done, found = len(plan), time.monotonic(), 0, dict[Training, float]()
    cohorts: dict[tuple[str, int], tuple[list[Slide], list[Slide]]] = {}
    bags: dict[tuple[str, int, str], dict[str, tuple[Bag, int]]] = {}
    for number, training in enumerate(plan, start=1):
        path = asked.out / "trainings" / f"{digest({**asdict(training), **made_with})}.json"
        if path.is_file():
            found[training] = read_json(path)["auc"]
            continue
        place = (training.task, training.cohort)
        if place not in cohorts:
            cohorts = {place: make_cohort(tiles, training.task, training.slides, training.cohort)}
        if (*place, training.regions) not in bags:
            bags = {(*place, training.regions): _bags(training.regions, *cohorts[place])}
        start = time.monotonic()
        auc = _train(training, bags[*place, training.regions])
        seconds, done = time.monotonic() - start, done + 1
        write_json(path, {**asdict(training), **made_with, "auc": auc, "seconds": round(seconds, 1)})
        found[training] = auc
        left = (total - number) * (time.monotonic() - begun) / done
        what = f"{training.task}, cohort {training.cohort}, seed {training.seed}: {training.row} [{training.regions}]"
        print(f"{number}/{total} {what}: AUC {auc:.3f}, {seconds:.1f} s; at most {left / 60:.0f} min left", flush=True)
    text = _as_markdown(found, tiles, asked)
    write_text(asked.out / "results.md", text)
    print(text, f"results: {asked.out / 'results.md'}", sep="\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=Path, required=True, help="folder with tiles.csv (file,tissue,group)")
    parser.add_argument("--normal", default="lung_n", help="the tissue that is no tumour (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder of features, trainings and results")
    parser.add_argument("--cohorts", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each row on each cohort")
    parser.add_argument("--slides", type=int, default=400, help="of a cohort; half of them are judged")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--tasks", nargs="+", choices=sorted(TASKS), default=list(TASKS))
    parser.add_argument("--regions", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--rows", nargs="+", choices=list(WITH_REGIONS), default=list(WITH_REGIONS))
    asked = parser.parse_args()
    if asked.slides < 20:
        parser.error("--slides: at least 20")
    return asked


def _code() -> str:
    """Of what trains, and of this benchmark."""
    own = [sha256_file(Path(str(module.__file__))) for module in (context_cohort, context_regions)]
    return digest([*own, *(code_of(name).version for name in _PARTS)])


def _plan(asked: argparse.Namespace) -> list[Training]:
    """Cohort by cohort, so that an interrupted run has whole ones."""
    rows = [(row, _NONE) for row in WITHOUT_REGIONS]
    rows += [
        (row, kind)
        for kind in asked.regions
        for row in asked.rows
        if row in _WITH_ALL_KINDS or kind in _KINDS_OF_OTHERS
    ]
    return [
        Training(task=task, row=row, regions=kind, cohort=cohort, seed=seed, slides=asked.slides, epochs=asked.epochs)
        for cohort in range(asked.cohorts)
        for task in asked.tasks
        for seed in range(asked.seeds)
        for row, kind in rows
    ]


def _bags(kind: str, ours: Sequence[Slide], others: Sequence[Slide]) -> dict[str, tuple[Bag, int]]:
    """Bag and label of each slide, `ours-…` to train on and `others-…` to judge."""
    kind = "true" if kind == _NONE else kind
    return {
        f"{part}-{number}": (with_regions(slide, kind)[0], slide.label)
        for part, slides in (("ours", ours), ("others", others))
        for number, slide in enumerate(slides)
    }


def _train(training: Training, slides: Mapping[str, tuple[Bag, int]]) -> float:
    """The AUC on slides of tiles that the training has not seen; the epoch is chosen on a part of its own slides."""
    spec = _spec(training, next(iter(slides.values()))[0].features.shape[1])
    bags = {name: replace(bag, flagged=spec.group_feature_flag) for name, (bag, _) in slides.items()}
    labels = {name: label for name, (_, label) in slides.items()}
    seed = training.seed + _SEED_STEP * (training.row == _OTHER_SEED)
    torch.manual_seed(seed)
    model = build_model("sam-mil", spec, {})
    model.initialise()
    known = [(name, label) for name, label in labels.items() if name.startswith("ours")]
    held = 2 * max(1, round(_VALIDATION * len(known) / 2))  # labels alternate: as many of either class
    recipe = Recipe(epochs=training.epochs, min_epochs=0, patience=training.epochs)
    trained = train_fold(model, bags.__getitem__, known[held:], known[:held], recipe, seed=seed, log=_no_log)
    model.load_state_dict({**model.state_dict(), **trained.state})
    judged = [name for name in labels if name.startswith("others")]
    return area_under_curve(np.array([labels[name] for name in judged]), predict(model, bags.__getitem__, judged))


def _spec(training: Training, dim: int) -> ModelSpec:
    changes = {**_CORE, **{**WITHOUT_REGIONS, **WITH_REGIONS}[training.row]}
    return ModelSpec(dim=dim + changes.get("group_feature_flag", False), classes=2, **changes)


def _no_log(epoch: int, figures: Mapping[str, float], /, *, first_stage: bool = False) -> None:
    del epoch, figures, first_stage


def _as_markdown(found: Mapping[Training, float], tiles: Tiles, asked: argparse.Namespace) -> str:
    """A table for each task, and what regions and masks are like."""
    lines = [
        f"{asked.cohorts} cohort(s) x {asked.seeds} seed(s) of {asked.slides} slides, half of them judged, "
        f"{asked.epochs} epochs; {len(tiles.tumour)} tiles. AUC x 100; interval of 95 %: t over cohorts.",
        "",
    ]
    for task in asked.tasks:
        core = _by_cohort(found, task, _CORE_ROW, _NONE)
        lines += [f"## {task}", "", "| row | regions | AUC | minus core |", "|---|---|---|---|"]
        rows = dict.fromkeys((one.row, one.regions) for one in found if one.task == task)
        for row, kind in rows:
            here = _by_cohort(found, task, row, kind)
            gap = "–" if row == _CORE_ROW else _interval([here[cohort] - core[cohort] for cohort in core])
            lines.append(f"| {row} | {kind} | {100 * np.mean(list(here.values())):.1f} | {gap} |")
        lines.append("")
    return "\n".join([*lines, *_of_regions(tiles, asked)])


def _by_cohort(found: Mapping[Training, float], task: str, row: str, kind: str) -> dict[int, float]:
    """The mean AUC over seeds, by cohort."""
    each: dict[int, list[float]] = {}
    for one, auc in found.items():
        if (one.task, one.row, one.regions) == (task, row, kind):
            each.setdefault(one.cohort, []).append(auc)
    return {cohort: float(np.mean(values)) for cohort, values in each.items()}


def _interval(gaps: Sequence[float]) -> str:
    """The mean with its interval of 95 %, x 100; one cohort has none."""
    mean = 100 * float(np.mean(gaps))
    if len(gaps) < 2:
        return f"{mean:+.1f} (one cohort: no interval)"
    half = 100 * float(stats.t.ppf(0.975, len(gaps) - 1) * np.std(gaps, ddof=1) / np.sqrt(len(gaps)))
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"


def _of_regions(tiles: Tiles, asked: argparse.Namespace) -> list[str]:
    """IoU with the true regions, and the share of patches that the masks drop, over the first cohort's slides."""
    lines = [
        "## Regions and masks",
        "",
        "| regions | IoU | median area, px | dropped, centre 5000 px | dropped, centre: median |",
        "|---|---|---|---|---|",
    ]
    ours, _ = make_cohort(tiles, asked.tasks[0], asked.slides, 0)
    for kind in asked.regions:
        looked = [with_regions(slide, kind) for slide in ours]
        areas = torch.cat([bag.region_area for bag, _ in looked])
        dropped = [100 * float(np.mean([_dropped(bag, center) for bag, _ in looked])) for center in (5000.0, "median")]
        iou = float(np.mean([value for _, value in looked]))
        lines.append(f"| {kind} | {iou:.2f} | {areas.median():.0f} | {dropped[0]:.0f} % | {dropped[1]:.0f} % |")
    return [*lines, ""]


def _dropped(bag: Bag, center: Any) -> float:
    """The share of patches that one draw of the mask drops."""
    keep = keep_instances(
        "sam-guided",
        bag.groups("region"),
        group_features=False,
        target=0.9,
        function="sigmoid",
        slope=5e-4,
        center=center,
        generator=torch.Generator().manual_seed(0),
    )
    return 1 - float(keep.double().mean())


if __name__ == "__main__":
    main()
