"""The numbers behind a picture: what each patch of a slide says."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sammil_cli.features.bag import read_bag
from sammil_cli.training.bags import to_tensors
from sammil_cli.training.bundle import read_bundle
from sammil_cli.training.fold import read_folds


def test_a_slides_table_holds_what_the_model_that_did_not_see_it_says_of_each_patch(
    finished: tuple[Path, dict[str, Any]],
) -> None:
    folder = finished[0]
    for fold in read_folds(folder / "runs/splits.csv"):
        model, facts = read_bundle(folder / "runs/models" / fold.name, "cpu")
        for slide in fold.test:
            with (folder / f"report/slides/{slide}.csv").open(newline="", encoding="utf-8") as file:
                header, *rows = csv.reader(file)
            assert header == ["x", "y", "attention", *(f"evidence_{name}" for name in facts.classes)]
            bag = read_bag(folder / f"artifacts/bags/{slide}.h5")
            with torch.inference_mode():
                output = model(to_tensors(bag, "cpu"))
            table = np.array(rows, np.float64)
            np.testing.assert_array_equal(table[:, :2], bag.xy)
            assert len(output.attention) > len(table)  # group features are no patches
            np.testing.assert_allclose(table[:, 2], output.attention[: len(table)], rtol=1e-6)
            np.testing.assert_allclose(table[:, 3:], output.evidence[: len(table)], rtol=1e-6)


def test_the_index_leads_to_every_table(finished: tuple[Path, dict[str, Any]]) -> None:
    pictures = finished[0] / "report/slides"
    text = (pictures / "index.html").read_text(encoding="utf-8")
    tables = sorted(path.name for path in pictures.glob("*.csv"))
    assert [Path(name).stem for name in tables] == sorted(path.stem for path in pictures.glob("*.png")) != []
    assert [name for name in tables if f"href='{name}'" not in text] == []
