"""`sammil reproduce` computes a result again, and finds what was tampered with; it changes nothing of the project."""

import contextlib
import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from encoded_project import make_project, write_random_bag
from inline_executor import open_inline

from sammil_cli.errors import InputError
from sammil_cli.jobs.train import TrainJob
from sammil_cli.project.project import Project
from sammil_cli.runner import per_slide
from sammil_cli.stages import train
from sammil_cli.storage import files
from sammil_cli.storage.claims import host_id
from sammil_cli.storage.summed import write_summed
from sammil_cli.studies import reproduce

Sammil = Callable[..., Any]

QUICK = {"folds": 2, "epochs": 3, "patience": 99, "min_epochs": 0, "learning_rate": 0.001, "bootstrap_draws": 100}
SUMS = Path("report/curves/sums.json")
METRICS, RECORD, PREDICTIONS = Path("report/metrics.json"), Path("runs/record.json"), Path("runs/predictions.csv")


@pytest.fixture(autouse=True)
def inline(inline_training: None, no_pictures: None) -> None:
    """In this process."""


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Evaluated projects by protocol, made once."""
    return {"": tmp_path_factory.mktemp("originals")}


def evaluated(originals: dict[str, Path], sammil: Sammil, protocol: str) -> Path:
    if protocol not in originals:
        folder = make_project(originals[""] / protocol, {**QUICK, "protocol": protocol})
        with contextlib.chdir(folder):
            for verb in ("train", "evaluate"):
                answer = sammil(verb, "--device", "cpu")
                assert answer.code == 0, answer
        originals[protocol] = folder
    return originals[protocol]


@pytest.fixture
def project(originals: dict[str, Path], tmp_path: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An evaluated project, as working directory."""
    shutil.copytree(evaluated(originals, sammil, "honest"), tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def content(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def edit_json(path: Path, *keys: str | int, value: object) -> None:
    whole = json.loads(path.read_text(encoding="utf-8"))
    part = whole
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    if path == RECORD:
        write_summed(path, whole)
    else:
        path.write_text(json.dumps(whole), encoding="utf-8")
        SUMS.unlink(missing_ok=True)  # as another run, or an earlier version, would have left it


def auc_mean() -> float:
    return float(json.loads(METRICS.read_text(encoding="utf-8"))["auc"]["mean"])


def rewrite_predictions(column: str, change: Callable[[str], str]) -> str:
    """Changes a cell of the second slide; gives the slide's id."""
    with PREDICTIONS.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows[1][column] = change(rows[1][column])
    with PREDICTIONS.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    SUMS.unlink()
    return rows[1]["slide_id"]


def test_the_same_again_is_identical_and_nothing_of_the_project_is_touched_or_taken(
    project: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []
    work = train.work

    def spying(job: TrainJob) -> None:
        names.append(job.fold.name)
        work(job)

    monkeypatch.setattr(train, "work", spying)
    before = content(project)
    assert any(name.startswith(".sammil/store/train/") for name in before)
    answer = sammil("reproduce")
    assert (answer.code, answer.err) == (0, "")
    assert "identical" in answer.out.splitlines()[-1]
    assert "data, code, libraries and device are those of the run" in answer.out
    assert names == ["repeat_0_fold_0", "repeat_0_fold_1"]  # although the store has both
    assert content(project) == before
    assert not Path(".sammil/reproduce").exists()


def test_the_published_protocol_is_reproduced_too(
    originals: dict[str, Path], sammil: Sammil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(evaluated(originals, sammil, "paper"))
    assert "optimism" in METRICS.read_text(encoding="utf-8")
    answer = sammil("reproduce")
    assert (answer.code, "identical" in answer.out) == (0, True)


def test_intervals_are_drawn_as_for_the_metrics_even_if_evaluate_ran_later_with_other_settings(
    project: Path, sammil: Sammil
) -> None:
    assert sammil("evaluate", "--device", "cpu", "-S", "bootstrap_draws=150", "-S", "interval=0.8").code == 0
    assert json.loads(RECORD.read_text(encoding="utf-8"))["params"]["bootstrap_draws"] == 100
    answer = sammil("reproduce")
    assert (answer.code, "identical" in answer.out) == (0, True)


def test_a_metric_that_was_tampered_with_is_found(project: Path, sammil: Sammil) -> None:
    true = auc_mean()
    edit_json(METRICS, "auc", "mean", value=true + 0.005)
    answer = sammil("reproduce", "--json")
    found = json.loads(answer.out)
    assert answer.code == 1
    assert found["verdict"] == "different"
    assert [(one["name"], one["now"]) for one in found["metric_differences"]] == [("auc.mean", true)]
    assert found["metric_differences"][0]["size"] == pytest.approx(0.005)
    assert found["equal_folds"] == 2
    answer = sammil("reproduce", "--tolerance", "0.01")
    assert (answer.code, "within tolerance" in answer.out) == (0, True)


def test_another_library_is_told_and_widens_the_tolerance(project: Path, sammil: Sammil) -> None:
    edit_json(METRICS, "auc", "mean", value=auc_mean() + 0.005)
    edit_json(RECORD, "environment", "libraries", "torch", value="1.0")
    edit_json(RECORD, "git", value={"revision": "a" * 40, "changed": ["x"]})
    answer = sammil("reproduce")
    assert answer.code == 0
    told = [line for line in answer.out.splitlines() if "torch" in line]
    assert len(told) == 1
    assert "1.0" in told[0]
    assert "a" * 12 + ", 1 changed" in answer.out
    assert "within tolerance" in answer.out.splitlines()[-1]


def test_a_fold_that_was_trained_with_another_library_is_told(project: Path, sammil: Sammil) -> None:
    elsewhere = json.loads(RECORD.read_text(encoding="utf-8"))["environment"]
    elsewhere["libraries"]["numpy"] = "0.9"
    edit_json(RECORD, "folds", 1, "other_environment", value=elsewhere)
    found = json.loads(sammil("reproduce", "--json").out)
    (change,) = found["changes"]
    assert change["what"] == "numpy"
    assert change["then"] == f"{change['now']}, 0.9"
    assert found["tolerance"] == 0.01


def test_a_prediction_that_was_tampered_with_is_found(project: Path, sammil: Sammil) -> None:
    slide = rewrite_predictions("probability_tumour", lambda cell: f"{float(cell) / 2:.6f}")
    answer = sammil("reproduce")
    assert answer.code == 1
    assert f"{slide}, fold " in answer.out
    assert "probability_tumour" in answer.out
    assert "different" in answer.out.splitlines()[-1]


def test_other_weights_with_the_same_numbers_are_not_called_identical(project: Path, sammil: Sammil) -> None:
    edit_json(RECORD, "folds", 0, "weights_sha256", value="0" * 64)
    answer = sammil("reproduce", "--json")
    found = json.loads(answer.out)
    assert (answer.code, found["verdict"], found["equal_folds"]) == (0, "within tolerance", 1)


def relabel(old: str, new: str) -> None:
    path = Path("data/labels.csv")
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda: relabel("slide_07,tumour", "slide_07,normal"),
            "slide 'slide_07' is 'normal' (patient slide_07), and was 'tumour'",
        ),
        (lambda: relabel("slide_07,tumour\n", ""), "slide 'slide_07' is not in it, and was 'tumour'"),
        (
            lambda: relabel("slide_id,label\nslide_00,normal\n", "slide_id,label\nslide_99,normal\nslide_00,normal\n"),
            "order",
        ),
        (
            lambda: write_random_bag(Path("artifacts/bags"), "slide_05", 99),
            "1 of 12 bags in artifacts/bags are not those",
        ),
        (lambda: Path("artifacts/bags/slide_05.h5").unlink(), "1 of 12 bags of the run are not in artifacts/bags"),
        (lambda: shutil.rmtree("artifacts"), "12 of 12 bags of the run are not in artifacts/bags"),
        (lambda: PREDICTIONS.unlink(), "there is no runs/predictions.csv to compare with"),
        (lambda: edit_json(RECORD, "folds", 1, "threshold", value=0.123), "was not made with the models that"),
        (lambda: edit_json(METRICS, "interval", value=None), "report/metrics.json: interval: None"),
        (lambda: edit_json(RECORD, "params", "old_key", value=1), "runs/record.json: unknown key 'old_key'"),
        (lambda: METRICS.unlink(), "there is no report/metrics.json to compare with"),
        (lambda: RECORD.unlink(), "there is no run record"),
    ],
)
def test_other_data_are_refused_before_any_work(
    project: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[], object], said: str
) -> None:
    monkeypatch.setattr(train, "run", lambda *_: pytest.fail("trained"))
    spoil()
    answer = sammil("reproduce")
    assert answer.code == 2
    assert said in answer.err
    assert "fix: " in answer.err


def test_a_bag_that_has_come_since_is_refused_by_name_when_it_is_labelled(project: Path, sammil: Sammil) -> None:
    Path("data/labels.csv").write_text(Path("data/labels.csv").read_text() + "slide_77,normal\n", encoding="utf-8")
    assert sammil("train", "--device", "cpu").code == 0  # slide_77 has no bag yet
    write_random_bag(Path("artifacts/bags"), "slide_77", 1)
    answer = sammil("reproduce")
    assert answer.code == 2
    assert "slide 'slide_77' has a bag" in answer.err


def test_the_remedy_names_the_commit(project: Path, sammil: Sammil) -> None:
    edit_json(RECORD, "git", value={"revision": "0123456789abcdef" * 2, "changed": []})
    Path("artifacts/bags/slide_05.h5").unlink()
    error = sammil("reproduce").err
    assert "dvc checkout artifacts/bags (or dvc pull artifacts/bags" in error
    assert "0123456789ab" in error


def test_the_new_run_can_be_kept(project: Path, sammil: Sammil) -> None:
    answer = sammil("reproduce", "--keep", "again")
    assert answer.code == 0
    assert "the new run: again" in answer.out
    for name in (METRICS, PREDICTIONS, RECORD, Path("runs/models/repeat_0_fold_1/model.safetensors")):
        assert (Path("again") / name).read_bytes() == name.read_bytes()
    assert not Path("again/store").exists()
    answer = sammil("reproduce", "--keep", "again")
    assert answer.code == 2
    assert "again exists" in answer.err


@pytest.mark.parametrize(("module", "name"), [(reproduce, "check_data"), (train, "work")])
def test_ctrl_c_leaves_nothing_and_says_so(
    project: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str
) -> None:
    def interrupted(*_: object) -> None:
        assert name == "check_data" or list(Path(".sammil/reproduce").iterdir()) != []
        raise KeyboardInterrupt

    monkeypatch.setattr(module, name, interrupted)
    before = content(project)
    answer = sammil("reproduce", "--keep", "again")
    assert answer.code == 130
    assert "the new run was removed" in answer.err
    assert content(project) == before
    assert not Path(".sammil/reproduce").exists()
    assert not Path("again").exists()


def test_json_says_the_same_for_programs_and_what_a_killed_run_left_goes(project: Path, sammil: Sammil) -> None:
    dead = Path(f".sammil/reproduce/.work-{host_id()}-{2**22 + 1}-x")  # no process has such a number
    dead.mkdir(parents=True)
    answer = sammil("reproduce", "--json")
    found = json.loads(answer.out)
    assert answer.code == 0
    assert not dead.exists()
    assert (found["verdict"], found["changes"], found["kept"], found["bags"]) == ("identical", [], None, None)
    assert (found["folds"], found["equal_folds"], found["predictions"], found["decisions"]) == (2, 2, 12, 0)
    assert found["metrics"] > 50


# From slides, computed in this process: starting others takes longer.


def test_from_slides_every_stage_is_run_again_and_bags_are_compared_by_what_they_hold(
    done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(per_slide, "open_executor", open_inline)
    monkeypatch.setattr(files, "__version__", "9")  # stands in every file that is written now
    before = content(done)
    outcome = reproduce.run(Project(), source="slides", workers=1, keep=done.parent / "kept")
    found = outcome.agreement
    assert outcome.changes == ()
    assert (found.verdict, found.bags, found.equal_bags, found.largest_feature_difference) == ("identical", 6, 6, 0.0)
    assert content(done) == before
    kept = content(done.parent / "kept")
    made = {name for name in before if name.startswith(("artifacts/tissue/", "artifacts/regions/", "artifacts/bags/"))}
    assert made < kept.keys()
    # Three files a slide in each folder; the version stands in the bags.
    assert len(made) == 6 * 9
    bags = {name for name in made if name.startswith("artifacts/bags/") and name.endswith(".h5")}
    assert len(bags) == 6
    assert {name for name in bags if kept[name] == before[name]} == set()


def test_from_slides_a_slide_that_is_another_file_is_refused_by_name(done: Path) -> None:
    slides = sorted(Path("data/slides").iterdir())
    shutil.copyfile(slides[0], slides[2])
    with pytest.raises(InputError, match=f"{slides[2].name} is not the file that the run read"):
        reproduce.run(Project(), source="slides")
    slides[1].unlink()
    with pytest.raises(
        InputError, match=f"1 of 6 slides of the run are not in data/slides, such as '{slides[1].stem}'"
    ):
        reproduce.run(Project(), source="slides")


def test_bags_that_came_without_slides_are_not_made_from_slides(project: Path, sammil: Sammil) -> None:
    answer = sammil("reproduce", "--from", "slides")
    assert answer.code == 2
    assert "use --from bags" in answer.err
