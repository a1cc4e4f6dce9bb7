"""sammil evaluate of models of the published protocol: every number is stamped; see `judged_study`."""

import re
from pathlib import Path

import numpy as np
import pytest
from judged_study import Study, each, keys, make_study
from safetensors.numpy import save_file

from sammil_cli.config import load_settings
from sammil_cli.errors import InputError
from sammil_cli.training import trained_model
from sammil_cli.training.thresholds import SELECTED_ON_TEST

pytestmark = pytest.mark.usefixtures("no_pictures")


def write_epochs(study: Study, epochs: int = 30) -> None:
    rng = np.random.default_rng(7)
    for fold in study.folds:
        said = rng.dirichlet((1.0, 1.0), (epochs, len(fold.test))).astype(np.float32)
        save_file({"probabilities": said}, study.project.models / fold.name / "epochs.safetensors")


def test_every_number_of_the_published_protocol_is_stamped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(tmp_path, monkeypatch, protocol="paper")
    write_epochs(study)
    summary = study.run()
    assert summary["protocol"] == f"paper: {SELECTED_ON_TEST}"
    assert {row["protocol"] for row in study.predictions()} == {f"paper: {SELECTED_ON_TEST}"}
    text = study.project.page.read_text(encoding="utf-8")
    bodies = re.findall("<tbody>.*?</tbody>", text, re.DOTALL)
    rows = [row for body in bodies for row in re.findall("<tr.*?</tr>", body, re.DOTALL)]
    assert len(rows) > 15 + len(study.label)
    assert [row for row in rows if f">{SELECTED_ON_TEST}</td>" not in row] == []
    said = " ".join(capsys.readouterr().out.split())
    assert said.count(SELECTED_ON_TEST) == said.count("┏") == 5  # each of the tables
    assert "test_threshold" not in summary


def test_abstaining_is_refused_before_any_fold_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path, monkeypatch, protocol="paper")
    monkeypatch.setattr(trained_model, "read_model", lambda *_: pytest.fail("a model is judged"))
    with pytest.raises(InputError, match="abstain needs out-of-fold probabilities"):
        study.run(abstain=0.9)
    with pytest.raises(InputError, match=r"settings: abstain needs .* protocol: paper"):
        load_settings(None, ["protocol=paper", "abstain=0.9"])


def test_an_honest_run_carries_no_stamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(tmp_path, monkeypatch)
    assert "optimism" not in study.run()
    assert SELECTED_ON_TEST not in study.project.page.read_text(encoding="utf-8")
    assert SELECTED_ON_TEST not in " ".join(capsys.readouterr().out.split())


def test_the_published_protocol_is_set_beside_its_chance_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path, monkeypatch, protocol="paper")
    write_epochs(study)
    summary = study.run()
    spread, chance = dict.fromkeys(("mean", "sd")), dict.fromkeys(("mean", "p95"))
    names = ("auc", "accuracy", "f1")
    assert keys(summary["optimism"]) == {
        "published": each(names, spread),
        "nothing_chosen": each(names, spread),
        "chance": each(names, chance),
    }
    assert summary["optimism"]["published"]["auc"]["mean"] == summary["auc"]["mean"]
    # The best of 30 random epochs on four slides is nearly perfect whatever the labels are.
    assert summary["optimism"]["chance"]["auc"]["mean"] > 0.9
    assert "chance level, shuffled labels" in study.project.page.read_text(encoding="utf-8")


def test_without_the_epochs_it_is_said_that_the_gap_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(tmp_path, monkeypatch, protocol="paper")
    summary = study.run()
    assert list(summary["optimism"]) == ["missing"]
    assert "cannot be shown" in " ".join(capsys.readouterr().out.split())
    assert "epochs.safetensors is missing" in study.project.page.read_text(encoding="utf-8")


def test_epochs_of_other_slides_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path, monkeypatch, protocol="paper")
    write_epochs(study)
    path = study.project.models / study.folds[0].name / "epochs.safetensors"
    save_file({"probabilities": np.zeros((3, 5, 2), np.float32)}, path)
    with pytest.raises(InputError, match="is not of the slides of this fold"):
        study.run()
