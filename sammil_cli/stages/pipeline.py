"""The DVC pipeline: which stage needs what. dvc.yaml is written from here, so that both always agree."""

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import yaml

from sammil_cli.config import STAGES
from sammil_cli.storage.code import code_version

VERSIONS_FILE = "steps.yaml"


@dataclass(frozen=True, kw_only=True)
class StageFiles:
    """What a stage reads and writes, project-relative. `command` differs from the stage's name for the demo only."""

    command: str
    module: str
    deps: tuple[str, ...]
    outs: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()


FILES: dict[str, StageFiles] = {
    "cohort": StageFiles(
        command="demo", module="cohort", deps=(), outs=("data/slides", "data/labels.csv", "data/lesions")
    ),
    "segment": StageFiles(
        command="segment",
        module="segment",
        deps=("data/slides", "data/slides.csv", "data/edits"),
        outs=("artifacts/tissue",),
    ),
    "patch": StageFiles(
        command="patch", module="patch", deps=("artifacts/tissue", "data/rois"), outs=("artifacts/patches",)
    ),
    "sam": StageFiles(
        command="sam",
        module="sam",
        deps=("data/slides", "artifacts/tissue", "data/annotations"),
        outs=("artifacts/regions",),
    ),
    "extract": StageFiles(
        command="extract",
        module="extract",
        deps=("data/slides", "artifacts/patches", "artifacts/regions"),
        outs=("artifacts/bags",),
    ),
    "train": StageFiles(
        command="train",
        module="train",
        deps=("artifacts/bags", "data/labels.csv"),
        outs=("runs/models", "runs/splits.csv", "runs/learning_curves", "runs/record.json"),
    ),
    "evaluate": StageFiles(
        command="evaluate",
        module="evaluate",
        deps=("artifacts/bags", "data/labels.csv", "runs/models", "runs/splits.csv"),
        outs=("report/index.html", "report/curves", "runs/predictions.csv"),
        metrics=("report/metrics.json",),
    ),
    "visualize": StageFiles(
        command="visualize",
        module="visualize",
        deps=(
            "data/slides",
            "artifacts/patches",
            "artifacts/regions",
            "artifacts/bags",
            "runs/models",
            "runs/splits.csv",
        ),
        outs=("report/slides",),
    ),
}

PLOTS: list[dict[str, Any]] = [
    {"runs/learning_curves": {"x": "epoch", "y": "val_auc"}},
    {"report/curves/roc.csv": {"x": "false_positive_rate", "y": "true_positive_rate", "title": "ROC, mean of folds"}},
    {"report/curves/pr.csv": {"x": "recall", "y": "precision", "title": "Precision and recall, mean of folds"}},
    {"report/curves/confusion.csv": {"x": "actual", "y": "predicted", "template": "confusion", "title": "Confusion"}},
]


def stage_module(stage: str) -> ModuleType:
    """The module of a stage; it has `run` and `CODE`, the places of the package whose code it uses."""
    return import_module(f"sammil_cli.stages.{FILES[stage].module}")


def render_dvc(*, demo: bool) -> str:
    """The text of dvc.yaml: for the demo project, with code folders as dependencies, or for a user's project.

    A user's project has no code folders; the versions of the installed steps in steps.yaml stand in for them.
    """
    stages: dict[str, Any] = {}
    for name, files in FILES.items():
        if name == "cohort" and not demo:
            continue
        module = stage_module(name)
        deps = list(files.deps)
        params: list[Any] = sorted(STAGES[name].model_fields)
        if demo:
            deps += [f"sammil_cli/{place}" for place in module.CODE]
        else:
            params.append({VERSIONS_FILE: [name]})
        entry: dict[str, Any] = {"cmd": f"sammil {files.command}"}
        for key, value in (("deps", deps), ("params", params), ("outs", list(files.outs))):
            if value:
                entry[key] = value
        if files.metrics:
            entry["metrics"] = [{path: {"cache": False}} for path in files.metrics]
        stages[name] = entry
    head = "# Written from sammil_cli/stages/pipeline.py. Stage = command = verb; the commands read params.yaml.\n"
    return head + yaml.safe_dump({"stages": stages, "plots": PLOTS}, sort_keys=False, width=110)


def render_versions() -> str:
    """The text of steps.yaml: the version of the installed code of each step."""
    versions = {name: code_version(*stage_module(name).CODE) for name in FILES if name != "cohort"}
    head = "# The installed sammil's steps, for DVC: written by sammil init, and again by sammil init --update.\n"
    return head + yaml.safe_dump(versions, sort_keys=False)
