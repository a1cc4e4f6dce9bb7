"""Real features with coordinates and no slides: regions are found in them, and SAM-MIL learns and is judged."""

import csv
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sammil_cli.features.bag import read_bag
from sammil_cli.features.making import read_making
from sammil_cli.regions.file import read_regions

Sammil = Callable[..., Any]
SCRIPT = Path(__file__).parent / "journeys" / "features_with_regions.sh"
SHORT = ("-S", "epochs=2", "-S", "patience=2", "-S", "folds=2", "-S", "feature_region_patches=4")
_EACH = 10  # slides of each class


@pytest.fixture
def colon(real_data: Path, tmp_path: Path) -> Path:
    """Twenty real bags in CLAM's old layout, and their labels; those with most patches."""
    source = real_data / "mil" / "colon_crc"
    if not source.is_dir():
        pytest.skip(f"{source} is missing")
    (tmp_path / "run" / "features").mkdir(parents=True)
    with (source / "labels.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    size = {row["slide_id"]: (source / "features" / f"{row['slide_id']}.h5").stat().st_size for row in rows}
    chosen = [
        row
        for label in ("cancer", "normal")
        for row in sorted((one for one in rows if one["label"] == label), key=lambda one: -size[one["slide_id"]])[
            :_EACH
        ]
    ]
    for row in chosen:
        shutil.copy(source / "features" / f"{row['slide_id']}.h5", tmp_path / "run" / "features")
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
    Path("params.yaml").write_text("")
    assert sammil("convert-legacy", "run", "--out", "artifacts/features").code == 0
    features = ("--features", "artifacts/features")
    assert sammil("sam", *features, "-S", "proposer=features", *SHORT).code == 0
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


@pytest.mark.slow
def test_the_journey_takes_three_commands_at_most(colon: Path, sammil: Sammil) -> None:
    commands = [line for line in SCRIPT.read_text(encoding="utf-8").splitlines() if line.startswith(("sammil", "dvc"))]
    assert 1 <= len(commands) <= 3
    if "--from-features" not in sammil("init", "--help").out:
        pytest.skip("sammil init has no --from-features yet")
    done = subprocess.run(
        ["sh", SCRIPT, colon / "run", colon / "labels.csv", colon / "study"],
        env={**os.environ, "SAMMIL_WEIGHTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (colon / "study/report/metrics.json").is_file()
    assert len(list((colon / "study/artifacts/regions").glob("*.png"))) == 2 * _EACH
