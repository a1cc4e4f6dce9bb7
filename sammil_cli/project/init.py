"""sammil init: a new project folder."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from sammil_cli import console
from sammil_cli.errors import InputError, MissingError
from sammil_cli.project.encoder_start import lines_on, settings_for
from sammil_cli.project.in_hand import InHand, in_hand_of, stages_of_features
from sammil_cli.project.pipeline import ASKED_FOR, FILES, has_wsi_sam, render_dvc, stages_in
from sammil_cli.project.plots_page import set_up_plots
from sammil_cli.project.presets import preset, render_params
from sammil_cli.storage.files import write_text
from sammil_cli.storage.guarded_yaml import read_yaml

LABELS = "slide_id,label,patient_id\n"
SLIDES = "slide_id,mpp\n"
_OUTGROWN = "steps.yaml"  # of sammil before 0.2: the stage `code` stands in for it
# Slides and features are too large for Git; a link of such a name is no folder, and Git keeps it.
# What stages write is DVC's, from the start: what an experiment makes first would else be Git's once it is applied.
_IGNORED = (
    *("/.sammil/", "/data/slides/", "/data/features/*/", "/data/tiles/*/", "/artifacts/", "/runs/", "/report/*"),
    *("!/report/metrics.json", "/dvc_plots/"),
)
_WATCHED = ("edits", "rois", "annotations")  # by DVC, so they exist from the start, in Git, too


def check_new(folder: Path, preset_name: str, *, update: bool) -> None:
    """Refuses what `run` cannot do, before anything is written.

    Raises:
        InputError: no such preset; the folder holds a project already, or `update` finds none.
    """
    preset(preset_name)
    exists = (folder / "params.yaml").exists()
    if update and not exists:
        raise InputError(f"{folder} holds no params.yaml to update", remedy="leave --update out")
    if exists and not update:
        raise InputError(f"{folder / 'params.yaml'} exists", remedy="use another folder, or --update")


def run(
    folder: Path, preset_name: str, *, update: bool, dvc: bool, wsi_sam: bool = False, encoder: str | None = None
) -> None:
    """Writes params.yaml, dvc.yaml, data/ and the table templates, and makes it a Git and DVC project.

    Args:
        encoder: its word; params.yaml then has it, and the patches that suit it. None = the preset's.
        update: only rewrite dvc.yaml for the installed sammil.
        dvc: run `git init` and `dvc init` where these are not set up yet.
        wsi_sam: with the stage that trains WSI-SAM; an update keeps it where dvc.yaml has it.

    Raises:
        InputError: see `check_new`; there is no such encoder, or an update is to have one.
    """
    check_new(folder, preset_name, update=update)
    if encoder and update:
        raise InputError(
            "--encoder is for a new project, and --update leaves params.yaml as it is",
            remedy="set " + ", ".join(f"{key}: {value}" for key, value in settings_for(encoder).items()) + " there",
        )
    changed = settings_for(encoder) if encoder else {}
    if update:
        renew(folder, in_hand_of(folder / "dvc.yaml"), wsi_sam=wsi_sam)
        return
    write_text(folder / "dvc.yaml", render_dvc(demo=False, wsi_sam=wsi_sam))
    if wsi_sam:
        _watch(folder, "lesions")
    stages = [stage for stage in FILES if stage != "demo"]
    asked_for = ["wsi-sam-train"] if wsi_sam else []
    write_text(folder / "params.yaml", render_params(preset_name, stages=[*stages, *asked_for], changed=changed))
    (folder / "data" / "slides").mkdir(parents=True, exist_ok=True)
    _watch(folder, *_WATCHED)
    _start(folder, dvc=dvc)
    ready = f"{folder} is ready, preset {preset_name}."
    console.say(
        *([ready, *lines_on(encoder), "Next:"] if encoder else [f"{ready} Next:"]),
        f"  1. put slides into {folder / 'data/slides'} (links will do)",
        f"  2. fill {folder / 'data/labels.csv'}: {LABELS.strip()}",
        f"  3. cd {folder} && sammil check",
        f"  4. {'dvc repro' if dvc else 'sammil ' + ', '.join(stages)}",
    )


def renew(folder: Path, in_hand: InHand | None, *, wsi_sam: bool = False, add: bool = False) -> None:
    """Rewrites dvc.yaml for the installed sammil, and for what a project has of features in hand.

    Args:
        add: whether settings that it needs and params.yaml lacks are added there; else they are printed.
    """
    wsi_sam = wsi_sam or has_wsi_sam(stages_in(folder / "dvc.yaml"))
    write_text(folder / "dvc.yaml", render_dvc(demo=False, wsi_sam=wsi_sam, in_hand=in_hand))
    if wsi_sam:
        _watch(folder, "lesions")
    (folder / _OUTGROWN).unlink(missing_ok=True)
    if (folder / ".dvc").is_dir():
        set_up_plots(folder / ".dvc")
    console.say(f"updated {folder / 'dvc.yaml'}")
    asked_for = [*([in_hand.stage] if in_hand else []), *(["wsi-sam-train"] if wsi_sam else [])]
    params = folder / "params.yaml"
    if not (lacking := _lacking(params, asked_for)):
        return
    if add:
        write_text(params, "\n".join([params.read_text(encoding="utf-8").rstrip("\n"), "", *lacking, ""]))
    console.say(f"{'added' if add else 'add'} to {params}:", *lacking)


def run_of_features(
    folder: Path, preset_name: str, in_hand: InHand, settings: Mapping[str, object], *, dvc: bool
) -> list[str]:
    """As `run`, for a project of features in hand, whose links and labels others bring.

    Args:
        settings: what params.yaml says otherwise than the preset.

    Returns:
        Its stages.
    """
    stages = list(stages_of_features(in_hand, {**FILES, **ASKED_FOR}))
    write_text(folder / "dvc.yaml", render_dvc(demo=False, in_hand=in_hand))
    write_text(folder / "params.yaml", render_params(preset_name, stages=stages, changed=settings))
    if in_hand.regions:
        _watch(folder, "annotations")
    _start(folder, dvc=dvc)
    return stages


def _start(folder: Path, *, dvc: bool) -> None:
    """What every new project has."""
    for name, text in (("labels.csv", LABELS), ("slides.csv", SLIDES)):
        if not (folder / "data" / name).exists():
            write_text(folder / "data" / name, text)
    ignore(folder)
    if dvc:
        _set_up(folder)


def _watch(folder: Path, *names: str) -> None:
    for name in names:
        write_text(folder / "data" / name / ".gitkeep", "")


def _lacking(params: Path, stages: list[str]) -> list[str]:
    """The lines of these stages that an earlier params.yaml does not have: DVC refuses a key that is not there."""
    there = read_yaml(params)
    keys = set(there) if isinstance(there, dict) else set()
    lines = [line for line in render_params("default", stages=stages).splitlines() if line and line[0] != "#"]
    return [line for line in lines if line.partition(":")[0] not in keys]


def ignore(folder: Path) -> None:
    """Adds what is missing to a project's .gitignore: DVC commits with an experiment what Git does not ignore."""
    path = folder / ".gitignore"
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
