"""`sammil reproduce` passes its options on, and its exit code is the verdict."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sammil_cli.project.project import Project
from sammil_cli.studies import reproduce
from sammil_cli.studies.agreement import Agreement, Difference, Verdict
from sammil_cli.studies.reproduce import Outcome

Sammil = Callable[..., Any]


def outcome(verdict: Verdict) -> Outcome:
    lost = Difference(name="auc.mean", then=0.5, now=None, size=None)
    agreement = Agreement(
        verdict=verdict,
        tolerance=0.01,
        metrics=3,
        metric_differences=(lost,),
        predictions=2,
        prediction_differences=(),
        decisions=0,
        folds=2,
        equal_folds=2,
        bags=None,
        equal_bags=None,
        largest_feature_difference=None,
    )
    return Outcome(changes=(), agreement=agreement, kept=Path("kept"))


@pytest.mark.parametrize(("verdict", "code"), [("identical", 0), ("within tolerance", 0), ("different", 1)])
def test_the_exit_code_is_the_verdict(
    sammil: Sammil, project: Path, monkeypatch: pytest.MonkeyPatch, verdict: Verdict, code: int
) -> None:
    monkeypatch.setattr(reproduce, "run", lambda *_, **__: outcome(verdict))
    answer = sammil("reproduce", "--json")
    assert answer.code == code
    found = json.loads(answer.out)
    assert (found["verdict"], found["kept"]) == (verdict, "kept")
    assert found["metric_differences"] == [{"name": "auc.mean", "then": 0.5, "now": None, "size": None}]


def test_options_are_passed_on(sammil: Sammil, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAMMIL_WORKERS", raising=False)
    calls = []

    def run(*arguments: Any, **more: Any) -> Outcome:
        calls.append((arguments, more))
        return outcome("identical")

    monkeypatch.setattr(reproduce, "run", run)
    places = ("--record", "old/record.json", "--bags", "b", "--labels", "l.csv", "--slides", "s", "--report", "r")
    how = ("--from", "slides", "--tolerance", "0.2", "--keep", "k", "--device", "cpu", "--workers", "3")
    assert sammil("reproduce", *places, *how).code == 0
    assert sammil("reproduce").code == 0
    named = Project(
        record=Path("old/record.json"),
        predictions=Path("old/predictions.csv"),
        metrics=Path("r/metrics.json"),
        bags=Path("b"),
        labels=Path("l.csv"),
        slides=Path("s"),
    )
    asked = {"source": "slides", "device": "cpu", "workers": 3, "tolerance": 0.2, "keep": Path("k")}
    standard = {"source": "bags", "device": None, "workers": None, "tolerance": None, "keep": None}
    assert calls == [((named,), asked), ((Project(),), standard)]


@pytest.mark.parametrize("words", [("--from", "patches"), ("--tolerance", "-1"), ("--workers", "0")])
def test_wrong_options_are_usage_errors(sammil: Sammil, project: Path, words: tuple[str, ...]) -> None:
    answer = sammil("reproduce", *words)
    assert answer.code == 2
    assert words[0] in answer.err
