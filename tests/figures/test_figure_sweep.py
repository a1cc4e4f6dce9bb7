"""Figure 9: which runs belong to a sweep, which value is chosen, and what DVC says of its experiments."""

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from csv_rows import rows_of

from sammil_cli.errors import InputError
from sammil_cli.figures import sweep, sweep_points
from sammil_cli.figures.sweep_points import Point, of_experiments, sweep_of
from sammil_cli.report.intervals import Estimate


def point(name: str, val: float | None = 0.8, **params: object) -> Point:
    whole = {"mask_ratio": 0.9, "epochs": 60, "seed": 1, **params}
    return Point(name=name, params=whole, val=val, val_sd=0.1, area=Estimate(0.7, 0.6, 0.8))


def revision(name: str, params: dict[str, Any], val: float, pooled: float | None) -> dict[str, Any]:
    metrics = {"val_auc": {"mean": val, "sd": 0.05}, "auc": {"pooled": pooled, "low": 0.5, "high": 0.9}}
    data = {"params": {"params.yaml": {"data": params}}, "metrics": {"report/metrics.json": {"data": metrics}}}
    return {"rev": f"{name}abcdef", "name": name, "data": data}


def _unfinished(state: str, params: dict[str, Any]) -> dict[str, Any]:
    """As DVC shows it: with the metrics of the commit that it began at."""
    return {"name": state, "executor": {"state": state}, "revs": [revision(state, params, 0.99, 0.99)]}


def test_a_sweep_is_of_runs_that_differ_in_one_setting_and_in_the_seed() -> None:
    runs = [
        point("a"),
        point("b", mask_ratio=0.3),
        point("c", mask_ratio=0.3, seed=2),
        point("d", mask_ratio=10, epochs=9),
    ]
    found = sweep_of(runs, "mask_ratio")
    assert found.values == [0.3, 0.9]
    assert [[one.name for one in found.points[key]] for key in ("0.3", "0.9")] == [["b", "c"], ["a"]]
    assert found.left_out == 1


def test_values_are_in_order_of_number_words_after_them() -> None:
    runs = [point(str(value), mask_ratio=value) for value in (10, "auto", 0.5, 2)]
    assert sweep_of(runs, "mask_ratio").values == [0.5, 2, 10, "auto"]


@pytest.mark.parametrize(("setting", "said"), [("mask_rato", "has the setting"), ("epochs", "differ in epochs alone")])
def test_without_two_runs_to_compare_there_is_no_sweep(setting: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        sweep_of([point("a"), point("b", seed=2)], setting)


def test_the_figure_is_drawn_from_what_dvc_says_and_chooses_by_val_auc(tmp_path: Path) -> None:
    base = {"mask_ratio": 0.9, "seed": 1, "consistency_weight": 0.1}
    inner = [
        {"name": "x", "revs": [revision("low", {**base, "mask_ratio": 0.3}, 0.95, 0.6)]},
        {"name": "y", "revs": [revision("none", {**base, "mask_ratio": 0.6}, 0.7, None)]},
        {"name": "z", "revs": [{"rev": "0", "name": "failed", "data": None, "error": {"msg": "x"}}]},
        *(_unfinished(state, {**base, "mask_ratio": 0.1}) for state in ("failed", "queued", "running")),
        {"name": "w", "revs": [revision("other", {**base, "consistency_weight": 0}, 0.9, 0.8)]},
    ]
    shown = [
        {"rev": "workspace", **revision("main", base, 0.9, 0.85)},
        {**revision("main", base, 0.9, 0.85), "experiments": inner},
    ]
    saved = tmp_path / "exp.json"
    saved.write_text(json.dumps(shown), encoding="utf-8")
    assert [one.name for one in of_experiments(saved)] == ["main", "low", "none", "other"]
    found = sweep.run(("mask_ratio", "consistency_weight"), (), saved, tmp_path, level=0.95, draws=100)
    assert [one.left_out for one in found] == [1, 2]
    record = json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8"))
    assert record["chosen_by"] == "val_auc"
    assert [one["chosen"] for one in record["sweeps"]] == [0.3, 0]  # the first of equals; not the largest pooled AUC
    rows = rows_of(tmp_path / "sweep.csv")
    assert [(row["value"], row["val_auc"], row["auc_pooled"]) for row in rows[:3]] == [
        ("0.3", "0.95", "0.6"),
        ("0.6", "0.7", ""),
        ("0.9", "0.9", "0.85"),
    ]
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_whose_settings_were_changed_after_it_is_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words], capture_output=True)
        return done.stdout.decode().strip()

    def ran(ratio: float) -> str:
        params = {"train": {"params": {"params.yaml": {"mask_ratio": ratio}}}}
        Path("dvc.lock").write_text(yaml.safe_dump({"stages": params}), encoding="utf-8")
        git("add", "dvc.lock")
        git("commit", "--quiet", "-m", "x")
        return git("rev-parse", "HEAD")

    git("init", "--quiet")
    kept, edited = ran(0.3), ran(0.4)
    shown = [
        {**revision("", {"mask_ratio": 0.9, "seed": 1}, 0.9, 0.8), "rev": "workspace"},
        {**revision("edited", {"mask_ratio": 0.5, "seed": 1}, 0.9, 0.8), "rev": edited},
        {**revision("kept", {"mask_ratio": 0.3, "seed": 1}, 0.9, 0.8), "rev": kept},
    ]
    monkeypatch.setattr(sweep_points, "_ask_dvc", lambda: shown)
    assert [one.name for one in of_experiments(None)] == ["kept"]
    said = capsys.readouterr().out
    assert "workspace is left out, its params.yaml was changed after it ran: mask_ratio is 0.9, and 0.4 ran" in said
    assert "edited is left out" in said
    ran(0.9)
    assert [one.name for one in of_experiments(None)] == ["workspace", "kept"]
    Path("dvc.lock").unlink()  # nothing is known
    assert "workspace" in [one.name for one in of_experiments(None)]


def test_what_is_no_list_of_experiments_is_refused(tmp_path: Path) -> None:
    saved = tmp_path / "exp.json"
    saved.write_text('{"a": 1}', encoding="utf-8")
    with pytest.raises(InputError, match="lists no experiments"):
        of_experiments(saved)
    with pytest.raises(InputError, match="3 settings are named"):
        sweep.run(("a", "b", "c"), (), saved, tmp_path, level=0.95, draws=100)


def test_the_axis_holds_every_interval() -> None:
    runs = [
        point("a"),
        Point(name="b", params={"mask_ratio": 1}, val=0.9, val_sd=None, area=Estimate(0.4, 0.21, math.nan)),
    ]
    found = sweep_of([runs[0], point("b", mask_ratio=0.1)], "mask_ratio")
    assert sweep._limits([found])[0] < 0.6
