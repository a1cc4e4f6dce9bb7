"""A sweep with its plot, by the journey's script; the slides are links, file by file, as the README has it."""

from pathlib import Path

import pytest
import yaml
from csv_rows import rows_of
from pipeline_project import SETTINGS, StudyFolder
from slide_maker import write_tiny_cohort

SCRIPT = Path(__file__).parent / "journeys" / "sweep_with_plot.sh"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """Six slides behind links that Git ignores; the pipeline ran once, and is committed."""
    study = StudyFolder(tmp_path_factory.mktemp("sweep") / "study")
    write_tiny_cohort(study.slides.parent)
    study.root.mkdir()
    study.call("git", "init", "--quiet")
    study.call("git", "config", "user.name", "a tester")
    study.call("git", "config", "user.email", "tester@invalid")
    study.call("sammil", "init", ".", "--preset", "demo")
    study.change(**SETTINGS, folds=3, epochs=2)
    for slide in study.slides.iterdir():
        (study.root / "data/slides" / slide.name).symlink_to(slide)
    (study.root / "data/labels.csv").write_bytes((study.slides.parent / "labels.csv").read_bytes())
    pipeline = yaml.safe_load((study.root / "dvc.yaml").read_text())
    del pipeline["stages"]["visualize"]
    pipeline["stages"]["train"]["cmd"] += " --workers 1"  # each worker of its own would import torch anew
    (study.root / "dvc.yaml").write_text(yaml.safe_dump(pipeline))
    study.call("dvc", "repro")
    study.commit()
    return study


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sweep_over_linked_slides_has_its_plot_in_at_most_three_commands(study: StudyFolder) -> None:
    lines = SCRIPT.read_text(encoding="utf-8").splitlines()
    assert 1 <= len([line for line in lines if line.startswith(("dvc ", "sammil "))]) <= 3
    said = study.call("bash", SCRIPT, "0.3,0.6")
    assert "data/slides: 6 file(s) linked from" in said
    rows = rows_of(study.root / "report/figures/sweep.csv")
    assert [row["value"] for row in rows] == ["0.3", "0.6", "0.9"]
    assert all(float(row["val_auc"]) >= 0 for row in rows)
    assert (study.root / "report/figures/sweep.png").stat().st_size > 10_000
    assert study.call("git", "status", "--porcelain") == ""  # neither links nor plots got into Git
    study.call("dvc", "plots", "show", "report/figures/sweep.csv", "-x", "value", "-y", "val_auc", "-t", "scatter")
    page = (study.root / "dvc_plots/index.html").read_text(encoding="utf-8")
    assert "<script src" not in page
    assert "vegaEmbed('#report_figures_sweep_csv', spec)" in page
    assert study.call("git", "status", "--porcelain") == ""


@pytest.mark.slow
def test_a_run_that_failed_is_in_no_plot(study: StudyFolder) -> None:
    study.call("dvc", "exp", "run", "--queue", "-S", "mask_ratio=0.5,1.5")  # of these the second is no ratio
    study.start("dvc", "exp", "run", "--run-all").communicate(timeout=200)
    assert "Failed" in study.call("dvc", "queue", "status")
    study.call("sammil", "figure", "sweep", "mask_ratio")
    values = [row["value"] for row in rows_of(study.root / "report/figures/sweep.csv")]
    assert {"0.5", "0.9"} <= set(values)
    assert "1.5" not in values
