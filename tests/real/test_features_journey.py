"""Features of forty real lung slides to an AUC, by the journey's script; and an experiment on them."""

import csv
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from csv_rows import by_slide, rows_of

SCRIPT = Path(__file__).parent / "journeys" / "features_to_auc.sh"
ARGUMENTS = ("features", "labels.csv", "splits", "project")
SLIDES = 40
GIT = {f"GIT_{who}_{what}": "a@b.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
FAST = "sed -i 's/^epochs: .*/epochs: 4/; s/^bootstrap_draws: .*/bootstrap_draws: 200/' params.yaml"


@pytest.fixture
def in_hand(real_data: Path, tmp_path: Path) -> Path:
    """A folder with some of the features, their labels as CLAM writes them, and one split of their patients."""
    archive = real_data / "mil" / "tcga_regions"
    table = archive / "tcga_lung_subset.csv.zip"
    if not table.is_file():
        pytest.skip(f"{table} is missing")
    with zipfile.ZipFile(table) as packed:
        unpacked = packed.read(packed.namelist()[0]).decode("utf-8")
    kinds: dict[str, list[dict[str, str]]] = {"LUAD": [], "LUSC": []}
    for row in csv.DictReader(unpacked.splitlines()):
        features = archive / "lung" / row["slide_id"].replace(".svs", ".pt")
        if features.is_file() and len(kinds[row["oncotree_code"]]) < SLIDES // 2:
            kinds[row["oncotree_code"]].append(row)
            (tmp_path / "features").mkdir(exist_ok=True)
            (tmp_path / "features" / features.name).symlink_to(features.resolve())
    rows = [row for some in kinds.values() for row in some]
    lines = [f"{row['case_id']},{row['slide_id']},{row['oncotree_code']}" for row in rows]
    (tmp_path / "labels.csv").write_text("\n".join(["case_id,slide_id,label", *lines, ""]), encoding="utf-8")
    (tmp_path / "splits").mkdir()
    part = {
        row["slide_id"].removesuffix(".svs"): ("train", "train", "val", "test")[n % 4] for n, row in enumerate(rows)
    }
    columns = [[slide for slide, one in part.items() if one == name] for name in ("train", "val", "test")]
    padded = [[*column, *[""] * (SLIDES - len(column))] for column in columns]
    split = ["train,val,test", *(",".join(cells) for cells in zip(*padded, strict=True) if any(cells)), ""]
    (tmp_path / "splits" / "splits_0.csv").write_text("\n".join(split), encoding="utf-8")
    return tmp_path


def call(folder: Path, *words: str) -> str:
    """What a command says, which must end well."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "true", **GIT}
    said = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr + said.stdout
    return said.stdout


@pytest.mark.stress  # a minute; test_features_with_regions does it in parts
@pytest.mark.slow
def test_features_reach_an_auc_in_at_most_three_commands(in_hand: Path) -> None:
    lines = SCRIPT.read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if line.startswith(("sammil ", "dvc ", "git "))]
    assert len(commands) == 3
    quick = "\n".join(f"{FAST}\n{line}" if line == "sammil check" else line for line in lines)
    said = call(in_hand, "sh", "-c", quick, "sh", *ARGUMENTS)
    project = in_hand / "project"
    labels = by_slide(project / "data" / "labels.csv")
    assert len(labels) == SLIDES
    assert {row["split"] for row in labels.values()} == {"train", "val", "test"}
    assert not [name for name in labels if name.endswith(".svs")]
    judged = rows_of(project / "runs" / "predictions.csv")
    assert {row["slide_id"] for row in judged} == {name for name, row in labels.items() if row["split"] == "test"}
    metrics = json.loads((project / "report" / "metrics.json").read_text(encoding="utf-8"))
    assert 0.5 < metrics["auc"]["pooled"] <= 1
    assert "no errors" in said
    assert not (project / "report" / "slides").exists()  # no coordinates, no pictures

    call(project, "git", "add", "--all")
    call(project, "git", "commit", "--quiet", "--message", "state")
    elsewhere = call(project, "dvc", "exp", "run", "--temp", "--set-param", "patience=9", "train")
    assert re.findall(r"^Running stage '(\S+)'", elsewhere, re.MULTILINE) == ["code", "train"]
    assert "Stage 'convert-legacy' didn't change, skipping" in elsewhere
