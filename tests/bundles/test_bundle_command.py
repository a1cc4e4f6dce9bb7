"""sammil bundle: makes one file of a run, says what is in it, and the file is used elsewhere."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from csv_rows import rows_of

from sammil_cli.bundles.models import open_models
from sammil_cli.storage.paths import ModelPath
from sammil_cli.training.model_facts import read_facts

Sammil = Callable[..., Any]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def facts_of(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        found: dict[str, Any] = json.loads(archive.read("bundle.json"))
    return found


def test_a_bundle_is_made_without_a_word_and_shown_in_80_columns(done: Path, sammil: Sammil) -> None:
    made = sammil("bundle", ".", "-o", "model.sammil", "--intended-use", "triage of drawn slides, in a study")
    assert (made.code, made.err) == (0, "")
    assert "3 models" in made.out
    shown = sammil("bundle", "show", "model.sammil")
    assert shown.code == 0, shown
    assert max(map(len, shown.out.splitlines())) <= 80
    for text in (
        "triage of drawn slides, in a study",
        "normal, tumour; positive: tumour",
        "mean of 3 calibrated thresholds",
        "3 normal (3)",
        "repeat_0_fold_2",
        "superpixels",
        "128 px at 1 µm per pixel",
        "sensitivity",
        "n too small",
        "texture",
        "prepared: patches as they are",
    ):
        assert text in shown.out
    facts = json.loads(sammil("bundle", "show", "model.sammil", "--json").out)
    assert facts["file"] == "model.sammil"
    assert facts["cohort"]["patients"] == 6
    assert facts["settings"]["tissue_mpp"] == 4.0
    assert facts["bags"]["encoder_details"]["precision"] == "float32"


def test_no_name_of_a_patient_is_in_it(done: Path, sammil: Sammil) -> None:
    assert sammil("bundle", ".", "-o", "model.sammil").code == 0
    assert b"patient_0" not in Path("model.sammil").read_bytes()
    assert b"slide_0" in Path("model.sammil").read_bytes()  # else nobody could know what is in sample


def test_a_bundle_moved_to_another_folder_judges_bags(
    done: Path, sammil: Sammil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sammil("predict", "runs/models", "--out", "before", "--no-pictures")
    assert before.code == 0, before
    assert sammil("bundle", "runs", "-o", "model.sammil").code == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move("model.sammil", elsewhere)
    shutil.move("artifacts/bags", elsewhere / "bags")
    written = rows_of(Path("before/predictions.csv"))
    shutil.rmtree(done)
    monkeypatch.chdir(elsewhere)
    after = sammil("predict", "model.sammil", "--bags", "bags", "--out", "after", "--no-pictures")
    assert after.code == 0, after
    assert rows_of(Path("after/predictions.csv")) == written
    assert {row["in_sample"] for row in written} == {"false"}


def test_one_fold_says_that_its_figures_are_those_of_all(done: Path, sammil: Sammil) -> None:
    assert sammil("bundle", ".", "-o", "one.sammil", "--fold", "repeat_0_fold_1").code == 0
    facts = facts_of(Path("one.sammil"))
    assert [member["name"] for member in facts["members"]] == ["repeat_0_fold_1"]
    assert facts["performance"]["of"].startswith("all folds of its training")
    refused = sammil("bundle", ".", "-o", "one.sammil", "--fold", "repeat_0_fold_7")
    assert (refused.code, "no model 'repeat_0_fold_7'" in refused.err) == (2, True)


def test_without_an_evaluation_of_just_these_models_none_is_claimed(done: Path, sammil: Sammil) -> None:
    table = Path("runs/predictions.csv")
    table.write_text(table.read_text().replace(",0.4", ",0.3"))
    said = sammil("bundle", ".", "-o", "model.sammil")
    assert "not known" in said.out
    assert "sammil evaluate" in facts_of(Path("model.sammil"))["no_performance"]
    Path("report/curves/sums.json").unlink()  # as in results of earlier versions: then the thresholds tell
    assert sammil("bundle", ".", "-o", "model.sammil").code == 0
    assert "other models" in facts_of(Path("model.sammil"))["no_performance"]
    shutil.rmtree("report")
    assert sammil("bundle", ".", "-o", "model.sammil").code == 0
    assert facts_of(Path("model.sammil"))["performance"] is None
    assert "no metrics.json" in sammil("bundle", "show", "model.sammil").out


@pytest.mark.usefixtures("inline_training")
def test_a_refit_is_one_model_on_all_by_what_the_folds_chose(done: Path, sammil: Sammil) -> None:
    folds = [read_facts(ModelPath(path)) for path in sorted(Path("runs/models").glob("repeat*"))]
    before = {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()}
    said = sammil("bundle", ".", "-o", "model.sammil", "--refit")
    assert said.code == 0, said
    assert "the median of what 3 folds chose" in said.out
    assert {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()} == before
    models = open_models(Path("model.sammil"), "cpu")
    assert models.bundle is not None
    (fold,) = models.folds
    assert fold.seen == {f"slide_{number}" for number in range(6)}
    assert fold.facts.chosen_on == "folds"
    assert fold.facts.epoch + 1 == round(np.median([one.epoch + 1 for one in folds]))
    mean = np.mean([one.calibrated_threshold for one in folds])
    assert models.bundle.decision.threshold == pytest.approx(mean, rel=1e-9)
    assert fold.patient_thresholds == {rule: pytest.approx(mean) for rule in ("mean", "max")}  # a slide per patient
    assert "judged on none" in sammil("bundle", "show", "model.sammil").out.replace("\n" + " " * 16, " ")
    assert sammil("bundle", ".", "-o", "again.sammil", "--refit").code == 0
    assert Path("again.sammil").read_bytes() == Path("model.sammil").read_bytes()
    labels = Path("data/labels.csv")
    labels.write_text(labels.read_text().replace("slide_0,normal", "slide_0,tumour"))
    refused = sammil("bundle", ".", "-o", "model.sammil", "--refit")
    assert (refused.code, "'slide_0' has another label" in refused.err) == (2, True)


def test_wrong_words_are_refused_with_the_right_ones(done: Path, sammil: Sammil) -> None:
    assert sammil("bundle", ".", "-o", "model.sammil").code == 0
    for words, text in (
        ((".", "-o", "model.zip"), "-o model.sammil"),
        (("nothing", "-o", "other.sammil"), "no trained model"),
        (("model.sammil", "-o", "other.sammil"), "sammil bundle show model.sammil"),
        (("show", "runs"), "sammil bundle runs -o"),
        (("show", "none.sammil"), "does not exist"),
        ((".", "-o", "other.sammil", "--refit", "--fold", "repeat_0_fold_0"), "leave out --refit, or --fold"),
    ):
        answer = sammil("bundle", *words)
        assert answer.code == 2
        assert text in answer.err
    assert not Path("other.sammil").exists()


def test_a_model_whose_name_no_bundle_has_is_refused(done: Path, sammil: Sammil) -> None:
    shutil.copytree("runs/models/repeat_0_fold_0", "others/ä model")
    answer = sammil("bundle", "others", "-o", "model.sammil")
    assert (answer.code, "rename its folder" in answer.err) == (2, True)


def test_where_the_cache_cannot_be_written_a_bundle_opens_all_the_same(
    done: Path, sammil: Sammil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sammil("bundle", ".", "-o", "model.sammil").code == 0
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(open_models(Path("model.sammil"), "cpu").folds) == 3


def test_what_was_unpacked_before_is_verified_again(done: Path, sammil: Sammil, tmp_path: Path) -> None:
    assert sammil("bundle", ".", "-o", "model.sammil").code == 0
    first = open_models(Path("model.sammil"), "cpu")
    weights = first.folders[0] / "model.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-1])
    open_models(Path("model.sammil"), "cpu")
    assert weights.read_bytes() == good
    shutil.copytree(first.folders[0], first.folders[0].with_name("a_stranger"))
    answer = sammil("bundle", "show", "model.sammil")
    assert (answer.code, "holds other models" in answer.err) == (2, True)


def test_what_a_refit_alone_reads_is_not_passed_over(tmp_path: Path, sammil: Sammil) -> None:
    for option in ("--bags", "--labels"):
        answer = sammil("bundle", tmp_path, "-o", tmp_path / "m.sammil", option, tmp_path / "x")
        assert (answer.code, "add --refit" in answer.err) == (2, True)
