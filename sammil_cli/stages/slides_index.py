"""The page of pictures of a project: `report/slides/index.html`, with what `sammil evaluate` says of each slide."""

from sammil_cli.errors import InputError
from sammil_cli.project.project import Project
from sammil_cli.report.slide_rows import judged_rows
from sammil_cli.report.slides_page import write_slides_page
from sammil_cli.stages.judged_runs import JudgedRun, run_of
from sammil_cli.stages.slide_remarks import flags_of, undrawn
from sammil_cli.storage.paths import ModelPath
from sammil_cli.training.model_facts import FACTS_FILE, ModelFacts, read_facts


def write_index(project: Project, mark: str | None) -> None:
    """Writes the page; verdicts stand on it where those of just these models are there.

    Args:
        mark: what the pictures carry where a model was chosen on the test fold.
    """
    run = _judged(project)
    rows = judged_rows(run.rows, run.classes, run.thresholds, flags_of(project, drawn=True)) if run else []
    positive = run.rows.positive_class if run else None
    write_slides_page(project.pictures, rows, undrawn(project), positive_class=positive, mark=mark)


def _judged(project: Project) -> JudgedRun | None:
    found = run_of(project.predictions, facts) if (facts := _facts(project)) else ""
    return None if isinstance(found, str) else found


def _facts(project: Project) -> list[ModelFacts]:
    """Of all trained models; none where one cannot be read."""
    folders = [ModelPath(path.parent) for path in sorted(project.models.glob(f"*/{FACTS_FILE}"))]
    try:
        return [read_facts(folder) for folder in folders]
    except InputError:
        return []
