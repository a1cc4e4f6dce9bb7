"""sammil explain: which regions speak for a verdict, whether the model leans on them, and whether lesions are there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sammil_cli import console
from sammil_cli.cohort.cohort import Member
from sammil_cli.config import EvaluateSettings, VisualizeSettings
from sammil_cli.errors import InputError, as_slide_error
from sammil_cli.features.making import read_making
from sammil_cli.jobs.explain import ExplainJob, work
from sammil_cli.project.code_in_use import code_of_slide
from sammil_cli.project.process_list import Row, refusal
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner.earlier_files import files_of
from sammil_cli.runner.inputs import content
from sammil_cli.runner.per_slide import Plan, Task, limits_of, run_plan
from sammil_cli.stages.evidence import made_of_drawing
from sammil_cli.storage.paths import BagPath, ModelPath, RegionsPath, TissuePath
from sammil_cli.tissue.drawing_files import find_drawings
from sammil_cli.training.making_check import check_bag
from sammil_cli.training.manifest import check_bags, check_fold, read_trained_folds
from sammil_cli.training.model_facts import FACTS_FILE, ModelFacts, read_facts
from sammil_cli.training.trained_labels import read_judged_by

SLIDES = "slides"  # the folder of what is written for each slide


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What became of each slide, and of the cohort; None where no slide could be explained."""

    rows: Sequence[Row]
    facts: Mapping[str, object] | None


def run(
    project: Project, settings: VisualizeSettings, judged: EvaluateSettings, options: RunOptions, out: Path
) -> Explanation:
    """Explains every slide that a fold tests, by that fold; of several repeats the first one speaks.

    Args:
        settings: the limits of a slide. judged: of the intervals. out: `slides/` is written into it for each slide,
            tables, picture and page for all that are explained.

    Raises:
        InputError: nothing is trained, no slide is tested, or labels are not those of the training.
    """
    rows = run_plan(partial(plan, project, settings, options, out), options, limits_of(settings))
    done = [row.slide_id for row in rows if row.done]
    if not done:
        return Explanation(rows=rows, facts=None)
    cohort = _cohort(project)
    left_out = sorted({path.stem for path in project.bags.glob("*.h5")} - cohort.fold_of.keys())
    if left_out:
        console.say(
            f"explain: {len(left_out)} slide(s) left out: no fold tests them, so every model may have seen them "
            f"({', '.join(left_out[:3])}{', …' if len(left_out) > 3 else ''})"
        )
    from sammil_cli.stages.explain_report import write_report  # here: Matplotlib, which planning does without

    if options.only is not None:
        console.say(f"explain: tables and page are of {len(done)} slide(s) alone, which --only names")
    facts = write_report(out, [cohort.members[slide] for slide in done], cohort.facts, judged, left_out=len(left_out))
    return Explanation(rows=rows, facts=facts)


@dataclass(frozen=True, kw_only=True)
class _Cohort:
    """The tested slides: the fold of the first repeat, labels, and the facts of one of the models."""

    fold_of: Mapping[str, str]
    members: Mapping[str, Member]
    facts: ModelFacts


def _cohort(project: Project) -> _Cohort:
    folds, _ = read_trained_folds(project.models, project.splits)
    facts = read_facts(ModelPath(project.models / folds[0].name))
    bags = {path.stem for path in project.bags.glob("*.h5")}
    labels = read_judged_by(project.labels, project.splits, facts.classes, bags, changed_labels=False)
    tested = {slide: fold.name for fold in reversed(folds) for slide in fold.test}
    return _Cohort(
        fold_of={slide: name for slide, name in tested.items() if slide in labels.members},
        members=labels.members,
        facts=facts,
    )


def plan(project: Project, settings: VisualizeSettings, options: RunOptions, out: Path) -> Plan[ExplainJob]:
    """What is to do: slides of a test part, by the model of that fold."""
    _, manifest = read_trained_folds(project.models, project.splits)
    cohort = _cohort(project)
    lesions, drawn = find_drawings(project.lesions), find_drawings(project.annotations)
    tasks, refused = [], []
    for bag in files_of(BagPath, project, project.bags, "extract", options.only):
        if bag.stem not in cohort.fold_of:
            continue
        trained = ModelPath(project.models / cohort.fold_of[bag.stem])
        try:
            check_fold(project.models, trained.name, manifest)
            facts = read_facts(trained)
            check_bag(read_making(bag), facts, remedy="run: sammil train")
            check_bags(manifest, {bag.stem: made.digest} if (made := content(bag)) else {}, project.bags)
            code = code_of_slide("explain", word=facts.model)
        except InputError as error:
            refused.append(refusal(bag.stem, as_slide_error(error)))
            continue
        label = cohort.members[bag.stem].label
        asked = (
            facts.positive_class is None or label == 1
        )  # lesions are of the positive class, of more than two of each
        of_drawing = made_of_drawing(bag)
        regions, tissue = RegionsPath(project.regions / bag.name), TissuePath(project.tissue / f"{bag.stem}.geojson")
        job = ExplainJob(
            bag=bag,
            trained=trained,
            lesions=lesions.get(bag.stem) if asked else None,
            lesion_class=label,
            regions=regions if of_drawing and regions.exists() else None,
            drawn=drawn.get(bag.stem) if of_drawing else None,
            tissue=tissue if tissue.exists() else None,
        )
        inputs = {
            "inputs": [content(path) for path in (bag, job.lesions, job.regions, job.drawn, job.tissue)],
            "model": content(trained / FACTS_FILE),
            "lesion_class": label if job.lesions else None,
        }
        tasks.append(Task.of(bag.stem, job, inputs, code, strict=settings.strict_versions))
    process_lists = project.process_lists
    return Plan(stage="explain", tasks=tasks, work=work, out=out / SLIDES, process_lists=process_lists, refused=refused)
