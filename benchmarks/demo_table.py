"""The README's table of the demo cohort: each model on patches alone and with SAM's group features.

    make demo && python benchmarks/demo_table.py

Reads the demo's bags and labels, trains 3 x 5 folds of each row (the store keeps them) and prints the rows as Markdown.
The demo's own results stay as they are: everything is written below runs/demo_table.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from sammil_cli import console
from sammil_cli.config import EvaluateSettings, TrainSettings, load_settings
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.report.ablation import ABLATIONS, VARIANTS
from sammil_cli.runner.machine import choose_workers
from sammil_cli.stages import evaluate, train

OUT = Path("runs/demo_table")


def row(label: str, found: dict[str, Any]) -> str:
    """One line of the table: spread over folds, and the pooled AUC with its interval."""
    spread = {name: f"{found[name]['mean']:.3f} ± {found[name]['sd']:.3f}" for name in ("auc", "accuracy", "f1")}
    pooled = "{pooled:.3f} [{low:.3f}, {high:.3f}]".format(**found["auc"])
    return f"| {label} | {spread['auc']} | {pooled} | {spread['accuracy']} | {spread['f1']} |"


def main() -> None:
    """Trains, judges and prints."""
    console.set_up(verbose=False)
    settings = load_settings(Path("params.yaml"), ["repeats=3"])
    options = RunOptions(workers=choose_workers(None, "cpu"))
    lines = ["| model | AUC, folds | AUC, pooled [95 %] | accuracy | F1 |", "|---|---|---|---|---|"]
    summary: dict[str, Any] = {}
    for variant, label in ABLATIONS["7"].rows:
        folder = OUT / variant
        place = replace(
            Project(),
            models=folder / "models",
            splits=folder / "splits.csv",
            learning_curves=folder / "learning_curves",
            predictions=folder / "predictions.csv",
            metrics=folder / "metrics.json",
            curves=folder / "curves",
            page=folder / "index.html",
        )
        own = TrainSettings(**{**settings.stage(TrainSettings).model_dump(), **VARIANTS[variant]})
        train.run(place, own, options)
        summary = evaluate.run(place, settings.stage(EvaluateSettings), options)
        model, _, groups = label.partition(" ")
        lines.append(row(f"`{model}`{' ' + groups if groups else ''}", summary))
    lines.append(row("mean of the features, logistic regression", summary["baselines"]["mean-pool"]))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
