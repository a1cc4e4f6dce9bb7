"""The runs of a sweep: settings and numbers, from DVC's experiments or from folders of trainings."""

import math
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from sammil_cli import console
from sammil_cli.errors import InputError, MissingError
from sammil_cli.figures.locked_settings import changed_since, locked_at, locked_here
from sammil_cli.figures.predictions import read_predictions
from sammil_cli.figures.runs import open_training, params_of
from sammil_cli.report.intervals import Estimate, bootstrap
from sammil_cli.report.metrics import over_folds
from sammil_cli.storage.files import canonical
from sammil_cli.storage.guarded_json import parse_json, read_json
from sammil_cli.storage.paths import ModelPath
from sammil_cli.training.fold import read_folds
from sammil_cli.training.model_facts import read_facts

SEED = "seed"
_METRICS, _PARAMS = "report/metrics.json", "params.yaml"
_HERE = "workspace"  # as DVC calls what is not committed
_UNFINISHED = ("failed", "queued", "running")  # DVC shows these with the metrics of the commit that they began at
_PICTURES = ("heatmap_mpp", "evidence_ome_tiff", "top_patches", "detail_fields", "detail_mpp")
_SAME = (SEED, "published_folds", *_PICTURES)  # may differ within a sweep; the seed is drawn


@dataclass(frozen=True, kw_only=True)
class Point:
    """One run: its name and settings; `val` and `val_sd`, the AUC on validation over folds; `area`, pooled AUC."""

    name: str
    params: Mapping[str, object]
    val: float | None
    val_sd: float | None
    area: Estimate


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The runs that differ in one setting, and in the seed; `values` in order. `left_out`: runs that differ in more."""

    setting: str
    values: Sequence[object]
    points: Mapping[str, Sequence[Point]]  # by the value as text
    left_out: int


def of_folders(folders: Sequence[Path], *, level: float, draws: int) -> list[Point]:
    """The runs in folders that `sammil train` and `sammil evaluate` wrote.

    Raises:
        InputError: a folder holds no training, nothing was judged there, or `E_DAMAGED`.
    """
    found = []
    with console.progress(len(folders), "sweep") as bar:
        for folder in folders:
            open_training(folder, "")  # refuses a table of folds that is not the training's
            names = [fold.name for fold in read_folds(folder / "splits.csv")]
            known = [read_facts(ModelPath(folder / "models" / name)).val_auc for name in names]
            val = over_folds([{"auc": math.nan if one is None else one} for one in known])["auc"]
            area = bootstrap(read_predictions(folder), level=level, draws=draws)["auc"]
            params = params_of(folder)
            found.append(Point(name=str(folder), params=params, val=val["mean"], val_sd=val["sd"], area=area))
            bar.advance(str(folder))
    return found


def of_experiments(saved: Path | None) -> list[Point]:
    """The runs that DVC knows: the workspace, commits, and experiments that have ended well.

    One whose params.yaml was changed after it ran is left out and named: its numbers are of other settings.

    Args:
        saved: what `dvc exp show --json` printed; None = ask DVC now.

    Raises:
        MissingError: DVC is not here. InputError: it is no project of DVC's, or the file is something else.
    """
    shown = _ask_dvc() if saved is None else read_json(saved, remedy="save it with: dvc exp show --json > FILE")
    if not isinstance(shown, list):
        raise InputError(f"{saved or 'dvc exp show'} lists no experiments", remedy="dvc exp show --json > FILE")
    points = [(rev, point) for name, rev, data in _revisions(shown) if (point := _point(name, data)) is not None]
    found: dict[str, Point] = {}
    left_out = []
    with console.progress(len(points), "sweep") as bar:
        for rev, point in points:
            locked = locked_at(rev) if rev != _HERE else locked_here() if saved is None else {}
            if changed := changed_since(point.params, locked):
                left_out.append(f"{point.name} is left out, its params.yaml was changed after it ran: {changed}")
            else:
                key = canonical([dict(point.params), point.val, point.area.value])
                found.setdefault(key, point)  # the workspace repeats an experiment
            bar.advance(point.name)
    console.say(*(f"{line}; run: dvc repro" for line in left_out))
    return list(found.values())


def _ask_dvc() -> object:
    beside = Path(sys.executable).parent / "dvc"
    program = shutil.which("dvc") or (str(beside) if beside.is_file() else None)
    if program is None:
        raise MissingError("the command dvc is not here", remedy="pip install dvc; or name folders: --run FOLDER")
    words = [program, "exp", "show", "--json"]
    with console.progress(1, "dvc exp show"):  # minutes where there are hundreds
        done = subprocess.run(words, capture_output=True, check=False)  # noqa: S603 - fixed words
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
        raise InputError(f"dvc exp show failed: {last}", remedy="git init && dvc init; or name folders: --run FOLDER")
    return cast(object, parse_json(done.stdout, "dvc exp show"))


def _revisions(shown: Sequence[object]) -> Iterator[tuple[str, str, Mapping[str, object]]]:
    """Name, revision and data of everything that has any, commits before their experiments."""
    for entry in shown:
        if not isinstance(entry, dict):
            continue
        parts = [entry]
        for experiment in entry.get("experiments") or ():
            if isinstance(experiment, dict) and _is_finished(experiment):
                parts += experiment.get("revs") or ()
        for part in parts:
            data = part.get("data") if isinstance(part, dict) else None
            if isinstance(data, dict):
                rev = str(part.get("rev"))
                yield str(part.get("name") or (rev if rev == _HERE else rev[:7])), rev, data


def _is_finished(experiment: Mapping[str, object]) -> bool:
    executor = experiment.get("executor")
    return not (isinstance(executor, dict) and str(executor.get("state")).lower() in _UNFINISHED)


def _point(name: str, data: Mapping[str, object]) -> Point | None:
    params, metrics = _content(data, "params", _PARAMS), _content(data, "metrics", _METRICS)
    if params is None or metrics is None:
        return None
    val, area = metrics.get("val_auc"), metrics.get("auc")
    if not isinstance(val, dict) or not isinstance(area, dict):
        return None
    pooled, low, high = (_number(area.get(word)) for word in ("pooled", "low", "high"))
    return Point(
        name=name,
        params=params,
        val=_number(val.get("mean")),
        val_sd=_number(val.get("sd")),
        area=Estimate(*(math.nan if value is None else value for value in (pooled, low, high))),
    )


def _content(data: Mapping[str, object], kind: str, path: str) -> dict[str, object] | None:
    files = data.get(kind)
    entry = files.get(path) if isinstance(files, dict) else None
    content = entry.get("data") if isinstance(entry, dict) else None
    return content if isinstance(content, dict) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def sweep_of(points: Sequence[Point], setting: str) -> Sweep:
    """The runs that differ in one setting alone: of all such families, the one with the most values.

    Raises:
        InputError: no run has the setting, or no two runs differ in it alone.
    """
    having = [point for point in points if setting in point.params]
    if not having:
        raise InputError(
            f"none of {len(points)} run(s) has the setting {setting!r}",
            remedy=f"give a key of params.yaml, and run: dvc exp run --queue -S {setting}=…,… && dvc queue start",
        )
    families: dict[str, dict[str, list[Point]]] = defaultdict(lambda: defaultdict(list))
    for point in having:
        others = {key: value for key, value in point.params.items() if key not in (setting, *_SAME)}
        families[canonical(others)][canonical(point.params[setting])].append(point)
    family = max(families.values(), key=lambda found: (len(found), sum(map(len, found.values()))))
    if len(family) < 2:
        raise InputError(
            f"no two of {len(points)} run(s) differ in {setting} alone (and in the seed)",
            remedy=f"run: dvc exp run --queue -S {setting}=…,… && dvc queue start; or name more folders: --run FOLDER",
        )
    values = sorted((found[0].params[setting] for found in family.values()), key=_order)
    used = sum(map(len, family.values()))
    return Sweep(
        setting=setting,
        values=values,
        points={canonical(value): family[canonical(value)] for value in values},
        left_out=len(points) - used,
    )


def _order(value: object) -> tuple[int, float, str]:
    number = value if isinstance(value, int | float) else None
    return (0, float(number), "") if number is not None else (1, 0.0, str(value))
