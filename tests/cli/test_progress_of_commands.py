"""Commands that take long say how far they are, where there is no terminal; here every line is due at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from judged_cohorts import two_runs
from judged_files import write_run

from sammil_cli import console

Sammil = Callable[..., Any]


@pytest.fixture(autouse=True)
def _lines_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_FIRST_LINE", 0.0)


def lines_of(answer: Any) -> list[str]:
    """The last line of each progress, without its time."""
    assert answer.code == 0, answer
    return [
        line.rpartition(" in ")[0] for line in answer.err.splitlines() if line.endswith(" s") and " left" not in line
    ]


def test_compare_counts_runs_per_slide_and_per_patient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sammil: Sammil
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, rows in zip(("abmil", "sam-mil"), two_runs(60, seed=1, areas=(0.7, 0.95), repeats=1), strict=True):
        write_run(tmp_path / name, rows)
    assert "compare: 2 of 2" in lines_of(sammil("compare", "abmil", "sam-mil", "--draws", "100"))


def test_evaluate_counts_the_bags_that_it_looks_at(done: Path, sammil: Sammil) -> None:
    said = lines_of(sammil("evaluate"))
    for line in ("look at bags: 6 of 6", "evaluate: 3 of 3", "hash bags: 6 of 6", "compare bags: 6 of 6"):
        assert line in said


def test_bundle_counts_the_models_that_it_reads(done: Path, sammil: Sammil) -> None:
    assert "read models: 3 of 3" in lines_of(sammil("bundle", ".", "-o", "model.sammil"))


def test_a_sweep_counts_its_trainings(done: Path, sammil: Sammil) -> None:
    answer = sammil("figure", "sweep", "mask_ratio", "--run", "runs", "--run", str(done / "runs"))
    assert answer.code == 2  # these do not differ
    assert "sweep: 2 of 2" in answer.err


def test_reproduce_counts_what_it_checks_and_what_it_trains(done: Path, sammil: Sammil) -> None:
    said = lines_of(sammil("reproduce"))
    assert said.count("hash bags: 6 of 6") > 1
    assert any(line.startswith("train: ") for line in said)
