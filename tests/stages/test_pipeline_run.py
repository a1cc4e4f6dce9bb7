"""The whole pipeline on six tiny slides, through the command line."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from csv_rows import rows_of

from sammil_cli.features.bag import read_bag, write_bag
from sammil_cli.storage.paths import BagPath
from sammil_cli.storage.summed import with_sum, write_summed
from sammil_cli.training.fold import read_folds
from sammil_cli.training.model_facts import read_facts

Sammil = Callable[..., Any]
Finished = tuple[Path, dict[str, Any]]

SLIDES = [f"slide_{i}" for i in range(6)]
TUMOUR = {"slide_1", "slide_3", "slide_5"}
FOLDS = [f"repeat_0_fold_{fold}" for fold in range(3)]


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_command_ends_well(finished: Finished) -> None:
    _, answers = finished
    placed = "on the CPU ({} uses no GPU), at most 1 slide(s) at once\n"
    said = {"sam": f"sam: {placed.format('superpixels')}", "extract": f"extract: {placed.format('texture')}"}
    assert {verb: (answer.code, answer.err) for verb, answer in answers.items()} == {
        verb: (0, said.get(verb, ""))
        for verb in ("segment", "patch", "sam", "extract", "train", "evaluate", "visualize")
    }
    assert "segment: 6 reused" in answers["segment"].out
    for verb in ("patch", "sam", "extract", "visualize"):
        assert f"{verb}: 6 done" in answers[verb].out
    assert "sam-mil with group features on 3 normal, 3 tumour slides of 6 patients, 3 folds" in answers["train"].out
    assert "report: report/index.html" in answers["evaluate"].out


@pytest.mark.parametrize(
    ("folder", "suffixes"),
    [
        ("artifacts/tissue", ("geojson", "h5", "jpg")),
        ("artifacts/patches", ("h5",)),
        ("artifacts/regions", ("geojson", "h5", "json", "png")),
        ("artifacts/bags", ("h5", "json")),
    ],
)
def test_each_step_leaves_its_files_of_each_slide_and_nothing_else(
    finished: Finished, folder: str, suffixes: tuple[str, ...]
) -> None:
    assert files_in(finished[0] / folder) == {f"{slide}.{suffix}" for slide in SLIDES for suffix in suffixes}


@pytest.mark.parametrize("verb", ["segment", "patch", "sam", "extract", "visualize"])
def test_each_step_leaves_a_process_list(finished: Finished, verb: str) -> None:
    rows = rows_of(finished[0] / "artifacts" / "process_lists" / f"{verb}.csv")
    assert [row["slide_id"] for row in rows] == SLIDES
    assert {row["status"] for row in rows} == {"reused" if verb == "segment" else "done"}


@pytest.mark.parametrize(
    ("step", "path"), [("patch", "artifacts/patches"), ("sam", "artifacts/regions"), ("extract", "artifacts/bags")]
)
def test_each_hdf5_file_says_how_it_was_made(finished: Finished, step: str, path: str) -> None:
    with h5py.File(finished[0] / path / "slide_3.h5") as file:
        record = json.loads(file.attrs["provenance"])
    assert record["stage"] == step
    assert record["tool"].startswith("sammil ")
    assert record["schema"] == 1
    assert record["key"]["settings"]
    assert len(record["key"]["code"]) == 16


def test_geojson_and_models_say_how_they_were_made(finished: Finished) -> None:
    folder = finished[0]
    tissue = json.loads((folder / "artifacts/tissue/slide_3.geojson").read_text(encoding="utf-8"))["sammil"]
    regions = json.loads((folder / "artifacts/regions/slide_3.geojson").read_text(encoding="utf-8"))["sammil"]
    model = json.loads((folder / "runs/models/repeat_0_fold_1/model.json").read_text(encoding="utf-8"))
    assert [record["stage"] for record in (tissue, regions, model["provenance"])] == ["segment", "sam", "train"]
    assert tissue["mpp_source"] == "TIFF tags"
    assert tissue["read_by"] == regions["read_by"] == "tiff"
    assert tissue["key"]["settings"]["min_area_um2"] == 5000
    assert model["provenance"]["key"]["settings"]["epochs"] == 4


def test_bags_hold_what_the_steps_before_found(finished: Finished) -> None:
    for slide in SLIDES:
        with (
            h5py.File(finished[0] / "artifacts/bags" / f"{slide}.h5") as bag,
            h5py.File(finished[0] / "artifacts/patches" / f"{slide}.h5") as patches,
            h5py.File(finished[0] / "artifacts/regions" / f"{slide}.h5") as regions,
        ):
            assert (bag["xy"][()] == patches["xy"][()]).all()
            assert len(bag["features"]) == len(patches["xy"]) > 5
            assert bag["region"][()].max() < len(regions["area_px"])
            assert len(bag["group_features"]) == len(bag["group_region"]) > 0
            assert np.isfinite(bag["features"][()]).all()
            assert bag.attrs["encoder_name"] == "texture"
            assert bag.attrs["encoder_patch_px"] == 128
            made = json.loads(bag.attrs["made_with"])
            assert (made["patch"]["patch_edge"], made["sam"]["sam_canvas_px"]) == ("drop", 320)
            assert made["extract"]["membership_rule"] == "overlap"


def test_models_hold_how_their_bags_were_made_and_which_they_saw(finished: Finished) -> None:
    for fold in read_folds(finished[0] / "runs/splits.csv"):
        on = read_facts(finished[0] / "runs/models" / fold.name).trained_on
        assert on is not None
        assert set(on.slides) == {*fold.train, *fold.val}
        assert on.patch_mpp == (1.0, 1.0)
        assert (on.made_with["sam"]["proposer"], on.made_with["patch"]["patch_overlap"]) == ("superpixels", 0.0)


def test_each_fold_leaves_a_model_and_a_learning_curve(finished: Finished) -> None:
    runs = finished[0] / "runs"
    assert files_in(runs / "models") == {*FOLDS, "manifest.json"}
    assert files_in(runs / "learning_curves") == {f"{fold}.csv" for fold in FOLDS}
    for fold in FOLDS:
        assert files_in(runs / "models" / fold) == {"model.json", "model.safetensors"}
        rows = rows_of(runs / "learning_curves" / f"{fold}.csv")
        assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
        assert {"loss_bag", "loss_pseudo_bags", "loss_consistency", "loss_total", "val_auc", "val_loss"} <= set(rows[0])


def test_no_model_was_trained_on_a_patient_that_it_is_tested_on(finished: Finished) -> None:
    rows = rows_of(finished[0] / "runs" / "splits.csv")
    for fold in "012":
        patients = {
            role: {r["patient_id"] for r in rows if (r["fold"], r["role"]) == (fold, role)}
            for role in ("train", "val", "test")
        }
        assert {role: len(found) for role, found in patients.items()} == {"train": 2, "val": 2, "test": 2}
        assert len(set.union(*patients.values())) == 6
    assert sorted(row["slide_id"] for row in rows if row["role"] == "test") == SLIDES


def test_every_slide_is_predicted_once_by_the_model_that_did_not_see_it(finished: Finished) -> None:
    rows = rows_of(finished[0] / "runs" / "predictions.csv")
    splits = {r["slide_id"]: r["fold"] for r in rows_of(finished[0] / "runs" / "splits.csv") if r["role"] == "test"}
    assert sorted(row["slide_id"] for row in rows) == SLIDES
    for row in rows:
        assert row["fold"] == splits[row["slide_id"]]
        assert row["role"] == "test"
        assert row["label"] == ("tumour" if row["slide_id"] in TUMOUR else "normal")
        probability = float(row["probability_tumour"])
        assert probability + float(row["probability_normal"]) == pytest.approx(1, abs=1e-5)
        model = json.loads(
            (finished[0] / f"runs/models/repeat_0_fold_{row['fold']}/model.json").read_text(encoding="utf-8")
        )
        assert float(row["threshold"]) == pytest.approx(model["calibrated_threshold"], abs=1e-6)
        assert row["positive_class"] == model["positive_class"] == "tumour"
        assert row["predicted"] == ("tumour" if probability >= float(row["threshold"]) else "normal")


def test_metrics_follow_from_the_predictions(finished: Finished) -> None:
    metrics = json.loads((finished[0] / "report" / "metrics.json").read_text(encoding="utf-8"))
    rows = rows_of(finished[0] / "runs" / "predictions.csv")
    assert (metrics["model"], metrics["slides"], metrics["patients"]) == ("sam-mil", 6, 6)
    assert metrics["protocol"].startswith("honest")
    accuracies, areas = [], []
    for fold in "012":
        mine = [row for row in rows if row["fold"] == fold]
        accuracies.append(np.mean([row["predicted"] == row["label"] for row in mine]))
        positive, negative = (
            [float(r["probability_tumour"]) for r in mine if r["label"] == label] for label in ("tumour", "normal")
        )
        areas.append(np.mean([(p > n) + 0.5 * (p == n) for p in positive for n in negative]))
    assert metrics["accuracy"]["mean"] == pytest.approx(np.mean(accuracies), abs=1e-6)
    assert metrics["accuracy"]["sd"] == pytest.approx(np.std(accuracies), abs=1e-6)
    assert metrics["accuracy"]["pooled"] == pytest.approx(np.mean([r["predicted"] == r["label"] for r in rows]))
    assert metrics["auc"]["mean"] == pytest.approx(np.mean(areas), abs=1e-6)
    assert set(metrics["f1"]) == {"mean", "sd", "pooled", "low", "high"}
    assert set(metrics["baselines"]) == {"mean-pool", "majority", "brightness-only"}
    assert metrics["audit"]["near_duplicates"] == {"test_slides": 0, "of": 6}


def test_curves_and_page_are_written(finished: Finished) -> None:
    report = finished[0] / "report"
    assert files_in(report / "curves") == {"roc.csv", "pr.csv", "confusion.csv", "sums.json"}
    assert len(rows_of(report / "curves" / "roc.csv")) == 101
    assert len(rows_of(report / "curves" / "confusion.csv")) == 6
    text = (report / "index.html").read_text(encoding="utf-8")
    metrics = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    assert f"{metrics['auc']['mean']:.3f} ± {metrics['auc']['sd']:.3f}" in text
    assert "slides/index.html" in text


def test_every_slide_has_its_picture_and_stands_in_the_index(finished: Finished) -> None:
    pictures = finished[0] / "report" / "slides"
    assert files_in(pictures) == {
        "index.html",
        "drawn.js",
        *(f"{slide}{suffix}" for slide in SLIDES for suffix in (".png", ".csv")),
    }
    assert len({sha256(pictures / f"{slide}.png") for slide in SLIDES}) == 6
    text = (pictures / "index.html").read_text(encoding="utf-8")
    assert [slide for slide in SLIDES if f'src="{slide}.png"' not in text] == []


# ---------------------------------------------------------------------------------------------- again


def test_the_same_seed_gives_the_same_models_and_metrics_in_whatever_process(
    done: Path, sammil: Sammil, inline_training: None
) -> None:
    before = {fold: sha256(done / "runs/models" / fold / "model.safetensors") for fold in FOLDS}
    metrics, predictions = (sha256(done / path) for path in ("report/metrics.json", "runs/predictions.csv"))
    assert sammil("train").code == 0
    assert sammil("evaluate").code == 0
    assert {fold: sha256(done / "runs/models" / fold / "model.safetensors") for fold in FOLDS} == before
    assert sha256(done / "report/metrics.json") == metrics
    assert sha256(done / "runs/predictions.csv") == predictions


def test_another_seed_trains_other_models_and_old_ones_do_not_survive(
    done: Path, sammil: Sammil, inline_training: None
) -> None:
    before = sha256(done / "runs/models/repeat_0_fold_0/model.safetensors")
    (done / "runs/models/repeat_7_fold_0").mkdir()
    assert sammil("train", "-S", "seed=5", "-S", "epochs=1").code == 0
    assert sha256(done / "runs/models/repeat_0_fold_0/model.safetensors") != before
    assert files_in(done / "runs/models") == {*FOLDS, "manifest.json"}


def test_train_and_evaluate_print_nothing_but_json_when_asked_for_it(
    done: Path, sammil: Sammil, inline_training: None
) -> None:
    trained = sammil("train", "-S", "epochs=1", "-S", "model=mean", "--json")
    assert [fold["fold"] for fold in json.loads(trained.out)] == [0, 1, 2]
    assert set(json.loads(trained.out)[0]) == {
        *("repeat", "fold", "epoch", "val_auc", "calibrated_threshold", "positive_class")
    }
    judged = json.loads(sammil("evaluate", "--json").out)
    assert judged == json.loads((done / "report/metrics.json").read_text(encoding="utf-8"))
    assert judged["model"] == "mean"


def test_settings_that_do_not_change_results_recompute_nothing(done: Path, sammil: Sammil) -> None:
    for verb, setting in (
        ("extract", "batch_size=3"),
        ("sam", "sam_points_per_side=4"),
        ("segment", "fail_over=0.5"),
        ("patch", "fail_over=0.5"),
    ):
        assert f"{verb}: 6 reused" in sammil(verb, "-S", setting).out


def test_another_tissue_polygon_makes_that_slide_new_and_no_other(done: Path, sammil: Sammil) -> None:
    path = done / "artifacts/tissue/slide_2.geojson"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["features"] = document["features"][:1]
    path.write_text(json.dumps(document), encoding="utf-8")
    before = sha256(done / "artifacts/patches/slide_2.h5")
    answer = sammil("patch", "--workers", 1)
    assert answer.code == 1
    assert "slide_2  E_DAMAGED" in answer.out
    assert "drawings of yours belong in data/edits" in answer.out
    document["sammil"] = with_sum(document["sammil"], document["features"])
    path.write_text(json.dumps(document), encoding="utf-8")
    answer = sammil("patch", "--workers", 1)
    assert "patch: 1 done, 5 reused" in answer.out
    rows = {row["slide_id"]: row["status"] for row in rows_of(done / "artifacts/process_lists/patch.csv")}
    assert [slide for slide, status in rows.items() if status == "done"] == ["slide_2"]
    assert sha256(done / "artifacts/patches/slide_2.h5") != before


def test_a_damaged_tissue_file_costs_that_slide_only(done: Path, sammil: Sammil) -> None:
    (done / "artifacts/tissue/slide_2.geojson").write_text('{"features": [', encoding="utf-8")
    answer = sammil("patch", "--workers", 1, "-S", "patch_px=100")
    assert answer.code == 1
    assert "5 done" in answer.out
    assert "slide_2" in answer.out
    assert files_in(done / "artifacts/patches") == {f"{slide}.h5" for slide in SLIDES if slide != "slide_2"}


def test_a_slide_without_regions_is_listed_and_the_rest_is_done(done: Path, sammil: Sammil) -> None:
    (done / "artifacts/regions/slide_4.h5").unlink()
    answer = sammil("extract")
    assert answer.code == 1
    assert "slide_4" in answer.out
    assert "E_UPSTREAM" in answer.out
    assert "5 reused" in answer.out


def test_a_slide_that_is_gone_from_the_slide_folder_is_listed(done: Path, sammil: Sammil) -> None:
    (done / "data/slides/slide_0.tif").unlink()
    answer = sammil("sam")
    assert answer.code == 1
    assert "the slide is no longer in data/slides" in answer.out
    assert "slide_0.h5" not in files_in(done / "artifacts/regions")


def test_bags_of_another_encoder_are_not_judged_by_the_old_models(done: Path, sammil: Sammil) -> None:
    for fold in FOLDS:
        path = done / "runs/models" / fold / "model.json"
        facts = json.loads(path.read_text(encoding="utf-8"))
        facts["encoder"]["name"] = "resnet50"
        write_summed(path, facts)
    (done / "runs/models/manifest.json").unlink()
    answer = sammil("evaluate")
    assert answer.code == 2
    assert "learned from features of resnet50" in answer.err
    assert "texture" in answer.err


def test_bags_of_other_regions_are_neither_judged_nor_drawn_by_the_old_models(done: Path, sammil: Sammil) -> None:
    path = BagPath(done / "artifacts/bags/slide_2.h5")
    bag = read_bag(path)
    made = {**bag.made_with, "sam": {**bag.made_with["sam"], "superpixel_area_px": 999}}
    write_bag(path, replace(bag, made_with=made), {})
    told = "superpixel_area_px 2500 in training, 999 in these bags"
    for verb in ("evaluate", "predict"):
        answer = sammil(verb, "--device", "cpu", *(["--only", "slide_2"] if verb == "predict" else []))
        assert answer.code == 2
        assert told in answer.err
        assert "sammil sam -S superpixel_area_px=2500, then sammil extract" in answer.err
    answer = sammil("visualize", "--workers", 1, "--only", "slide_2")
    assert answer.code == 1
    assert told in answer.out
    answer = sammil("train")
    assert "superpixel_area_px 2500 in 5 bags, 999 in 1 (slide_2)" in answer.err


def test_features_that_are_not_finite_are_named_by_every_command(done: Path, sammil: Sammil) -> None:
    path = BagPath(done / "artifacts/bags/slide_2.h5")
    bag = read_bag(path)
    bag.features[1, 0] = np.nan  # of the map in memory
    write_bag(path, bag, {})
    for verb in ("train", "evaluate", "ablate"):
        answer = sammil(verb, "--device", "cpu")
        assert answer.code == 2
        assert "slide slide_2: E_NAN artifacts/bags/slide_2.h5: 1 of" in answer.err
        assert "sammil extract --only slide_2" in answer.err
    assert files_in(done / "runs/models") == {*FOLDS, "manifest.json"}  # nothing was begun
    assert "1 of 1 bags in artifacts/bags are not those" in sammil("visualize", "--only", "slide_2").out
    (done / "runs/models/manifest.json").unlink()  # as of an earlier version, which did not know the bags
    assert "slide_2  E_NAN" in sammil("visualize", "--workers", 1, "--only", "slide_2").out


def test_a_test_slide_without_a_bag_is_refused(done: Path, sammil: Sammil) -> None:
    (done / "artifacts/bags/slide_1.h5").unlink()
    answer = sammil("evaluate")
    assert answer.code == 2
    assert "slide 'slide_1' of the test part has no bag any more" in answer.err


def test_labels_that_fit_no_bag_are_refused_with_both_names(done: Path, sammil: Sammil) -> None:
    for names, message, fix in (
        (("slide_1.tif", "slide_2.tif"), "'slide_1' differs in the file's suffix", "write slide_1"),
        (("case_a", "case_b"), "rows name 'case_a', slides 'slide_0'", "without its suffix"),
    ):
        (done / "data/labels.csv").write_text(
            f"slide_id,label\n{names[0]},tumour\n{names[1]},normal\n", encoding="utf-8"
        )
        answer = sammil("train")
        assert answer.code == 2
        assert message in answer.err
        assert fix in answer.err


def test_slides_without_a_label_or_without_a_bag_are_named(done: Path, sammil: Sammil) -> None:
    text = (done / "data/labels.csv").read_text(encoding="utf-8").replace("slide_4,", "slide_9,")
    (done / "data/labels.csv").write_text(text, encoding="utf-8")
    answer = sammil("train", "-S", "folds=2")  # too few patients to go on, after the warning
    assert answer.code == 2
    said = " ".join(answer.err.split())
    assert "1 labelled slides have no bag and are left out: slide_9" in said
    assert "1 bags have no label and are left out: slide_4" in said


def test_an_unknown_model_or_option_is_refused_and_the_trained_models_stay(done: Path, sammil: Sammil) -> None:
    for setting, message in (
        ("model=abmill", "unknown model 'abmill'"),
        ("model_options={gate: 1}", "model_options.gate"),
    ):
        answer = sammil("train", "-S", setting)
        assert answer.code == 2
        assert message in answer.err
    assert files_in(done / "runs/models") == {*FOLDS, "manifest.json"}


def test_a_slide_whose_regions_are_gone_is_not_drawn_and_the_others_are(done: Path, sammil: Sammil) -> None:
    (done / "artifacts/regions/slide_4.h5").unlink()
    answer = sammil("visualize", "--workers", 1)
    assert answer.code == 1
    assert "slide_4  E_UPSTREAM  artifacts/regions/slide_4.h5 is gone" in answer.out
    assert {path.stem for path in (done / "report/slides").glob("*.png")} == set(SLIDES) - {"slide_4"}


def test_a_damaged_model_costs_the_slides_of_its_fold_their_pictures_only(done: Path, sammil: Sammil) -> None:
    (done / "runs/models/repeat_0_fold_1/model.json").write_text("{")
    answer = sammil("visualize", "--workers", 1, "--json")
    assert answer.code == 1
    rows = {row["slide_id"]: row for row in json.loads(answer.out)["slides"]}
    lost = {slide for slide, row in rows.items() if row["code"] == "E_DAMAGED"}
    tested = [row for row in rows_of(done / "runs/splits.csv") if (row["fold"], row["role"]) == ("1", "test")]
    assert len(tested) == 2
    assert lost == {row["slide_id"] for row in tested}
    assert {row["status"] for slide, row in rows.items() if slide not in lost} == {"reused"}
