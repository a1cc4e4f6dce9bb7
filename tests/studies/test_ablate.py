"""`sammil ablate`: every variant on the same folds, each trained once, told in tables with intervals."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from encoded_project import DIM, make_project
from published_files import BY_TITLE, FEATHER, without_classifier
from safetensors.torch import save_file

from sammil_cli.config import TrainSettings
from sammil_cli.errors import InputError
from sammil_cli.jobs.train import TrainJob
from sammil_cli.project.project import Project
from sammil_cli.report.ablation import VARIANTS
from sammil_cli.stages import train
from sammil_cli.studies import ablate
from sammil_cli.training.model_facts import read_facts

Sammil = Callable[..., Any]

QUICK = {"folds": 2, "epochs": 2, "patience": 9, "min_epochs": 0, "learning_rate": 0.001, "bootstrap_draws": 100}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inline_training: None) -> Path:
    folder = make_project(tmp_path / "project", QUICK)
    monkeypatch.chdir(folder)
    return folder


def test_the_tables_stand_in_three_files_and_shared_variants_are_trained_once(
    project: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[dict[str, Any]] = []
    work = train.work

    def spying(job: TrainJob) -> None:
        done.append(job.settings.model_dump())
        work(job)

    monkeypatch.setattr(train, "work", spying)
    answer = sammil("ablate", "--tables", "3,4", "--device", "cpu")
    assert answer.code == 0, answer
    names = ["baseline", "no-mask", "random", "non-group", "instance", "constant", "linear"]
    folders = [*names, "instance-other-seed"]  # the reference of both tables
    assert sorted(path.name for path in (project / "runs/ablation").iterdir()) == sorted(folders)
    assert len(done) == 2 * len(folders)
    for name in names:  # each variant was trained with its own settings, and all on the same folds
        facts = read_facts(project / "runs/ablation" / name / "models" / "repeat_0_fold_1")
        trained = facts.provenance["key"]["settings"]
        assert {key: trained[key] for key in VARIANTS[name]} == VARIANTS[name]
    assert len({(project / f"runs/ablation/{name}/splits.csv").read_bytes() for name in folders}) == 1
    one, other = (
        read_facts(project / f"runs/ablation/{name}/models/repeat_0_fold_1")
        for name in ("instance", "instance-other-seed")
    )
    assert other.seed == one.seed + 1
    assert {**other.provenance["key"]["settings"], "seed": 0} == {**one.provenance["key"]["settings"], "seed": 0}
    record = json.loads((project / "report/ablation/ablation.json").read_text(encoding="utf-8"))
    assert [len(table["rows"]) for table in record["tables"]] == [6, 6]
    assert record["tables"][0]["rows"][-1]["AUC minus last row"] == "–"
    assert record["tables"][0]["rows"][-2]["variant"] == "same model, other seed"
    assert record["variants"]["instance-other-seed"]["reseed"] == 1
    assert {row["shown"] for row in record["tables"][0]["rows"]} <= {"no difference shown", "open: needs repeats", "–"}
    markdown = (project / "report/ablation/ablation.md").read_text(encoding="utf-8")
    assert "## Masking strategies (Table 3)" in markdown
    assert "| SAM-guided group mask |" in markdown
    assert "Mask ratio functions (Table 4)" in (project / "report/ablation/index.html").read_text(encoding="utf-8")
    done.clear()
    assert sammil("ablate", "--tables", "3,4", "--device", "cpu").code == 0
    assert done == []  # the second time everything is taken from the store


def test_the_gap_between_the_protocols_is_a_table_of_its_own(project: Path, sammil: Sammil) -> None:
    answer = sammil("ablate", "--tables", "protocol", "--device", "cpu")
    assert answer.code == 0, answer
    record = json.loads((project / "report/ablation/ablation.json").read_text(encoding="utf-8"))
    assert ["selected on test" in row["variant"] for row in record["tables"][0]["rows"]] == [True, False, False]
    assert read_facts(project / "runs/ablation/paper-protocol/models/repeat_0_fold_0").protocol == "paper"


def test_srmil_is_taken_apart_by_its_hidden_share_and_its_loss_terms(project: Path, sammil: Sammil) -> None:
    answer = sammil("ablate", "-S", "model=srmil", "-S", "model_options.attention_dropout=0.1", "--device", "cpu")
    assert answer.code == 0, answer
    record = json.loads((project / "report/ablation/ablation.json").read_text(encoding="utf-8"))
    assert [len(table["rows"]) for table in record["tables"]] == [5, 7]
    assert record["title"].endswith("folds; srmil")
    assert len(record["variants"]) == len(list((project / "runs/ablation").iterdir())) == 10  # one is in both tables
    for name in record["variants"].keys() - {"full-other-seed"}:
        facts = read_facts(project / "runs/ablation" / name / "models" / "repeat_0_fold_1")
        changed = {key.removeprefix("model_options."): value for key, value in VARIANTS[name].items()}
        assert (facts.model, facts.model_options) == ("srmil", {"attention_dropout": 0.1, **changed})
    curve = (project / "runs/ablation/only-masked/learning_curves/repeat_0_fold_0.csv").read_text(encoding="utf-8")
    assert "loss_masked" in curve
    assert "loss_reconstruction" not in curve
    assert "loss_bag" not in curve


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--tables", "8"), "there is no table '8'"),
        (("-S", "model=abmil"), "take out\n  fix: name a table: --tables 1,5,7,protocol;"),
        (("-S", "model=srmil", "--tables", "mask,3"), "the table '3' does not take srmil apart"),
        (("-S", "model=srmil", "--tables", "regions"), "the table 'regions' does not take srmil apart"),
        (("--tables", "losses"), "choose of: 1, 2, 3, 4, 5, 6, 7, protocol, regions; or set model: srmil"),
        (("--tables", ""), "--tables names none"),
        (("-S", "protocol=paper"), "in the honest protocol"),
        (("-S", "folds=1"), "none is left to compare models on\n  fix: set folds to 2 or more: -S folds=5"),
    ],
)
def test_what_cannot_be_taken_apart_is_refused_before_any_work(
    project: Path, sammil: Sammil, words: tuple[str, ...], said: str
) -> None:
    answer = sammil("ablate", "--device", "cpu", *words)
    assert answer.code == 2
    assert said in answer.err
    assert not (project / "runs").exists()


def test_with_weights_to_start_from_a_model_that_they_are_not_of_is_left_out(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file(without_classifier(BY_TITLE["SAM-MIL"], DIM), "sam_mil.safetensors")
    settings = TrainSettings(start_from="sam_mil.safetensors")
    kept = ablate._possible(Project(), settings, ["mean", "abmil-groups", "full", "baseline", "mhim"], regions=True)
    assert kept == ["full", "baseline"]
    said = capsys.readouterr().out
    assert "left out: mean (sam_mil.safetensors holds SAM-MIL; the settings train mean" in said
    assert "left out: mhim (mhim starts from a first stage of its own" in said
    assert ablate._possible(Project(), TrainSettings(), ["mean", "mhim"], regions=True) == ["mean", "mhim"]
    flagged = ablate._possible(Project(), settings, ["no-mask", "flagged", "full"], regions=True)
    assert flagged == ["no-mask", "full"]
    assert "left out: sam-mil, flagged (sam_mil.safetensors holds published weights, which have no input" in (
        capsys.readouterr().out
    )
    save_file(without_classifier(FEATHER, DIM), "feather.safetensors")
    gated = {"model": "abmil", "model_options": {"gated": True, "attention": 384}, "group_features": False}
    settings = TrainSettings(**gated, start_from="feather.safetensors")
    # The row abmil has no options.
    assert ablate._possible(Project(), settings, ["abmil", "full"], regions=True) == ["full"]


def test_table_7_leaves_out_a_model_whose_needs_the_bags_do_not_meet(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def preflight(place: object, settings: TrainSettings) -> None:
        asked.append(settings.model)
        raise InputError("of 6 of 6 bags it is not known where patches lie", remedy="give them places")

    monkeypatch.setattr(ablate.train, "preflight", preflight)
    rows = ["mean", "mean-groups", "srmil", "srmil-groups", "full"]
    kept = ablate._possible(Project(), TrainSettings(), rows, regions=True)
    assert (kept, asked) == (["mean", "mean-groups", "full"], ["srmil"])
    said = capsys.readouterr().out
    assert "left out: srmil (of 6 of 6 bags" in said
    assert "fix: give them places" in said
    assert ablate._possible(Project(), TrainSettings(), rows, regions=False) == ["mean", "full"]
    assert "left out: mean-groups (no bag has regions)\n    fix: run sammil sam" in capsys.readouterr().out


def test_table_5_is_refused_where_no_bag_has_regions(
    project: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train.preflight
    monkeypatch.setattr(train, "preflight", lambda *words: replace(whole(*words), regions=0))
    answer = sammil("ablate", "--tables", "1,5", "--device", "cpu")
    assert answer.code == 2
    assert "no bag has regions, and Table 5 is about what group features of regions add" in answer.err
    assert not (project / "runs").exists()
