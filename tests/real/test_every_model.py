"""Every model by its word on real bags of colon images: trained, judged, asked, ablated; two classes and three."""

import contextlib
import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from study_fixtures import call, inside, set_params, training_inline

from sammil_cli import choices
from sammil_cli.features.bag import read_encoder
from sammil_cli.storage.paths import BagPath

PATCH_PX = 27  # of the images' cells, in level-0 pixels
SHORT = {"folds": 2, "epochs": 2, "patience": 2, "min_epochs": 0, "bootstrap_draws": 100}
NO_REGIONS = {"group_features": False, "mask_strategy": "none", "consistency_weight": 0}
MOST_EACH = 12  # slides of a class that are labelled: those with the fewest patches

# The way is the same for all, and tests/contracts/test_models_on_slides.py goes it with each: two are tried always.
TWO_ALWAYS = ("dtfd", "sam-mil")


@pytest.fixture(scope="module")
def colon(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the hundred bags, converted; some of them are labelled."""
    source = real_data / "mil" / "colon_crc"
    if not source.is_dir():
        pytest.skip(f"{source} is missing")
    folder = tmp_path_factory.mktemp("colon") / "study"
    assert call("init", folder, "--no-dvc").code == 0
    set_params(folder, **SHORT, **NO_REGIONS)
    with inside(folder):
        answer = call("convert-legacy", source / "features", "--patch-px-level0", PATCH_PX, "--no-slides")
        assert answer.code == 0, answer
    with (source / "labels.csv").open(newline="", encoding="utf-8") as stream:
        rows = [(row["slide_id"], row["label"]) for row in csv.DictReader(stream)]
    rows.sort(key=lambda row: (source / "features" / f"{row[0]}.h5").stat().st_size)
    rows = [row for label in ("cancer", "normal") for row in [row for row in rows if row[1] == label][:MOST_EACH]]
    write_labels(folder / "data/labels.csv", dict(rows))
    return folder


def write_labels(path: Path, labels: dict[str, str]) -> None:
    path.write_text("\n".join(["slide_id,label", *(f"{s},{label}" for s, label in labels.items()), ""]))


def labels_of(path: Path) -> dict[str, str]:
    with path.open(newline="", encoding="utf-8") as stream:
        return {row["slide_id"]: row["label"] for row in csv.DictReader(stream)}


@pytest.mark.parametrize(
    ("model", "classes"),
    [
        pytest.param(name, classes, marks=() if name in TWO_ALWAYS else pytest.mark.stress)
        for classes in (2, 3)
        for name in choices.names(choices.MODELS)
    ],
)
def test_a_model_is_trained_judged_and_asked(colon: Path, model: str, classes: int, tmp_path: Path) -> None:
    project = tmp_path / "study"
    shutil.copytree(colon, project)
    if classes == 3:
        label_by_size(project)
    with inside(project), training_inline(), contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, project)
        for words in (
            ("train", "-S", f"model={model}"),
            ("evaluate",),
            ("predict", "--no-pictures", "--only", "img5,img7"),
        ):
            answer = call(*words)
            assert answer.code == 0, (words, answer)
        metrics = json.loads(Path("report/metrics.json").read_text(encoding="utf-8"))
        assert 0 <= metrics["auc"]["pooled"] <= 1
        facts = json.loads(Path("runs/models/repeat_0_fold_0/model.json").read_text(encoding="utf-8"))
        assert (facts["model"], len(facts["classes"])) == (model, classes)
        with Path("runs/new_predictions/predictions.csv").open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        assert [row["slide_id"] for row in rows] == ["img5", "img7"]
        said = [[float(row[f"probability_{name}"]) for name in facts["classes"]] for row in rows]
        assert np.isfinite(said).all()
        assert np.sum(said, axis=1).tolist() == pytest.approx([1, 1], abs=1e-3)


@pytest.mark.parametrize(
    "model",
    [
        # Three trainings each, half a minute with some; the way is the same for all, so two are tried always.
        pytest.param(name, marks=() if name in TWO_ALWAYS else pytest.mark.stress)
        for name in choices.names(choices.MODELS)
    ],
)
def test_what_choosing_on_the_test_part_gains_is_shown_of_a_model(colon: Path, model: str, tmp_path: Path) -> None:
    project = tmp_path / "study"
    shutil.copytree(colon, project)
    label_by_size(project)
    with inside(project), training_inline(), contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, project)
        answer = call("ablate", "--tables", "protocol", "-S", f"model={model}")
        assert answer.code == 0, answer
        table = json.loads(Path("report/ablation/ablation.json").read_text(encoding="utf-8"))["tables"][0]
        assert [row["variant"][:6] for row in table["rows"]] == ["paper:", "same m", "honest"]


def label_by_size(project: Path) -> None:
    """Gives the slides three classes: few patches, some, many."""
    labels = labels_of(project / "data/labels.csv")
    sizes = {slide: count(BagPath(project / f"artifacts/bags/{slide}.h5")) for slide in labels}
    cuts = np.quantile(list(sizes.values()), [1 / 3, 2 / 3])
    words = {slide: ("few", "some", "many")[int((size > cuts).sum())] for slide, size in sizes.items()}
    write_labels(project / "data/labels.csv", words)


def count(path: BagPath) -> int:
    from sammil_cli.features.bag import read_instances

    return len(read_instances(path).features)


def test_the_bags_have_sides(colon: Path) -> None:
    assert read_encoder(BagPath(colon / "artifacts/bags/img5.h5")).patch_px_level0 == PATCH_PX
