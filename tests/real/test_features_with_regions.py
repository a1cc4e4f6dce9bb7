"""Real features with coordinates and no slides: regions are found in them, and SAM-MIL learns and is judged."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from sammil_cli.features.bag import read_bag
from sammil_cli.features.making import read_making
from sammil_cli.regions.file import read_regions

Sammil = Callable[..., Any]
SCRIPT = Path(__file__).parent / "journeys" / "features_with_regions.sh"
SHORT = ("-S", "epochs=2", "-S", "patience=2", "-S", "folds=2", "-S", "feature_region_patches=4")
_EACH = 6  # slides of each class


@pytest.fixture
def colon(real_data: Path, tmp_path: Path) -> Path:
    """Twelve real bags in CLAM's old layout, and their labels; those with most patches.

    Their own places are those of cells, of no common side: here they lie on a grid.
    """
    source = real_data / "mil" / "colon_crc"
    if not source.is_dir():
        pytest.skip(f"{source} is missing")
    (tmp_path / "run" / "h5_files").mkdir(parents=True)
    with (source / "labels.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    files = {row["slide_id"]: source / "features" / f"{row['slide_id']}.h5" for row in rows}
    chosen = []
    for label in ("cancer", "normal"):
        own = [row for row in rows if row["label"] == label]
        chosen += sorted(own, key=lambda row: -files[row["slide_id"]].stat().st_size)[:_EACH]
    for row in chosen:
        slide = row["slide_id"]
        with h5py.File(files[slide]) as old, h5py.File(tmp_path / "run" / "h5_files" / f"{slide}.h5", "w") as new:
            new["features"] = old["features"][:]
            new["coords"] = 256 * np.stack(np.divmod(np.arange(len(old["features"])), 8), 1)
    lines = [f"{row['slide_id']},{row['label']}" for row in chosen]
    (tmp_path / "labels.csv").write_text("\n".join(["slide_id,label", *lines, ""]), encoding="utf-8")
    return tmp_path


@pytest.mark.slow
def test_real_features_get_regions_and_sam_mil_learns_from_them(
    colon: Path, sammil: Sammil, inline_training: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(colon)
    Path("data").mkdir()
    shutil.move("labels.csv", "data/labels.csv")
    Path("params.yaml").write_text("proposer: features\n")
    assert sammil("convert-legacy", "run", "--out", "artifacts/features").code == 0
    features = ("--features", "artifacts/features")
    assert sammil("sam", *features, *SHORT).code == 0
    assert sammil("extract", *features, *SHORT).code == 0
    bags = sorted(Path("artifacts/bags").glob("*.h5"))
    assert len(bags) == 2 * _EACH
    for path in bags:
        bag, before = read_bag(path), read_bag(Path("artifacts/features", path.name))
        np.testing.assert_array_equal(bag.features, before.features)
        assert len(bag.group_region) == len(read_regions(Path("artifacts/regions", path.name))) >= 1
        assert read_making(path).made_with["sam"] == {"proposer": "features", "feature_region_patches": 4}
    trained = sammil("train", *SHORT)
    assert trained.code == 0, trained.err
    assert sammil("evaluate", "-S", "bootstrap_draws=100").code == 0
    assert 0 <= json.loads(Path("report/metrics.json").read_text())["auc"]["pooled"] <= 1


@pytest.mark.stress  # the script, with DVC; what it does is tried above
def test_the_journey_takes_three_commands_at_most(colon: Path) -> None:
    commands = [line for line in SCRIPT.read_text(encoding="utf-8").splitlines() if line.startswith(("sammil", "dvc"))]
    assert 1 <= len(commands) <= 3
    short = "".join(
        f"s/^{key}: .*/{key}: {value}/;"
        for key, value in (item.split("=") for item in (*SHORT[1::2], "bootstrap_draws=100"))
    )
    quick = SCRIPT.read_text(encoding="utf-8").replace("dvc repro", f"sed -i '{short}' params.yaml\ndvc repro")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", quick, "sh", colon / "run", colon / "labels.csv", colon / "study"],
        env={**os.environ, "PATH": path, "SAMMIL_WEIGHTS": "", "DVC_NO_ANALYTICS": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (colon / "study/report/metrics.json").is_file()
    assert len(list((colon / "study/artifacts/regions").glob("*.png"))) == 2 * _EACH
