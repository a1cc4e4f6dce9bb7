"""A slide that is copied in while `dvc repro` runs: DVC takes it for done, so it must be."""

import shutil
from pathlib import Path

import pytest
import yaml
from pipeline_project import StudyFolder, counts

pytestmark = pytest.mark.slow

# `sammil segment`, in which slides are put into place as soon as the first one is done.
MEDDLING = """
import shutil, sys
from sammil_cli.cli.app import main
from sammil_cli.runner import per_slide
keep, source, target = per_slide._keep, sys.argv.pop(1), sys.argv.pop(1)
def keeping(*arguments):
    per_slide._keep = keep
    shutil.copytree(source, target, dirs_exist_ok=True)
    return keep(*arguments)
per_slide._keep = keeping
sys.argv[0] = "sammil"
main()
"""


def test_a_slide_copied_in_during_segment_is_done_and_one_replaced_is_done_anew(
    under_dvc: StudyFolder, drawn: Path, tmp_path: Path
) -> None:
    coming, script, plan = tmp_path / "coming", tmp_path / "meddling.py", under_dvc.root / "dvc.yaml"
    coming.mkdir()
    shutil.copy(drawn / "slides/slide_4.tif", coming / "slide_4.tif")
    shutil.copy(drawn / "slides/slide_2.tif", coming / "slide_0.tif")
    script.write_text(MEDDLING, encoding="utf-8")
    pipeline = yaml.safe_load(plan.read_text(encoding="utf-8"))
    pipeline["stages"]["segment"]["cmd"] = f"python {script} {coming} {under_dvc.slides} segment --workers 1"
    plan.write_text(yaml.safe_dump(pipeline), encoding="utf-8")
    assert counts(under_dvc.call("dvc", "repro", "segment")) == {"segment": "5 done"}
    assert under_dvc.slides_of("segment") == {f"slide_{number}" for number in range(5)}
    assert "Stage 'segment' didn't change, skipping" in under_dvc.call("dvc", "repro", "segment")
    tissue = {path.name: path.read_bytes() for path in (under_dvc.root / "artifacts/tissue").glob("*.jpg")}
    assert tissue["slide_0.jpg"] == tissue["slide_2.jpg"]
