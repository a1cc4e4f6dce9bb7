"""Five raw slides, from three scanners and two photographs, to evidence in QuPath by the journey's script."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from csv_rows import by_slide

from sammil_cli.storage.geojson import read_own_geojson

SCRIPT = Path(__file__).parent / "journeys" / "slides_to_qupath.sh"
# slide: (file below the test data, µm per pixel that the table gives)
SLIDES = {
    "cmu": ("slides/CMU-1-Small-Region.svs", ""),
    "tcga": ("slides/TCGA-CR-7395-01A-01-TS1.svs", "0.5"),
    "kidney": ("slides/kidney-48-5.tif", "0.5"),
    "liver_1": ("images/histolab/liver-level2-10907-7808-11707-8608.png", "1.0"),
    "liver_2": ("images/histolab/liver-level2-20914-13715-21714-14515.png", "1.0"),
}


@pytest.mark.slow
def test_five_raw_slides_reach_qupath_in_at_most_three_commands(done: Path, real_data: Path) -> None:
    lines = ["slide_id,path,patient_id,mpp"]
    for name, (place, mpp) in SLIDES.items():
        if not (real_data / place).is_file():
            pytest.skip(f"{real_data / place} is missing")
        lines.append(f"{name},{(real_data / place).resolve()},{name.partition('_')[0]},{mpp}")
    (done / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    commands = [line for line in SCRIPT.read_text(encoding="utf-8").splitlines() if line.startswith("sammil ")]
    assert 1 <= len(commands) <= 3
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    said = subprocess.run(
        ["bash", SCRIPT, done, "table.csv"], cwd=done, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr + said.stdout
    out = done / "evidence"
    assert by_slide(out / "predictions.csv").keys() == SLIDES.keys()
    patients = (out / "predictions_patients.csv").read_text(encoding="utf-8")
    assert "\nliver,2," in patients
    page = (out / "index.html").read_text(encoding="utf-8")
    for name in SLIDES:
        shapes, facts = read_own_geojson(out / f"evidence/{name}.geojson", "")
        kinds = [shape.object_type for shape in shapes]
        assert kinds.count("detection") > 5, name
        assert kinds.count("annotation") > 0, name
        assert facts["slide_id"] == name
        assert (out / f"slides/{name}.png").stat().st_size > 10_000
        assert f"src='slides/{name}.png'" in page
