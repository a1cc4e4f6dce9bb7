"""sammil demo: draws the demo cohort."""

from pathlib import Path

from sammil_cli import console
from sammil_cli.config import DemoSettings
from sammil_cli.demo.cohort import draw_cohort
from sammil_cli.errors import InputError
from sammil_cli.project.leftovers import tidy
from sammil_cli.project.project import Project, RunOptions

_LEAST_RANGE_PX = 32  # sides are multiples of 16, and width and height differ


def run(project: Project, settings: DemoSettings, options: RunOptions) -> Path:
    """Draws slides, labels and lesion polygons below `data/`; returns the slide folder."""
    if settings.demo_min_px > settings.demo_max_px:
        raise InputError("demo_min_px is larger than demo_max_px", remedy="swap them")
    if settings.demo_max_px - settings.demo_min_px < _LEAST_RANGE_PX:
        raise InputError("demo_min_px and demo_max_px leave no choice", remedy=f"let them be {_LEAST_RANGE_PX} apart")
    tidy(project, store=options.store)
    for folder, suffix in ((project.slides, ".tif"), (project.lesions, ".geojson")):
        for path in folder.glob(f"demo_[0-9][0-9][0-9]{suffix}"):  # of an earlier, larger cohort
            path.unlink()
    with console.progress(settings.demo_slides, "demo") as bar:
        draw_cohort(
            project.slides.parent,
            slides=settings.demo_slides,
            seed=settings.demo_seed,
            size_px=(settings.demo_min_px, settings.demo_max_px),
            difficulty=settings.demo_difficulty,
            workers=options.workers,
            progress=bar.advance,
        )
    console.say(f"demo: {settings.demo_slides} slides → {project.slides}")
    return project.slides
