"""Experiments: the journey's sweep over linked slides with its plot, shared through remotes, found again byte by byte.

The tests go on in order.
"""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from csv_rows import rows_of
from pipeline_project import StudyFolder, counts
from slide_maker import write_tiny_cohort

pytestmark = pytest.mark.slow

RATIOS = ("0.2", "0.8")
SWEEP = Path(__file__).parents[1] / "real/journeys/sweep_with_plot.sh"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for both remotes, Git's (`study.git`) and DVC's (`data`)."""
    return tmp_path_factory.mktemp("shelf")


@pytest.fixture(scope="module")
def study(under_dvc: StudyFolder, shelf: Path) -> StudyFolder:
    """Six slides with labels, their bags made; nothing is trained yet. DVC's remote is known from the start.

    The slides are links, file by file, that Git ignores. DVC pushes an experiment's files where the experiment's own
    commit says.
    """
    under_dvc.call("dvc", "remote", "add", "--default", "shelf", shelf / "data")
    write_tiny_cohort(under_dvc.slides.parent, 6)
    shutil.copy(under_dvc.slides.parent / "labels.csv", under_dvc.root / "data" / "labels.csv")
    (under_dvc.root / "data/slides").unlink()
    link_slides(under_dvc, under_dvc.root)
    under_dvc.change(folds=3, epochs=3)
    pipeline = yaml.safe_load((under_dvc.root / "dvc.yaml").read_text())
    del pipeline["stages"]["visualize"]  # its pictures take a while; and DVC applies no half-done pipeline
    pipeline["stages"]["train"]["cmd"] += " --workers 1"  # each worker of its own would import torch anew
    (under_dvc.root / "dvc.yaml").write_text(yaml.safe_dump(pipeline))
    under_dvc.call("dvc", "repro", "extract")
    under_dvc.commit()
    return under_dvc


def link_slides(study: StudyFolder, project: Path) -> None:
    (project / "data/slides").mkdir()
    for slide in study.slides.iterdir():
        (project / "data/slides" / slide.name).symlink_to(slide)


@pytest.fixture(scope="module")
def sweep(study: StudyFolder) -> dict[str, str]:
    """Mask ratio -> name of its experiment; the journey has queued both, run them two at a time, and plotted them."""
    lines = SWEEP.read_text(encoding="utf-8").splitlines()
    assert 1 <= len([line for line in lines if line.startswith(("dvc ", "sammil "))]) <= 3
    said = study.call("bash", SWEEP, ",".join(RATIOS))
    assert "data/slides: 6 file(s) linked from" in said
    return dict(zip(RATIOS, re.findall(r"Queued experiment '(\S+)'", said), strict=True))


@pytest.fixture(scope="module")
def elsewhere(
    study: StudyFolder, sweep: dict[str, str], shelf: Path, tmp_path_factory: pytest.TempPathFactory
) -> StudyFolder:
    """A colleague's clone: the first experiment was applied and committed, the other pushed; nothing is pulled yet."""
    study.call("git", "init", "--quiet", "--bare", shelf / "study.git")
    study.call("git", "remote", "add", "origin", shelf / "study.git")
    study.call("dvc", "exp", "push", "origin", sweep["0.8"])
    study.call("dvc", "exp", "apply", sweep["0.2"])
    study.commit()
    study.call("dvc", "push")
    study.call("git", "push", "--quiet", "origin", "HEAD:refs/heads/result")
    clone = StudyFolder(tmp_path_factory.mktemp("elsewhere") / "study")
    study.call("git", "clone", "--quiet", "--branch", "result", shelf / "study.git", clone.root)
    link_slides(study, clone.root)
    return clone


def experiments(study: StudyFolder) -> dict[str, tuple[float, float]]:
    """Name -> mask ratio and pooled Brier score of each experiment that Git knows."""
    refs = study.call("git", "for-each-ref", "--format=%(refname)", "refs/exps").split()
    found = {}
    for ref in (ref for ref in refs if re.match(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/", ref)):
        settings = yaml.safe_load(study.call("git", "show", f"{ref}:params.yaml"))
        judged = json.loads(study.call("git", "show", f"{ref}:report/metrics.json"))
        found[ref.rpartition("/")[2]] = (settings["mask_ratio"], judged["brier"]["pooled"])
    return found


def ran(said: str) -> list[str]:
    """The stages that DVC ran."""
    return re.findall(r"^Running stage '(\w+)'", said, re.MULTILINE)


def results(study: StudyFolder) -> dict[str, bytes]:
    return {name: (study.root / name).read_bytes() for name in ("report/metrics.json", "runs/predictions.csv")}


@pytest.mark.stress  # a sweep takes two minutes
def test_a_sweep_with_two_workers_trains_each_and_makes_no_bag_anew(study: StudyFolder, sweep: dict[str, str]) -> None:
    found = experiments(study)
    assert {name: ratio for name, (ratio, _) in found.items()} == {name: float(key) for key, name in sweep.items()}
    assert len({score for _, score in found.values()}) == 2
    said = study.call("dvc", "queue", "logs", sweep["0.8"])
    assert counts(said) == {}
    assert "Stage 'extract' didn't change, skipping" in said
    assert ran(said) == ["code", "train", "evaluate"]


@pytest.mark.stress
def test_a_sweep_has_its_plot_that_needs_no_network(study: StudyFolder, sweep: dict[str, str]) -> None:
    rows = rows_of(study.root / "report/figures/sweep.csv")
    assert [row["value"] for row in rows] == list(RATIOS)
    assert all(float(row["val_auc"]) >= 0 for row in rows)
    assert (study.root / "report/figures/sweep.png").stat().st_size > 10_000
    assert study.call("git", "status", "--porcelain") == ""  # neither links nor plots got into Git
    study.call("dvc", "plots", "show", "report/figures/sweep.csv", "-x", "value", "-y", "val_auc", "-t", "scatter")
    page = (study.root / "dvc_plots/index.html").read_text(encoding="utf-8")
    assert "<script src" not in page
    assert "vegaEmbed('#report_figures_sweep_csv', spec)" in page
    assert study.call("git", "status", "--porcelain") == ""


@pytest.mark.stress  # half a minute, as the last one
def test_a_run_that_failed_is_in_no_plot(study: StudyFolder, sweep: dict[str, str]) -> None:
    study.call("dvc", "exp", "run", "--queue", "-S", "mask_ratio=1.5")  # which is no ratio
    study.start("dvc", "exp", "run", "--run-all").communicate(timeout=200)
    assert "Failed" in study.call("dvc", "queue", "status")
    study.call("sammil", "figure", "sweep", "mask_ratio")
    assert [row["value"] for row in rows_of(study.root / "report/figures/sweep.csv")] == list(RATIOS)


@pytest.mark.stress  # the study behind it takes two minutes
def test_a_fresh_clone_pulls_the_same_numbers_and_has_nothing_to_do(study: StudyFolder, elsewhere: StudyFolder) -> None:
    elsewhere.call("dvc", "pull")
    assert results(elsewhere) == results(study)
    said = elsewhere.call("dvc", "repro")
    assert ran(said) == ["code"]
    assert elsewhere.call("git", "status", "--porcelain") == ""
    assert elsewhere.check_cache() > 0


@pytest.mark.stress
def test_trained_again_elsewhere_every_byte_is_the_same(study: StudyFolder, elsewhere: StudyFolder) -> None:
    before = results(elsewhere)
    assert not (elsewhere.root / ".dvc/cache/sammil").exists()  # so nothing can come from the result store
    for name in before:
        (elsewhere.root / name).unlink()
    said = elsewhere.call("dvc", "repro", "--force", "--single-item", "train", "evaluate")
    assert ran(said) == ["train", "evaluate"]
    assert results(elsewhere) == before == results(study)


@pytest.mark.stress
def test_an_experiment_that_was_pushed_is_found_elsewhere_with_its_files(
    study: StudyFolder, elsewhere: StudyFolder, sweep: dict[str, str]
) -> None:
    shutil.rmtree(elsewhere.root / ".dvc/cache")  # so that its files can come from the remote alone
    elsewhere.call("dvc", "exp", "pull", "origin", sweep["0.8"])
    assert experiments(elsewhere) == {sweep["0.8"]: experiments(study)[sweep["0.8"]]}
    before = results(elsewhere)
    elsewhere.call("dvc", "exp", "apply", sweep["0.8"])
    assert all(content != before[name] for name, content in results(elsewhere).items())


COLOURS = '''"""Mean and spread of the colours."""

import numpy as np


class Colours:
    name, dim, weights_sha256 = "colours", 6, None

    def prepare(self, patch):
        return patch.reshape(-1, 3).astype(np.float32) / 255

    def encode(self, batch):
        return np.concatenate([batch.mean(1), batch.std(1)], 1).astype(np.float32)


def build(*, weights, device, backbone, input_px):
    return Colours()
'''


@pytest.mark.stress
def test_another_encoder_brings_its_code_with_it_and_only_what_it_means_counts(study: StudyFolder) -> None:
    plug_in = study.root / "plugins" / "colours.py"
    plug_in.parent.mkdir()
    plug_in.write_text(COLOURS)
    study.commit()
    assert ran(study.call("dvc", "repro")) == ["code"]  # nobody uses it yet
    assert ran(study.call("dvc", "exp", "run", "--temp", "-S", "encoder=colours", "extract")) == ["code", "extract"]
    study.change(encoder="colours")
    study.call("dvc", "repro", "extract")
    plug_in.write_text("# A comment.\n" + COLOURS)
    assert ran(study.call("dvc", "repro", "extract")) == ["code"]
    plug_in.write_text(COLOURS.replace("255", "256"))
    said = study.call("dvc", "repro", "extract")
    assert ran(said) == ["code", "extract"]
    assert counts(said)["extract"] == "6 done"
