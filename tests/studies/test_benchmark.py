"""`sammil benchmark`: rows on the same slides and folds, each trained once, one that fails costing itself only."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from encoded_project import SLIDES, make_project, write_random_bag, write_settings
from inline_executor import Inline
from vector_files import write_vectors

from sammil_cli.config import TrainSettings
from sammil_cli.errors import SlideError
from sammil_cli.project.project import RunOptions
from sammil_cli.runner.executor import Answer, Call, Limits
from sammil_cli.studies import benchmark_runs
from sammil_cli.studies.benchmark_cells import Source, find_reference, make_cells, with_other_seed

Sammil = Callable[..., Any]

QUICK = {
    **{"folds": 2, "repeats": 2, "epochs": 1, "patience": 9, "min_epochs": 0},
    **{"learning_rate": 0.001, "bootstrap_draws": 100},
}
PAGE = Path(__file__).resolve().parents[2] / "docs/benchmark.md"


class Watched(Inline):
    """Computes in this process, and notes what it was asked for; may stop or fail at some of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fails = self.stops_at = ""

    def answers(self, calls: Iterator[Call]) -> Iterator[Answer]:
        for call in calls:
            self.asked.append(call.slide_id)
            if self.stops_at and call.slide_id.startswith(self.stops_at):
                raise KeyboardInterrupt
            if self.fails and call.slide_id.startswith(self.fails):
                error = SlideError("E_MEMORY", "the system killed its process", remedy="--only x", set_aside=False)
                yield Answer(slide_id=call.slide_id, error=error)
                continue
            yield from super().answers(iter([call]))


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> Watched:
    found = Watched()

    def opened(options: RunOptions, limits: Limits) -> AbstractContextManager[Watched]:
        return nullcontext(found)

    monkeypatch.setattr(benchmark_runs, "open_executor", opened)
    return found


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: Watched) -> Path:
    folder = make_project(tmp_path / "project", QUICK)
    (folder / "other/bags").mkdir(parents=True)
    for number, slide in enumerate(SLIDES):
        write_random_bag(folder / "other/bags", slide, 100 + number)
        vector = np.random.default_rng(number).standard_normal(8).astype(np.float32)
        vector += 5 * (number % 2)
        embedding = {"features": vector, "coords": np.zeros((4, 2), np.int64)}
        write_vectors(folder / "slide_features_titan" / f"{slide}.h5", embedding)
    monkeypatch.chdir(folder)
    return folder


def rows(project: Path) -> list[dict[str, str]]:
    with (project / "report/benchmark/benchmark.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def example() -> tuple[list[str], list[list[str]]]:
    """The command of the worked example in the docs, and the table that it printed."""
    text = PAGE.read_text(encoding="utf-8").split("## A worked example", 1)[1]
    command = re.search(r"^sammil benchmark (.+?)(?: +#.*)?$", text.replace("\\\n", " "), re.MULTILINE)
    assert command is not None
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return command[1].split(), [cells[0], *cells[2:]]


def test_the_example_of_the_docs_comes_out_and_a_second_call_trains_nothing(
    project: Path, executor: Watched, sammil: Sammil
) -> None:
    words, shown = example()
    folders = next(words[place + 1] for place, word in enumerate(words) if word == "--bags").split(",")
    assert len(folders) == 2
    (project / folders[1]).parent.mkdir(exist_ok=True, parents=True)
    (project / "other/bags").rename(project / folders[1])
    answer = sammil("benchmark", *words, "--device", "cpu")
    assert answer.code == 0, answer
    table = (project / "report/benchmark/benchmark.md").read_text(encoding="utf-8")
    lines = [line for line in table.splitlines() if line.startswith("|")]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert found[0] == shown[0]
    assert [row[:2] for row in found[2:]] == [row[:2] for row in shown[1:]]
    made = rows(project)
    by_role = {role: [row for row in made if row["role"] == role] for role in ("reference", "other seed", "")}
    assert [len(part) for part in by_role.values()] == [1, 1, len(made) - 2]
    assert all(row["p_holm"] and float(row["p_holm"]) >= float(row["p"]) for row in by_role[""])
    assert (by_role["reference"][0]["difference"], by_role["other seed"][0]["p_holm"]) == ("", "")
    assert all(int(row["parameters"]) > 0 and float(row["ms_per_slide"]) > 0 for row in made)
    assert all(int(row["peak_bytes"]) > 2**20 for row in made)
    splits = {path.read_bytes() for path in (project / "runs/benchmark").glob("*/splits.csv")}
    assert len(splits) == 1
    for file in ("index.html", "benchmark.tex", "benchmark.json", "forest.png"):
        assert (project / "report/benchmark" / file).stat().st_size > 500
    executor.asked.clear()
    assert sammil("benchmark", *words, "--device", "cpu").code == 0
    assert (executor.asked, rows(project)) == ([], made)


def test_slide_embeddings_are_judged_by_logistic_regression_on_the_same_folds(
    project: Path, executor: Watched, sammil: Sammil
) -> None:
    words = ("--models", "mean-pool", "--embeddings", "titan=slide_features_titan", "--json")
    answer = sammil("benchmark", *words, "--reference", "logistic regression")
    assert answer.code == 0, answer
    told = json.loads(answer.out)["rows"]
    assert [(row["model"], row["features"], row["role"]) for row in told] == [
        ("mean-pool", "artifacts/bags", ""),
        ("logistic regression", "titan", "reference"),
    ]
    assert [row["parameters"] for row in told] == [7, 9]
    assert told[1]["auc_pooled"] > 0.9
    results = [
        json.loads((project / "runs/benchmark" / name / "result.json").read_text(encoding="utf-8"))["predictions"]
        for name in ("mean-pool@artifacts-bags", "logistic-regression@titan")
    ]
    assert results[0]["slides"] == results[1]["slides"]
    assert sorted(results[0]["slides"]) == sorted(2 * SLIDES)
    write_vectors(project / "slide_features_titan" / f"{SLIDES[0]}.h5", {"features": np.zeros((4, 8), np.float32)})
    answer = sammil("benchmark", *words)  # bags of patches, where embeddings were meant: the other row is made
    assert answer.code == 1
    failed = json.loads(answer.out)["failed"]
    assert [(one["features"], one["code"]) for one in failed] == [("titan", "E_LEGACY_DAMAGED")]
    assert "features (4, 8)" in failed[0]["message"]
    assert "for --bags" in failed[0]["remedy"]


def test_a_row_that_fails_is_listed_and_stops_no_other(project: Path, executor: Watched, sammil: Sammil) -> None:
    executor.fails = "abmil@artifacts-bags/repeat_0_fold_1"
    words = ("benchmark", "--models", "mean-pool,abmil,max", "--device", "cpu", "--repeats", "1")
    answer = sammil(*words)
    assert answer.code == 1
    told = [(row["model"], row["role"]) for row in rows(project)]
    assert told == [("mean-pool", "reference"), ("max", ""), ("abmil", "failed")]
    last = rows(project)[-1]
    assert (last["code"], last["message"]) == ("E_MEMORY", "repeat_0_fold_1: the system killed its process")
    assert "--workers 1" in last["remedy"]  # and not the advice for slides
    assert "Rows that could not be made" in answer.out
    executor.fails = ""
    executor.asked.clear()
    assert sammil(*words).code == 0
    assert executor.asked == ["abmil@artifacts-bags/repeat_0_fold_1"]
    assert [row["role"] for row in rows(project)] == ["reference", "", ""]


def test_what_is_wrong_with_every_row_is_said_once(project: Path, executor: Watched, sammil: Sammil) -> None:
    answer = sammil("benchmark", "--models", "mean-pool,max", "--device", "cpu", "-S", "positive_class=nobody")
    assert answer.code == 2
    assert answer.err.count("positive_class 'nobody'") == 1
    assert not Path("report/benchmark").exists()


def test_without_the_reference_the_others_stand_alone(project: Path, executor: Watched, sammil: Sammil) -> None:
    executor.fails = "abmil"
    answer = sammil("benchmark", "--models", "abmil,mean-pool", "--device", "cpu", "--repeats", "1")
    assert answer.code == 1
    told = {row["model"]: row for row in rows(project)}
    assert told["mean-pool"]["difference"] == ""
    assert float(told["mean-pool"]["auc_pooled"]) >= 0
    assert told["abmil, other seed"]["code"] == "E_MEMORY"


def test_what_is_finished_at_ctrl_c_is_kept(project: Path, executor: Watched, sammil: Sammil) -> None:
    executor.stops_at = "mean@artifacts-bags-other-seed/repeat_0_fold_1"
    words = ("benchmark", "--models", "mean", "--device", "cpu", "--repeats", "1")
    answer = sammil(*words)
    assert answer.code == 130
    assert "run the same command to go on" in answer.err
    assert len(executor.asked) == 4
    executor.stops_at = ""
    executor.asked.clear()
    answer = sammil(*words)
    assert answer.code == 0
    assert executor.asked == ["mean@artifacts-bags-other-seed/repeat_0_fold_1"]
    assert "1 folds to train, 3 trained before" in answer.out


def test_rows_are_of_the_slides_that_all_folders_have(project: Path, sammil: Sammil) -> None:
    (project / "other/bags" / f"{SLIDES[3]}.h5").unlink()
    answer = sammil("benchmark", "--models", "mean-pool", "--bags", "artifacts/bags,other=other/bags")
    assert answer.code == 0, answer
    assert f"every row is of the 11 that all of them have; left out: {SLIDES[3]}" in answer.out
    assert "Benchmark on 11 slides" in answer.out
    page = (project / "report/benchmark/benchmark.md").read_text(encoding="utf-8")
    assert "The folders hold different slides (artifacts/bags 12, other 11)" in page
    links = list((project / "runs/benchmark/slides/artifacts-bags").iterdir())
    assert len(links) == 11
    assert all(link.is_symlink() for link in links)


def test_models_carry_settings_and_all_rows_have_the_same_folds() -> None:
    settings = TrainSettings(model="sam-mil", model_options={}, mask_ratio=0.5)
    source = Source(label="bags", path=Path("bags"))
    words = ["abmil:model_options.gated=true:epochs=7", "sam-mil", "mean-pool"]
    gated, own, pool = cells = make_cells(settings, words, [source], [])
    assert (gated.settings.model_options, gated.settings.epochs) == ({"gated": True}, 7)
    assert own.settings == settings
    assert pool.kind == "vectors"
    assert len({cell.name for cell in cells}) == 3
    again = with_other_seed(gated)
    assert again is not None
    assert (again.settings, again.reseed > 0) == (gated.settings, True)
    assert with_other_seed(pool) is None
    assert find_reference(cells, "sam-mil@bags") is own


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--models", "abml"), "abml"),
        (("--models", "abmil:seed=3"), "all rows have the same folds"),
        (("--models", "abmil:folds=3"), "all rows have the same folds"),
        (("--models", "abmil:depth=3"), "'depth=3' sets nothing of training"),
        (("--models", "mean-pool:epochs=3"), "mean-pool has no settings"),
        (("--models", "abmil,mean", "--reference", "max"), "there is no such row\n  fix: one of: abmil, mean"),
        (("--models", ""), "there is nothing to compare"),
        (("--models", "mean", "--bags", "nowhere"), "there is no folder nowhere"),
        (("--models", "mean", "--bags", "a-b=other/bags,a/b=artifacts/bags"), "would have the same folder"),
        (("--models", "mean", "-S", "protocol=paper"), "chosen on the test slides"),
        (("--models", "mean", "-S", "folds=1"), "none is left to compare models on"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_any_work(
    project: Path, executor: Watched, sammil: Sammil, words: tuple[str, ...], said: str
) -> None:
    answer = sammil("benchmark", *words, "--device", "cpu")
    assert answer.code == 2
    assert said in answer.err
    assert executor.asked == []
    assert not (project / "runs").exists()


def test_the_same_seed_gives_the_same_numbers(project: Path, sammil: Sammil) -> None:
    words = ("benchmark", "--models", "mean,mean-pool", "--device", "cpu", "--repeats", "1")
    numbers = []
    for folder in ("one", "two"):
        write_settings(project, {**yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8")), "seed": 5})
        store = project / ".sammil"
        if store.exists():
            store.rename(project / f"store-{folder}")
        assert sammil(*words, "--runs", folder).code == 0
        numbers.append([{key: row[key] for key in ("auc_pooled", "difference", "p")} for row in rows(project)])
    assert numbers[0] == numbers[1]
