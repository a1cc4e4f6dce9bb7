"""`sammil evaluate` and `sammil evaluate --on` share a name: options of the one are refused by the other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sammil_cli.stages import external

Sammil = Callable[..., Any]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("bootstrap_draws: 300\n", encoding="utf-8")


@pytest.mark.parametrize("words", [("--by", "site"), ("--models", "runs")])
def test_options_of_an_external_cohort_need_its_labels(sammil: Sammil, words: tuple[str, ...]) -> None:
    answer = sammil("evaluate", *words)
    assert answer.code == 2
    assert f"{words[0]} is for an external cohort" in answer.err
    assert "--on LABELS" in answer.err


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (("--labels", "l.csv"), "give the labels by --on"),
        (("--runs", "r"), "name the models by --models"),
        (("--changed-labels",), "leave it out"),
    ],
)
def test_options_of_the_folds_do_not_go_with_an_external_cohort(
    sammil: Sammil, words: tuple[str, ...], fix: str
) -> None:
    answer = sammil("evaluate", "--on", "other.csv", *words)
    assert answer.code == 2
    assert f"{words[0]} does not go with --on" in answer.err
    assert fix in answer.err


def test_words_reach_the_stage(sammil: Sammil, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def run(*words: Any, by: Any) -> Any:
        asked.extend((*words[:4], words[4].bootstrap_draws, by))
        return {"auc": 1}, []

    monkeypatch.setattr(external, "run", run)
    answer = sammil(
        *("evaluate", "--on", "other.csv", "--models", "m.sammil", "--bags", "b", "--by", "site", "--by", "sex"),
        "--json",
    )
    assert answer.code == 0
    assert asked == [Path("other.csv"), Path("m.sammil"), Path("b"), Path("report/external"), 300, ("site", "sex")]
    assert '"auc": 1' in answer.out
