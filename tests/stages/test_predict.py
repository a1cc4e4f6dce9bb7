"""Verdicts of an ensemble, by numbers worked out by hand: each model says one probability whatever the slide."""

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from csv_rows import by_slide, rows_of

from sammil_cli.errors import InputError
from sammil_cli.features.bag import EncoderFacts, FeatureBag, write_bag
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.project.project import RunOptions
from sammil_cli.regions.membership import Membership
from sammil_cli.stages import predict
from sammil_cli.training.model_facts import ModelFacts, TrainedOn
from sammil_cli.training.thresholds import SELECTED_ON_TEST
from sammil_cli.training.trained_model import build_model, write_model

DIM = 3
ENCODER = EncoderFacts(name="texture", weights_sha256=None, dim=DIM, patch_px=64, patch_mpp=0.5, patch_px_level0=128)
ALL = RunOptions()
TABLE = Path("runs/new_predictions/predictions.csv")
NOTHING_SEEN = TrainedOn(slides=(), patch_mpp=(0.5, 0.5), made_with={})


def write_fold(
    folder: Path,
    probabilities: Sequence[float],
    *,
    threshold: float | None = 0.5,
    temperature: float = 1.0,
    **more: Any,
) -> None:
    """A trained model that gives every slide these class probabilities: a bias of their logarithms, no weights."""
    classes = more.pop("classes", ("normal", "tumour"))
    spec = ModelSpec(dim=DIM, classes=len(classes), group_features=False)
    state = {name: torch.zeros_like(value) for name, value in build_model("mean", spec, {}).state_dict().items()}
    state["head.3.bias"] = torch.tensor(probabilities).log()
    facts = ModelFacts(
        model="mean",
        model_options={},
        spec=spec,
        classes=classes,
        threshold=threshold,
        temperature=temperature,
        protocol="honest",
        encoder=ENCODER,
        repeat=0,
        fold=0,
        seed=1,
        epoch=2,
        val_auc=None,
        provenance={},
        trained_on=NOTHING_SEEN,
    )
    write_model(folder, state, replace(facts, **more))


def write_bags(folder: Path, *slides: str, encoder: EncoderFacts = ENCODER, nan: bool = False) -> None:
    for number, slide in enumerate(slides):
        features = np.random.default_rng(number).normal(size=(4, encoder.dim)).astype(np.float32)
        features[1] += np.nan if nan else 0
        bag = FeatureBag(
            slide_id=slide,
            features=features,
            xy=np.zeros((4, 2), np.int32),
            region=np.full(4, -1, np.int32),
            region_area=np.empty(0, np.int64),
            region_area_um2=np.empty(0),
            group_features=np.empty((0, encoder.dim), np.float32),
            group_region=np.empty(0, np.int32),
            members=Membership(start=np.zeros(1, np.int64), patch=np.empty(0, np.int32)),
            encoder=encoder,
        )
        write_bag(folder / f"{slide}.h5", bag, {})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two models of 0.2 and 0.9 and the bags of slides a, b and c, as working directory.

    Calibrated at temperature 2 they say √.2 / (√.2 + √.8) = 1/3 and √.9 / (√.9 + √.1) = 3/4.
    """
    monkeypatch.chdir(tmp_path)
    write_fold(Path("runs/models/repeat_0_fold_0"), [0.8, 0.2], threshold=0.5, temperature=2.0)
    write_fold(Path("runs/models/repeat_0_fold_1"), [0.1, 0.9], threshold=0.7, temperature=2.0)
    write_bags(Path("artifacts/bags"), "a", "b", "c")
    return tmp_path


def let_see(kept_in: str, *seen: str) -> None:
    """Lets the models of `place` have seen slides, `seen` by fold, in the model, or as earlier versions kept it."""
    for fold, (slides, probability, threshold) in enumerate(zip(seen, (0.2, 0.9), (0.5, 0.7), strict=True)):
        on = None if kept_in == "splits.csv" else replace(NOTHING_SEEN, slides=tuple(slides))
        path = Path(f"runs/models/repeat_0_fold_{fold}")
        write_fold(path, [1 - probability, probability], threshold=threshold, temperature=2.0, trained_on=on)
    if kept_in == "splits.csv":
        rows = [
            f"0,{fold},{slide},{slide},{('train', 'val')[fold]}" for fold, slides in enumerate(seen) for slide in slides
        ]
        rows += [f"0,{fold},z,z,test" for fold in range(len(seen))]
        Path("runs/splits.csv").write_text("\n".join(("repeat,fold,slide_id,patient_id,role", *rows)), encoding="utf-8")


def judged(models: str = "runs/models", **options: Any) -> dict[str, predict.Verdict]:
    found = predict.run(Path(models), Path("artifacts/bags"), Path("out.csv"), RunOptions(**options))
    return {verdict.slide_id: verdict for verdict in found.verdicts}


def test_the_mean_of_calibrated_probabilities_and_their_range(place: Path) -> None:
    verdict = judged()["a"]
    assert verdict.probability["tumour"] == pytest.approx((1 / 3 + 3 / 4) / 2)
    assert verdict.low == {"normal": pytest.approx(1 / 4), "tumour": pytest.approx(1 / 3)}
    assert verdict.high == {"normal": pytest.approx(2 / 3), "tumour": pytest.approx(3 / 4)}
    assert sum(verdict.probability.values()) == pytest.approx(1)
    assert (verdict.models, verdict.in_sample) == (2, False)


def test_the_decision_is_that_of_the_shown_probability_and_the_shown_threshold(place: Path) -> None:
    verdict = judged()["a"]
    assert verdict.uncalibrated["tumour"] == pytest.approx(0.55)
    halved = math.sqrt(0.7) / (math.sqrt(0.7) + math.sqrt(0.3))
    assert verdict.threshold == pytest.approx((0.5 + halved) / 2)
    assert verdict.probability["tumour"] > 0.5  # the larger class, and yet below the threshold
    assert (verdict.predicted, verdict.positive_class) == ("normal", "tumour")
    write_fold(Path("runs/models/repeat_0_fold_1"), [0.1, 0.9], threshold=0.59, temperature=2.0)
    verdict = judged()["a"]
    assert verdict.probability["tumour"] > verdict.threshold
    assert verdict.predicted == "tumour"


@pytest.mark.parametrize("gap", [0.0, 1e-5, 1e-7, 1e-12, -1e-5, -1e-9])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_table_and_screen_show_the_decision_however_near_the_threshold_is(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, gap: float, temperature: float
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    said = float(torch.softmax(torch.tensor([0.35, 0.65]).log().double(), 0)[1])  # as the model says it
    write_fold(Path("one/fold"), [0.35, 0.65], threshold=said + gap, temperature=temperature)
    verdict = judged("one")["a"]
    assert verdict.predicted == ("normal" if gap > 0 else "tumour")
    row = rows_of(Path("out.csv"))[0]
    shown = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("│ a ")).split("│")
    for probability, threshold in ((row["probability_tumour"], row["threshold"]), (shown[3], shown[4])):
        assert (float(probability) >= float(threshold)) == (verdict.predicted == "tumour")


def test_of_more_than_two_classes_the_largest_wins(place: Path) -> None:
    names = ("a", "b", "c")
    write_fold(Path("three/one"), [0.2, 0.5, 0.3], threshold=None, classes=names)
    write_fold(Path("three/two"), [0.2, 0.1, 0.7], threshold=None, classes=names)
    verdict = judged("three")["a"]
    assert (verdict.predicted, verdict.threshold) == ("c", None)
    assert verdict.positive_class is None
    assert verdict.uncalibrated == {"a": pytest.approx(0.2), "b": pytest.approx(0.3), "c": pytest.approx(0.5)}


def test_where_one_model_has_no_threshold_there_is_none(place: Path) -> None:
    write_fold(Path("runs/models/repeat_0_fold_1"), [0.1, 0.9], threshold=None)
    verdict = judged()["a"]
    assert (verdict.threshold, verdict.predicted) == (None, "tumour")  # 0.55 > 0.45


def test_the_table_says_what_the_verdicts_say(place: Path) -> None:
    judged(only=frozenset({"a", "c"}))
    rows = rows_of(Path("out.csv"))
    assert [row["slide_id"] for row in rows] == ["a", "c"]
    assert rows[0] == {
        "slide_id": "a",
        "predicted": "normal",
        "probability_normal": "0.458333",
        "probability_tumour": "0.541667",
        "low_normal": "0.250000",
        "low_tumour": "0.333333",
        "high_normal": "0.666667",
        "high_tumour": "0.750000",
        "uncalibrated_normal": "0.450000",
        "uncalibrated_tumour": "0.550000",
        "positive_class": "tumour",
        "threshold": "0.552178",
        "models": "2",
        "in_sample": "false",
        "protocol": "honest",
    }


def test_one_model_is_an_ensemble_of_one(place: Path) -> None:
    verdict = judged("runs/models/repeat_0_fold_1")["b"]
    assert (verdict.models, verdict.predicted) == (1, "tumour")
    assert verdict.threshold == pytest.approx(math.sqrt(0.7) / (math.sqrt(0.7) + math.sqrt(0.3)))
    assert verdict.low == verdict.high == verdict.probability


# ---------------------------------------------------------------------------------------------- slides of the cohort


kept = pytest.mark.parametrize("kept_in", ["model.json", "splits.csv"])


@kept
def test_a_slide_of_the_cohort_is_judged_by_the_model_that_did_not_see_it(place: Path, kept_in: str) -> None:
    let_see(kept_in, "a", "b")
    verdicts = judged()
    assert {slide: verdict.uncalibrated["tumour"] for slide, verdict in verdicts.items()} == {
        "a": pytest.approx(0.9),  # fold 1 alone
        "b": pytest.approx(0.2),  # fold 0 alone: validation has seen it, too
        "c": pytest.approx(0.55),  # new
    }
    assert {slide: (verdict.models, verdict.in_sample) for slide, verdict in verdicts.items()} == {
        "a": (1, False),
        "b": (1, False),
        "c": (2, False),
    }
    assert verdicts["b"].threshold == pytest.approx(0.5)


@kept
def test_where_no_other_model_is_left_all_judge_and_the_table_says_so(place: Path, kept_in: str) -> None:
    let_see(kept_in, "ab", "a")
    verdicts = judged()
    assert (verdicts["a"].models, verdicts["a"].in_sample) == (2, True)
    assert [row["in_sample"] for row in rows_of(Path("out.csv"))] == ["true", "false", "false"]
    alone = judged("runs/models/repeat_0_fold_0")
    assert {slide: verdict.in_sample for slide, verdict in alone.items()} == {"a": True, "b": True, "c": False}


@pytest.mark.parametrize(
    ("kept_in", "known"), [("model.json", ["true", "false", "false"]), ("splits.csv", ["unknown"] * 3)]
)
def test_a_copied_model_knows_what_it_has_seen_or_says_that_it_does_not(
    place: Path, kept_in: str, known: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    let_see(kept_in, "a", "a")
    shutil.copytree("runs/models", "elsewhere/kept/models")
    judged("elsewhere/kept/models")
    assert [row["in_sample"] for row in rows_of(Path("out.csv"))] == known
    assert ("3 slide(s) may have been seen in training" in capsys.readouterr().out) == (known[0] == "unknown")
    shutil.copytree("runs/models/repeat_0_fold_0", "runs/models/renamed")  # the splits beside it do not know this name
    assert judged("runs/models/renamed")["a"].in_sample is (True if kept_in == "model.json" else None)


# ---------------------------------------------------------------------------------------------- refusals


def test_no_models_no_bags_and_unknown_slides_are_refused(place: Path) -> None:
    with pytest.raises(InputError, match="no trained model in nowhere"):
        judged("nowhere")
    with pytest.raises(InputError, match="no bag in nothing") as caught:
        predict.run(Path("runs/models"), Path("nothing"), Path("out.csv"), ALL)
    assert caught.value.remedy == "run: sammil extract"
    with pytest.raises(InputError, match="'z', which is not in artifacts/bags"):
        judged(only=frozenset({"a", "z"}))
    assert not Path("out.csv").exists()


def test_bags_of_another_encoder_are_refused(place: Path) -> None:
    write_bags(Path("artifacts/bags"), "a", "b", "c", encoder=replace(ENCODER, name="plip"))
    with pytest.raises(InputError, match=r"of texture .* the bags are of plip"):
        judged()
    assert not Path("out.csv").exists()


def test_bags_of_other_patches_name_what_makes_them_alike(place: Path) -> None:
    write_bags(Path("artifacts/bags"), "a", "b", "c", encoder=replace(ENCODER, patch_px=32, patch_mpp=2.0))
    with pytest.raises(InputError, match=r"patch_px 64 in training, 32 .*; patch_mpp 0.5 in training, 2 in") as caught:
        judged()
    assert caught.value.remedy.startswith(
        "make them alike: sammil patch -S patch_px=64 -S patch_mpp=0.5, then sammil ext"
    )
    assert not Path("out.csv").exists()


def test_a_model_or_bags_that_do_not_say_how_they_were_made_are_remarked(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bags(Path("artifacts/bags"), "a", encoder=replace(ENCODER, patch_px=0, patch_mpp=float("nan")))
    judged()
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "1 bag(s): not compared with the bags of the training, since one of the two does not say it: patch_mpp, p"
        in said
    )


def test_models_of_different_classes_are_refused(place: Path) -> None:
    write_fold(Path("runs/models/repeat_0_fold_2"), [0.5, 0.5], classes=("LUAD", "LUSC"))
    with pytest.raises(InputError, match="repeat_0_fold_2 knows the classes LUAD, LUSC"):
        judged()


def test_a_model_that_gives_no_number_is_refused(place: Path) -> None:
    write_fold(Path("runs/models/repeat_0_fold_0"), [float("nan"), 0.5])
    with pytest.raises(InputError, match="no number for slide a"):
        judged()


# ---------------------------------------------------------------------------------------------- one bad bag


def test_a_bag_that_cannot_be_judged_costs_its_own_slide_only(place: Path, sammil: Callable[..., Any]) -> None:
    folder = Path("artifacts/bags")
    write_bags(folder, "d", encoder=replace(ENCODER, patch_px=32))
    write_bags(folder, "e", nan=True)
    (folder / "b.h5").write_bytes((folder / "a.h5").read_bytes()[:700])
    answer = sammil("predict", "--no-pictures", "--device", "cpu")
    assert answer.code == 1, answer
    assert [row["slide_id"] for row in rows_of(TABLE)] == ["a", "c"]
    listed = by_slide(Path("runs/new_predictions/process_lists/predict.csv"))
    assert {slide: row["code"] or row["status"] for slide, row in listed.items()} == {
        "a": "done",
        "b": "E_DAMAGED",
        "c": "done",
        "d": "E_BAG",
        "e": "E_NAN",
    }
    assert "failed: e  E_NAN  artifacts/bags/e.h5: 1 of 4 patches have NaN" in answer.out
    assert "sammil extract --only e" in listed["e"]["remedy"]
    assert "predict: 2 done, 1 set-aside, 2 failed" in answer.out
    assert sammil("predict", "--no-pictures", "--device", "cpu", "--fail-over", "60%", "--json").code == 0


def test_ctrl_c_keeps_what_was_judged(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = predict.judge

    def stopped_at_b(slide: str, *more: Any) -> predict.Verdict:
        if slide == "b":
            raise KeyboardInterrupt
        return judge(slide, *more)

    monkeypatch.setattr(predict, "judge", stopped_at_b)
    with pytest.raises(KeyboardInterrupt):
        judged()
    assert [row["slide_id"] for row in rows_of(Path("out.csv"))] == ["a"]


# ---------------------------------------------------------------------------------------------- the command line


def test_the_command_writes_the_table_and_prints_json(place: Path, sammil: Callable[..., Any]) -> None:
    answer = sammil("predict", "--no-pictures", "--only", "b", "--device", "cpu", "--json")
    assert answer.code == 0, answer.err
    (record,) = json.loads(answer.out)
    assert record["slide_id"] == "b"
    assert record["probability"]["tumour"] == pytest.approx(0.5416667, abs=1e-6)
    assert rows_of(TABLE)[0]["predicted"] == record["predicted"]


def test_the_command_says_what_was_in_sample_and_what_was_chosen_on_the_test(
    place: Path, sammil: Callable[..., Any]
) -> None:
    let_see("model.json", "a", "a")
    assert "protocol paper" not in sammil("predict", "--no-pictures", "--device", "cpu").out
    seen = replace(NOTHING_SEEN, slides=("a",))
    write_fold(Path("runs/models/repeat_0_fold_1"), [0.1, 0.9], protocol="paper", trained_on=seen)
    said = " ".join(sammil("predict", "--no-pictures", "--device", "cpu").out.split())
    assert "3 slide(s) by 2 model(s)" in said
    assert "1 slide(s) were seen in training or validation by every model" in said
    assert "protocol paper" in said
    assert f"positive class: tumour - {SELECTED_ON_TEST}" in said
    assert {row["protocol"] for row in rows_of(TABLE)} == {f"paper: {SELECTED_ON_TEST}"}


def test_the_command_refuses_with_a_remedy(place: Path, sammil: Callable[..., Any]) -> None:
    answer = sammil("predict", "nowhere", "--device", "cpu")
    assert answer.code == 2
    assert "fix: run: sammil train" in answer.err
