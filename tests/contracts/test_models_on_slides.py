"""Every model by its word through all that acts on slides: trained, judged, drawn and asked."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from study_fixtures import call

from sammil_cli import choices

DRAWN = ["slide_0", "slide_1"]  # of each class one; a picture costs half a second


ALWAYS = {"sam-mil", "clam-mb", "dsmil"}  # groups, classes, two heads


@pytest.mark.parametrize(
    "model",
    [pytest.param(name, marks=() if name in ALWAYS else pytest.mark.stress) for name in choices.names(choices.MODELS)],
)
def test_a_model_is_trained_judged_drawn_and_asked_by_one_word(done: Path, inline_training: None, model: str) -> None:
    for path in (done / "report/slides").glob("*.*"):
        path.unlink()
    short = ("-S", "epochs=2")
    for words in (
        ("train", "-S", f"model={model}", "-S", "group_features=true", "-S", "group_feature_flag=true", *short),
        ("evaluate", "-S", "bootstrap_draws=100"),
        ("visualize", "--workers", 1, "--only", ",".join(DRAWN)),
        ("predict", "--no-pictures"),  # they are drawn as those above, by the same job
    ):
        answer = call(*words)
        assert answer.code == 0, (words, answer)
    pictures = sorted((done / "report/slides").glob("*.png"))
    assert [path.stem for path in pictures] == DRAWN
    assert all(cv2.imread(str(path)).std() > 5 for path in pictures)
    for table in (done / "report/slides").glob("*.csv"):
        with table.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        attention = np.array([float(row["attention"]) for row in rows])
        assert (attention >= 0).all()
        assert 0 < attention.sum() <= 1 + 1e-5  # group features have the rest
    assert len((done / "runs/new_predictions/predictions.csv").read_text(encoding="utf-8").splitlines()) == 7
