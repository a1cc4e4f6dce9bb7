"""sammil visualize: one picture and one table of patches per slide, by the model that did not see it."""

from functools import partial
from pathlib import Path

from sammil_cli import console
from sammil_cli.config import VisualizeSettings
from sammil_cli.errors import InputError, SlideError, as_slide_error
from sammil_cli.features.making import read_making
from sammil_cli.jobs.visualize import VisualizeJob, work
from sammil_cli.project.code_in_use import code_of_slide
from sammil_cli.project.process_list import Row, refusal
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.report.document import address, document, escaped
from sammil_cli.runner.earlier_files import files_of, undone_by, with_slides
from sammil_cli.runner.inputs import content
from sammil_cli.runner.per_slide import Plan, Task, limits_of, run_plan
from sammil_cli.storage.files import write_text
from sammil_cli.storage.paths import BagPath, ModelPath, PatchesPath, RegionsPath
from sammil_cli.tissue.drawing_files import find_drawings, stray_drawings
from sammil_cli.training.making_check import check_bag
from sammil_cli.training.manifest import check_bags, check_fold, read_trained_folds
from sammil_cli.training.trained_model import FACTS_FILE, read_facts


def run(project: Project, settings: VisualizeSettings, options: RunOptions) -> list[Row]:
    """Draws every slide that is in a test part; of several repeats the first one speaks. Returns the process list."""
    rows = run_plan(partial(plan, project, settings, options), options, limits_of(settings))
    undone = undone_by(project, "segment", "patch", "sam", "extract")
    for line in stray_drawings(project.lesions, {path.stem for path in project.bags.glob("*.h5")}, undone):
        console.say(line)
    _write_index(project.pictures, _stamp(project))
    return rows


def _stamp(project: Project) -> str | None:
    """What the pictures carry where a model was chosen on the test fold."""
    folders = [path.parent for path in sorted(project.models.glob(f"*/{FACTS_FILE}"))]
    for folder in folders:
        try:
            if stamp := read_facts(ModelPath(folder)).stamp:
                return stamp
        except InputError:  # its slides are refused one by one
            continue
    return None


def plan(project: Project, settings: VisualizeSettings, options: RunOptions) -> Plan[VisualizeJob]:
    """What is to do."""
    folds, manifest = read_trained_folds(project.models, project.splits)
    fold_of = {slide: fold.name for fold in reversed(folds) for slide in fold.test}
    bags = [p for p in files_of(BagPath, project, project.bags, "extract", options.only) if p.stem in fold_of]
    pairs, refused = with_slides(bags, project, lambda bag: (bag,))
    lesions_of = find_drawings(project.lesions)
    shown = {"mpp": settings.heatmap_mpp, "top": settings.top_patches}
    tasks = []
    for bag, slide, seen in pairs:
        trained = ModelPath(project.models / fold_of[bag.stem])
        lesions = lesions_of.get(bag.stem)
        patches, regions = PatchesPath(project.patches / bag.name), RegionsPath(project.regions / bag.name)
        if lost := [path for path in (bag, patches, regions, trained / FACTS_FILE) if not path.exists()]:
            lack = SlideError("E_UPSTREAM", f"{lost[0]} is gone", remedy="run: sammil patch, sammil sam, sammil train")
            refused.append(refusal(bag.stem, lack))
            continue
        try:
            check_fold(project.models, fold_of[bag.stem], manifest)
            facts = read_facts(trained)
            code = code_of_slide("visualize", slide, facts.model)
            check_bag(read_making(bag), facts, remedy="run: sammil train")
            made_from = [made for path in (bag, patches, regions) if (made := content(path))]
            check_bags(manifest, {bag.stem: made_from[0].digest}, project.bags)
        except InputError as error:
            refused.append(refusal(bag.stem, as_slide_error(error)))
            continue
        inputs = {
            "slide": seen,
            "inputs": made_from,
            "model": content(trained / FACTS_FILE),
            "lesions": content(lesions),
            "settings": shown,
        }
        job = VisualizeJob(
            slide=slide, bag=bag, patches=patches, regions=regions, trained=trained, lesions=lesions, settings=settings
        )
        tasks.append(Task.of(bag.stem, job, inputs, code, strict=settings.strict_versions))
    out, process_lists = project.pictures, project.process_lists
    return Plan(stage="visualize", tasks=tasks, work=work, out=out, process_lists=process_lists, refused=refused)


def _write_index(pictures: Path, stamp: str | None) -> None:
    """A page with all pictures, by slide id."""
    names = sorted(path.stem for path in pictures.glob("*.png"))
    items = "".join(
        f"<h2 id='{escaped(name)}'>{escaped(name)}</h2>"
        f"<p><a href='{address(name + '.csv')}'>attention and evidence of every patch</a></p>"
        f"<img loading='lazy' alt='{escaped(name)}' src='{address(name + '.png')}'>"
        for name in names
    )
    how = "each by the model of the fold that did not see it in training"
    warning = f"<p class='warning'>Epoch and threshold were chosen on these very slides: {stamp}.</p>" if stamp else ""
    body = f"<h1>Slides</h1><p>{len(names)} slides, {how}.</p>{warning}{items}"
    write_text(pictures / "index.html", document("sammil: slides", body))
