"""`make lint` sees arguments of one type that are swapped: paths of each kind of file have a type of their own."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "sammil_cli"

SWAPS = {  # file: (as it is, with two arguments swapped)
    "stages/segment.py": (
        "SegmentJob(slide=path, mpp=entry.mpp, scene=entry.scene, drawing=edit",
        "SegmentJob(slide=edit, mpp=entry.mpp, scene=entry.scene, drawing=path",
    ),
    "stages/patch.py": ("tissue=tissue, artefacts=maps", "tissue=maps, artefacts=tissue"),
    "stages/sam.py": ("SamJob(slide=slide, tissue=tissue", "SamJob(slide=tissue, tissue=slide"),
    "stages/extract.py": (
        "slide=slide, patches=patches, regions=regions",
        "slide=patches, patches=slide, regions=regions",
    ),
    "stages/visualize.py": ("patches=patches, regions=regions", "patches=regions, regions=patches"),
    "stages/train.py": ("fold=fold,\n            labels=labels", "fold=labels,\n            labels=fold"),
    "jobs/extract.py": (
        "read_patches(job.patches), read_regions(job.regions)",
        "read_patches(job.regions), read_regions(job.patches)",
    ),
    "runner/per_slide.py": (
        "plan.work, folders[task.slide_id], record, task.job",
        "plan.work, record, folders[task.slide_id], task.job",
    ),
    "preflight/tune.py": ("found.paths[slide_id], entry, specs", "entry, found.paths[slide_id], specs"),
    "cli/slides.py": (
        'run_per_slide("patch", stage.run, project, settings',
        'run_per_slide("patch", stage.run, settings, project',
    ),
}


@pytest.mark.slow
def test_lint_sees_two_arguments_that_are_swapped_and_a_setting_that_is_misspelt(tmp_path: Path) -> None:
    copy = tmp_path / "sammil_cli"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    for name, (before, after) in SWAPS.items():
        text = (copy / name).read_text(encoding="utf-8")
        assert text.count(before) == 1, name
        (copy / name).write_text(text.replace(before, after), encoding="utf-8")
    misspelt = copy / "jobs/patch.py"
    misspelt.write_text(
        misspelt.read_text(encoding="utf-8").replace("settings.patch_overlap", "settings.patch_overlpa")
    )
    if (cache := REPOSITORY / ".mypy_cache").is_dir():  # of `make lint`: else mypy reads torch and all else anew
        shutil.copytree(cache, tmp_path / cache.name)
    said = subprocess.run([sys.executable, "-m", "mypy"], cwd=tmp_path, capture_output=True, text=True, check=False)
    found = {line.split(":")[0].removeprefix("sammil_cli/") for line in said.stdout.splitlines() if ": error: " in line}
    assert found == {*SWAPS, "jobs/patch.py"}, said.stdout
