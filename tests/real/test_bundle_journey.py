"""A model bundled, moved to another folder, used on raw slides: the script of three commands."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from csv_rows import rows_of

SCRIPT = Path(__file__).with_name("journeys") / "bundle_moved.sh"


@pytest.mark.stress  # predict's journey packs and uses one, too
def test_a_bundle_is_moved_and_used(done: Path, tmp_path: Path) -> None:
    elsewhere, slides = tmp_path / "elsewhere", tmp_path / "new slides"
    elsewhere.mkdir()
    slides.mkdir()
    for number in (0, 5):
        shutil.copy(next((done / "data/slides").glob(f"slide_{number}.*")), slides / f"new_{number}.tif")
    answer = subprocess.run(
        ["sh", SCRIPT, done, elsewhere, slides],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert answer.returncode == 0, answer
    assert "research use only" in answer.stdout
    rows = rows_of(elsewhere / "verdicts/predictions.csv")
    assert [row["slide_id"] for row in rows] == ["new_0", "new_5"]
    assert {row["models"] for row in rows} == {"3"}
    assert list((elsewhere / "verdicts").rglob("*.geojson"))
