"""An external cohort with intervals: the script of three commands, on regions of TCGA's lung slides."""

import csv
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from csv_rows import rows_of

from sammil_cli.storage.files import write_csv

SCRIPT = Path(__file__).with_name("journeys") / "external_cohort.sh"
PROGRAM = Path(sys.executable).with_name("sammil")
HOME, OTHER = ("49", "85"), ("44", "33")  # sites: one of LUAD, one of LUSC each
SETTINGS = """\
model: abmil
group_features: false
positive_class: luad
recipe: common
epochs: 3
folds: 3
bootstrap_draws: 300
"""


@pytest.fixture
def project(real_data: Path, tmp_path: Path) -> Path:
    """Bags of four sites, labels of two of them in data/labels.csv, of the others in external.csv."""
    folder = real_data / "mil" / "tcga_regions"
    if not (folder / "lung").is_dir():
        pytest.skip(f"{folder} is missing")
    with zipfile.ZipFile(folder / "tcga_lung_subset.csv.zip") as table:
        rows = list(csv.DictReader(io.TextIOWrapper(table.open(table.namelist()[0]), encoding="utf-8")))
    features = tmp_path / "features"
    features.mkdir()
    for sites, name in ((HOME, "data/labels.csv"), (OTHER, "external.csv")):
        cells = []
        for site in sites:
            patients = {row["case_id"]: row for row in rows if row["site"] == site}
            for row in list(patients.values())[:10]:
                slide, sex = row["slide_id"].removesuffix(".svs"), "female" if row["is_female"] == "1.0" else "male"
                cells.append((slide, row["oncotree_code"].lower(), row["case_id"], site, sex))
                (features / f"{slide}.pt").symlink_to((folder / "lung" / f"{slide}.pt").resolve())
        write_csv(tmp_path / name, ("slide_id", "label", "patient_id", "site", "sex"), cells)
    (tmp_path / "params.yaml").write_text(SETTINGS, encoding="utf-8")
    subprocess.run(
        [PROGRAM, "convert-legacy", features, "--no-coords", "--workers", "1"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    return tmp_path


@pytest.mark.stress
def test_an_external_cohort_is_judged_with_intervals(project: Path) -> None:
    answer = subprocess.run(
        ["sh", SCRIPT, "external.csv"],
        cwd=project,
        env={**os.environ, "PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert answer.returncode == 0, answer
    external = answer.stdout[answer.stdout.index("3 model(s)") :]
    assert max(len(line) for line in external.splitlines() if line.startswith("│")) <= 80
    assert len(re.findall(r"│ AUC +│ +– │ only lu", external)) == 2  # each site has one class
    summary = json.loads((project / "report/external/metrics.json").read_text(encoding="utf-8"))
    inside = json.loads((project / "report/metrics.json").read_text(encoding="utf-8"))
    assert (summary["slides"], summary["models"], summary["in_sample"]) == (20, 3, [])
    assert summary["auc"]["low"] < summary["auc"]["pooled"] < summary["auc"]["high"]
    assert summary["internal"]["auc"]["pooled"] == pytest.approx(inside["auc"]["pooled"], abs=1e-6)
    assert summary["difference"]["auc"]["low"] < summary["difference"]["auc"]["high"]
    assert all(one["metrics"]["auc"]["pooled"] is None for one in summary["by"]["site"].values())
    assert all(one["metrics"]["auc"]["pooled"] is not None for one in summary["by"]["sex"].values())
    assert len(rows_of(project / "report/external/predictions.csv")) == 20
