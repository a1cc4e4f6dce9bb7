"""The DVC pipeline: which stage needs what. dvc.yaml is written from here, so that both always agree."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from sammil_cli.config import ON_REQUEST, STAGES
from sammil_cli.errors import InputError
from sammil_cli.project.in_hand import InHand, merge, stages_of_features, with_regions
from sammil_cli.project.project import Project
from sammil_cli.storage.guarded_yaml import read_yaml

_DRAWS = ("sammil_cli/demo", "sammil_cli/stages/demo.py")  # the code of the demo's slides


@dataclass(frozen=True, kw_only=True)
class StageFiles:
    """What a stage reads and writes, project-relative; `shared`: settings that it reads of other stages."""

    deps: tuple[str, ...]
    outs: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()


FILES: dict[str, StageFiles] = {
    "demo": StageFiles(deps=(), outs=("data/slides", "data/labels.csv", "data/lesions")),
    "segment": StageFiles(deps=("data/slides", "data/slides.csv", "data/edits"), outs=("artifacts/tissue",)),
    "patch": StageFiles(deps=("artifacts/tissue", "data/rois"), outs=("artifacts/patches",)),
    "sam": StageFiles(deps=("data/slides", "artifacts/tissue", "data/annotations"), outs=("artifacts/regions",)),
    "extract": StageFiles(
        deps=("data/slides", "artifacts/tissue", "artifacts/patches", "artifacts/regions"), outs=("artifacts/bags",)
    ),
    "train": StageFiles(
        deps=("artifacts/bags", "data/labels.csv"),
        outs=("runs/models", "runs/splits.csv", "runs/learning_curves", "runs/record.json"),
    ),
    "evaluate": StageFiles(
        deps=("artifacts/bags", "data/labels.csv", "runs/models", "runs/splits.csv"),
        outs=("report/index.html", "report/curves", "runs/predictions.csv", "runs/predictions_patients.csv"),
        metrics=("report/metrics.json",),
    ),
    "visualize": StageFiles(
        deps=(
            "data/slides",
            "artifacts/patches",
            "artifacts/regions",
            "artifacts/bags",
            "runs/models",
            "runs/splits.csv",
            "runs/predictions.csv",
        ),
        outs=("report/slides",),
    ),
}

TOKENS = "runs/wsi_sam"
# In projects that ask for them. `sam` comes after wsi-sam-train there, since `proposer: wsi_sam` may read its tokens.
ASKED_FOR: dict[str, StageFiles] = {
    "convert-legacy": StageFiles(deps=("data/slides.csv",), outs=("artifacts/bags",)),
    "wsi-sam-train": StageFiles(
        deps=("data/slides", "data/slides.csv", "data/lesions", "data/labels.csv", "artifacts/tissue"),
        outs=("artifacts/wsi_sam", TOKENS),
        shared=("sam_model", "sam_checkpoint", "sam_checkpoint_sha256"),
    ),
    "tiles": StageFiles(deps=(), outs=("artifacts/bags",)),
}
_COMMANDS = {"wsi-sam-train": "wsi-sam train"}  # where it is not the stage's name


PLOTS: list[dict[str, object]] = [
    {"runs/learning_curves": {"x": "epoch", "y": "val_auc"}},
    {"report/curves/roc.csv": {"x": "false_positive_rate", "y": "true_positive_rate", "title": "ROC, mean of folds"}},
    {"report/curves/pr.csv": {"x": "recall", "y": "precision", "title": "Precision and recall, mean of folds"}},
    {"report/curves/confusion.csv": {"x": "actual", "y": "predicted", "template": "confusion", "title": "Confusion"}},
]


PIPELINE = "dvc.yaml"
CODE_STAGE = "code"
WSI_SAM_STAGE = "wsi-sam-train"


def render_dvc(*, demo: bool, wsi_sam: bool = False, in_hand: InHand | None = None) -> str:
    """The text of dvc.yaml: for the demo project, which draws its slides, or for a user's.

    Each stage depends on the file that the stage `code`, which always runs, writes of its code (`project.code_in_use`).

    Args:
        wsi_sam: with the stage that trains WSI-SAM's tokens. in_hand: of a project of features in hand.
    """
    files = _files(wsi_sam=wsi_sam)
    if in_hand and not in_hand.beside:
        files = stages_of_features(in_hand, {**FILES, **ASKED_FOR})
    project = Project()
    code = {name: (project.code / f"{name}.txt").as_posix() for name in files if name != "demo"}
    drawn = FILES["demo"].outs[:1]  # the code depends on the slides' formats: it is looked at when they are there
    stages: dict[str, dict[str, object]] = {
        CODE_STAGE: _entry(CODE_STAGE, drawn if demo else (), [], tuple(code.values()))
    }
    stages[CODE_STAGE]["always_changed"] = True
    asked = [*(["--wsi-sam"] if wsi_sam else []), *([f"--{in_hand.kind}"] if in_hand else [])]
    stages[CODE_STAGE]["cmd"] = " ".join([f"sammil {CODE_STAGE}", *asked])
    for name, those in files.items():
        if name == "demo" and not demo:
            continue
        deps = (*those.deps, *([code[name]] if name in code else _DRAWS))
        settings = {*{**STAGES, **ON_REQUEST}[name].model_fields, *those.shared}
        stages[name] = _entry(_COMMANDS.get(name, name), deps, sorted(settings), those.outs)
        if those.metrics:
            stages[name]["metrics"] = [{path: {"cache": False}} for path in those.metrics]
    if in_hand and in_hand.regions:
        with_regions(stages, in_hand.stage)
    if in_hand and in_hand.beside:
        code_file = (project.code / "convert-legacy.txt").as_posix()
        merge(stages, in_hand, code_file, list(ON_REQUEST["convert-legacy"].model_fields))
        stages[CODE_STAGE]["outs"] = [*code.values(), code_file]
    head = "# Written from sammil_cli/project/pipeline.py. Stage = command; the commands read params.yaml.\n"
    return head + yaml.safe_dump({"stages": stages, "plots": PLOTS}, sort_keys=False, width=110)


def stages_in(path: Path) -> Collection[str]:
    """The stages of a dvc.yaml; empty where it is missing or cannot be read."""
    try:
        found = read_yaml(path)
        return dict(found["stages"]) if isinstance(found, dict) else ()
    except (OSError, InputError, KeyError, TypeError, ValueError):
        return ()


def has_wsi_sam(stages: Collection[str]) -> bool:
    """Whether a pipeline with these stages is one that asked for WSI-SAM's."""
    return WSI_SAM_STAGE in stages


def _files(*, wsi_sam: bool) -> dict[str, StageFiles]:
    """The stages in their order."""
    if not wsi_sam:
        return FILES
    found: dict[str, StageFiles] = {}
    for name, files in FILES.items():
        if name == "sam":
            found[WSI_SAM_STAGE] = ASKED_FOR[WSI_SAM_STAGE]
            files = replace(files, deps=(*files.deps, TOKENS))
        found[name] = files
    return found


def _entry(command: str, deps: Sequence[str], params: Sequence[str], outs: Sequence[str]) -> dict[str, object]:
    lists = {"deps": deps, "params": params, "outs": outs}
    return {"cmd": f"sammil {command}"} | {key: list(value) for key, value in lists.items() if value}
