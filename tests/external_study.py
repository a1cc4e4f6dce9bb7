"""An external cohort beside a made-up trained project: real bags and labels, and models that say what is wanted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judged_study import ENCODER, Study, make_bag

from sammil_cli.bundles import ensemble
from sammil_cli.config import EvaluateSettings
from sammil_cli.features.bag import write_bag
from sammil_cli.project.project import RunOptions
from sammil_cli.stages import external
from sammil_cli.storage.files import write_csv


@dataclass(frozen=True, kw_only=True)
class External:
    """Labels and bags of another place; `rows` as labels.csv has them."""

    labels: Path
    bags: Path
    out: Path
    models: Path
    rows: list[tuple[str, str, str]]

    def run(self, *, by: Sequence[str] = (), **settings: Any) -> dict[str, Any]:
        asked = EvaluateSettings(bootstrap_draws=200, **settings)
        return external.run(self.labels, self.models, self.bags, self.out, asked, RunOptions(), by=by)[0]

    def write_bag(self, slide: str, encoder: str = ENCODER.name) -> None:
        rng = np.random.default_rng([ord(letter) for letter in slide])
        bag = make_bag(slide, rng.normal(size=(6, 3)).astype(np.float32))
        write_bag(self.bags / f"{slide}.h5", replace(bag, encoder=replace(ENCODER, name=encoder)), {})

    def copy_bag(self, path: Path, slide: str) -> None:
        from sammil_cli.features.bag import read_bag
        from sammil_cli.storage.paths import BagPath

        write_bag(self.bags / f"{slide}.h5", replace(read_bag(BagPath(path)), slide_id=slide), {})


def make_external(
    study: Study,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    labels: Sequence[int],
    scores: Sequence[float],
    shifts: Sequence[float] = (0.0,),
) -> External:
    """Slides e00, e01, … of two classes.

    Args:
        scores: probability of class 1, not calibrated, of each slide. shifts: what each model in turn adds to it.
    """
    slides = [f"e{place:02d}" for place in range(len(labels))]
    said = {**{slide: float(p[1]) for slide, p in study.said.items()}, **dict(zip(slides, scores, strict=True))}
    turns: dict[int, int] = {}

    def predict(model: object, load: object, wanted: Sequence[str]) -> np.ndarray:
        shift = shifts[turns.setdefault(id(model), len(turns)) % len(shifts)]
        return np.array([[1 - said[slide] - shift, said[slide] + shift] for slide in wanted])

    monkeypatch.setattr(ensemble, "predict", predict)
    rows = [(slide, study.classes[label], f"E{slide}") for slide, label in zip(slides, labels, strict=True)]
    write_csv(folder / "labels.csv", ("slide_id", "label", "patient_id"), rows)
    found = External(
        labels=folder / "labels.csv",
        bags=folder / "bags",
        out=folder / "report",
        models=study.project.models.parent,
        rows=rows,
    )
    for slide in slides:
        found.write_bag(slide)
    return found
