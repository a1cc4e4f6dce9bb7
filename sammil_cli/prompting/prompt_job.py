"""wsi-sam prompt, one slide: prompts -> polygons for QuPath, a table and, if asked for, a picture."""

from dataclasses import dataclass
from pathlib import Path

from sammil_cli.config import SamSettings
from sammil_cli.prompting.asked import Prompt, on_slide
from sammil_cli.prompting.prompt_drawing import read_drawn_prompts
from sammil_cli.slides.files import open_slide
from sammil_cli.slides.slide import Slide
from sammil_cli.storage.files import Record
from sammil_cli.storage.paths import DrawingPath, SlidePath


@dataclass(frozen=True, kw_only=True)
class How:
    """How prompts are answered.

    `mpp`: µm per pixel of HR; `extent`: see `places.field_of`; `as_mask`: areas are given as coarse masks, not as
    boxes; `pictures`: a picture of the answers is drawn.
    """

    mpp: float
    extent: float
    as_mask: bool
    pictures: bool


@dataclass(frozen=True, kw_only=True)
class PromptJob:
    """`asked`: the prompts, as QuPath counts; None = they are in `drawing`. `mpp`, `scene`: of the slides table.

    `threads`: how many torch uses, whatever the number of slides at work; None = as many as the process has.
    """

    slide: SlidePath
    mpp: float | None
    scene: int | None
    asked: tuple[Prompt, ...] | None
    drawing: DrawingPath | None
    how: How
    settings: SamSettings
    device: str
    threads: int | None


def work(folder: Path, record: Record, job: PromptJob) -> list[str]:
    """Writes one slide's answers into `folder`; returns remarks and flags."""
    with open_slide(job.slide, job.mpp, job.scene) as slide:
        prompts, remarks = prompts_on(slide, job)
        # Torch takes seconds to load: prompts that cannot be answered are refused before.
        from sammil_cli.prompting.answer import write_answers
        from sammil_cli.prompting.promptable import load_promptable, with_threads

        with with_threads(job.threads):
            model = load_promptable(job.settings, job.device)
            remarks += write_answers(folder, record, slide, prompts, model, job.how)
        return [*slide.remarks, *remarks]


def prompts_on(slide: Slide, job: PromptJob) -> tuple[list[Prompt], list[str]]:
    """The prompts in level-0 pixels of the whole file, and what was cut or passed over.

    Raises:
        SlideError: `E_PROMPT`, see `asked.on_slide` and `prompt_drawing.read_drawn_prompts`.
    """
    if job.asked is not None:
        return on_slide(job.asked, slide.bounds_px, moved=False)
    if job.drawing is None:
        raise ValueError("a job has prompts or a drawing")
    drawn, passed = read_drawn_prompts(job.drawing, slide.bounds_px[:2])
    prompts, cut = on_slide(drawn, slide.bounds_px, moved=True)
    return prompts, passed + cut
