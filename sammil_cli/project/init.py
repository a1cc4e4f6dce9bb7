"""sammil init: a new project folder."""

import subprocess
import sys
from pathlib import Path

from sammil_cli import console
from sammil_cli.errors import InputError, MissingError
from sammil_cli.project.pipeline import ASKED_FOR, FILES, has_wsi_sam, render_dvc, stages_in
from sammil_cli.project.plots_page import set_up_plots
from sammil_cli.project.presets import preset, render_params
from sammil_cli.storage.files import write_text
from sammil_cli.storage.guarded_yaml import read_yaml

LABELS = "slide_id,label,patient_id\n"
SLIDES = "slide_id,mpp\n"
_OUTGROWN = "steps.yaml"  # of sammil before 0.2: the stage `code` stands in for it
# Slides are too large for Git; a link named data/slides is no folder, and Git keeps it.
# What stages write is DVC's, from the start: what an experiment makes first would else be Git's once it is applied.
_IGNORED = ("/.sammil/", "/data/slides/", "/artifacts/", "/runs/", "/report/*", "!/report/metrics.json", "/dvc_plots/")


def run(folder: Path, preset_name: str, *, update: bool, dvc: bool, wsi_sam: bool = False) -> None:
    """Writes params.yaml, dvc.yaml, data/ and the table templates, and makes it a Git and DVC project.

    Args:
        update: only rewrite dvc.yaml for the installed sammil.
        dvc: run `git init` and `dvc init` where these are not set up yet.
        wsi_sam: with the stage that trains WSI-SAM; an update keeps it where dvc.yaml has it.

    Raises:
        InputError: the folder holds a project already, or `update` finds none.
    """
    preset(preset_name)
    exists = (folder / "params.yaml").exists()
    if update and not exists:
        raise InputError(f"{folder} holds no params.yaml to update", remedy="leave --update out")
    if exists and not update:
        raise InputError(f"{folder / 'params.yaml'} exists", remedy="use another folder, or --update")
    wsi_sam = wsi_sam or (update and has_wsi_sam(stages_in(folder / "dvc.yaml")))
    write_text(folder / "dvc.yaml", render_dvc(demo=False, wsi_sam=wsi_sam))
    if wsi_sam:  # DVC watches it, so it exists from the start
        write_text(folder / "data" / "lesions" / ".gitkeep", "")
    if update:
        (folder / _OUTGROWN).unlink(missing_ok=True)
        if (folder / ".dvc").is_dir():
            set_up_plots(folder / ".dvc")
        console.say(f"updated {folder / 'dvc.yaml'}")
        _say_lacking(folder / "params.yaml", list(ASKED_FOR) if wsi_sam else [])
        return
    stages = [stage for stage in FILES if stage != "demo"]
    asked_for = list(ASKED_FOR) if wsi_sam else []
    write_text(folder / "params.yaml", render_params(preset_name, stages=[*stages, *asked_for]))
    (folder / "data" / "slides").mkdir(parents=True, exist_ok=True)
    for name, text in (("labels.csv", LABELS), ("slides.csv", SLIDES)):
        if not (folder / "data" / name).exists():
            write_text(folder / "data" / name, text)
    for name in ("edits", "rois", "annotations"):  # DVC watches them, so they exist from the start, in Git, too
        write_text(folder / "data" / name / ".gitkeep", "")
    _ignore(folder / ".gitignore")
    if dvc:
        _set_up(folder)
    console.say(
        f"{folder} is ready, preset {preset_name}. Next:",
        f"  1. put slides into {folder / 'data/slides'} (links will do)",
        f"  2. fill {folder / 'data/labels.csv'}: {LABELS.strip()}",
        f"  3. cd {folder} && sammil check",
        f"  4. {'dvc repro' if dvc else 'sammil ' + ', '.join(stages)}",
    )


def _say_lacking(params: Path, stages: list[str]) -> None:
    """The lines of these stages that an earlier params.yaml does not have: DVC refuses a key that is not there."""
    there = read_yaml(params)
    keys = set(there) if isinstance(there, dict) else set()
    lines = [line for line in render_params("default", stages=stages).splitlines() if line and line[0] != "#"]
    if lacking := [line for line in lines if line.partition(":")[0] not in keys]:
        console.say(f"add to {params}:", *lacking)


def _ignore(path: Path) -> None:
    """Adds what is missing to a .gitignore: DVC commits slides that Git does not ignore with the first experiment."""
    there = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    missing = [line for line in _IGNORED if line not in there]
    if missing:
        write_text(path, "\n".join([*there, *missing]) + "\n")


def _set_up(folder: Path) -> None:
    if not any((parent / ".git").exists() for parent in (folder.resolve(), *folder.resolve().parents)):
        _call(["git", "init", "--quiet"], folder)
    if not (folder / ".dvc").exists():
        nested = not (folder / ".git").exists()
        _call([sys.executable, "-m", "dvc", "init", *(["--subdir"] if nested else [])], folder)
    set_up_plots(folder / ".dvc")


def _call(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)  # noqa: S603 - fixed words
    except FileNotFoundError:
        raise MissingError(f"{command[0]} is not installed", remedy=f"install {command[0]}, or use --no-dvc") from None
    except subprocess.CalledProcessError as error:
        raise MissingError(
            f"{' '.join(command)} failed: {error.stderr.strip()}", remedy="run it by hand, or use --no-dvc"
        ) from None
