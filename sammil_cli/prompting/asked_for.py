"""Whether a project trains WSI-SAM's tokens."""

from pathlib import Path

from sammil_cli.project.leftovers import UNFINISHED
from sammil_cli.project.pipeline import has_wsi_sam, stages_in
from sammil_cli.project.project import Project
from sammil_cli.prompting.fields_plan import STAGE
from sammil_cli.storage.store import open_store

PIPELINE = Path("dvc.yaml")


def trains_tokens(project: Project) -> bool:
    """Whether the pipeline has the stage, tokens were trained here, or their training was interrupted."""
    return (
        in_pipeline()
        or (project.wsi_sam / "record.json").is_file()
        or any((open_store(STAGE).root / UNFINISHED).glob("[!.]*.safetensors"))
    )


def in_pipeline() -> bool:
    """Whether dvc.yaml of the working directory has the stage."""
    return has_wsi_sam(stages_in(PIPELINE))
