"""Five raw slides to evidence in QuPath by the journey's script: two scans, and three photographs of one of them."""

import os
import subprocess
import sys
from pathlib import Path

import openslide
import pytest
from csv_rows import by_slide, rows_of

from sammil_cli.storage.geojson import read_own_geojson

SCRIPT = Path(__file__).parent / "journeys" / "slides_to_qupath.sh"
CMU, TCGA = "CMU-1-Small-Region.svs", "TCGA-CR-7395-01A-01-TS1.svs"
PHOTOS = {"photo_1": (600, 600), "photo_2": (2300, 700), "photo_3": (1200, 1900)}  # corners on the TCGA slide
SIDE_PX = 1500


@pytest.mark.stress
def test_five_raw_slides_reach_qupath_in_at_most_three_commands(done: Path, slides: Path) -> None:
    with openslide.OpenSlide(slides / TCGA) as tcga:
        for name, corner in PHOTOS.items():
            tcga.read_region(corner, 0, (SIDE_PX, SIDE_PX)).convert("RGB").save(done / f"{name}.png")
    rows = [("cmu", slides / CMU, "p", ""), ("tcga", slides / TCGA, "q", "0.5")]  # the file of q says no resolution
    rows += [(name, done / f"{name}.png", "q", "0.5") for name in PHOTOS]
    lines = [",".join((name, str(path.resolve()), patient, mpp)) for name, path, patient, mpp in rows]
    (done / "table.csv").write_text("\n".join(["slide_id,path,patient_id,mpp", *lines, ""]), encoding="utf-8")
    commands = [line for line in SCRIPT.read_text(encoding="utf-8").splitlines() if line.startswith("sammil ")]
    assert 1 <= len(commands) <= 3
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    said = subprocess.run(
        ["bash", SCRIPT, done, "table.csv"],
        cwd=done,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr + said.stdout
    out = done / "results"
    names = {name for name, *_ in rows}
    assert by_slide(out / "predictions.csv").keys() == names
    patients = rows_of(out / "predictions_patients.csv")
    assert {row["patient_id"]: row["slides"] for row in patients} == {"p": "1", "q": "4"}
    page = (out / "index.html").read_text(encoding="utf-8")
    for name in names:
        shapes, facts = read_own_geojson(out / f"evidence/{name}.geojson", "")
        kinds = [shape.object_type for shape in shapes]
        assert kinds.count("detection") > 5, name
        assert kinds.count("annotation") > 0, name
        assert facts["slide_id"] == name
        assert (out / f"slides/{name}.png").stat().st_size > 10_000
        assert f'src="slides/{name}.png"' in page
