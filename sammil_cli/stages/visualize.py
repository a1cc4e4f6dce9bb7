"""sammil visualize: one picture and one table of patches per slide, by models that did not see it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from sammil_cli import console
from sammil_cli.config import VisualizeSettings
from sammil_cli.errors import InputError, SlideError, as_slide_error
from sammil_cli.features.making import read_making
from sammil_cli.jobs.visualize import SlideFiles, VisualizeJob, work
from sammil_cli.project.code_in_use import code_of_slide
from sammil_cli.project.process_list import Row, refusal
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner.earlier_files import files_of, undone_by, with_slides
from sammil_cli.runner.inputs import Input, content
from sammil_cli.runner.per_slide import Plan, Task, limits_of, run_plan
from sammil_cli.slides.files import find_slides
from sammil_cli.stages.slides_index import write_index
from sammil_cli.storage.origin import read_key
from sammil_cli.storage.paths import BagPath, ModelPath, PatchesPath, RegionsPath, SlidePath
from sammil_cli.storage.shown_text import shown
from sammil_cli.tissue.drawing_files import find_drawings, stray_drawings
from sammil_cli.training.fold import Fold, labels_of_folds
from sammil_cli.training.making_check import check_bag
from sammil_cli.training.manifest import check_bags, check_fold, read_trained_folds
from sammil_cli.training.model_facts import FACTS_FILE, read_facts

UNSEEN, ALL = "unseen", "all"
_SHOWN = 5


def run(project: Project, settings: VisualizeSettings, options: RunOptions, by: str | None = None) -> list[Row]:
    """Draws every slide that has a bag; returns the process list.

    Args:
        by: who draws them, see `plan`.
    """
    rows = run_plan(partial(plan, project, settings, options, by), options, limits_of(settings))
    undone = undone_by(project, "segment", "patch", "sam", "extract")
    for line in stray_drawings(project.lesions, {path.stem for path in project.bags.glob("*.h5")}, undone):
        console.say(line)
    write_index(project, _stamp(project))
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


def plan(
    project: Project, settings: VisualizeSettings, options: RunOptions, by: str | None = None
) -> Plan[VisualizeJob]:
    """What is to do.

    Args:
        by: None = slides of a test part by the model of that fold (of several repeats the first), slides in no part by
            all models together, no others; `unseen` = each by all models that did not see it, no others; `all` = by all
            models together; a fold (`repeat_0_fold_2`, `0.2` or `2`) = by its model. By the last two, slides that a
            model learned from are drawn, too, and stamped.

    Raises:
        InputError: there are no bags, every one of them was trained or chosen on, or there is no such fold.
    """
    folds, manifest = read_trained_folds(project.models, project.splits)
    bags = files_of(BagPath, project, project.bags, "extract", options.only)
    judges = _judges(bags, folds, project, by)
    if not judges:
        raise InputError(
            f"there is no slide to draw: all {len(bags)} were trained or chosen on, and none is in a test part",
            remedy="draw them all the same, by models that have seen them: sammil visualize --by all",
        )

    def check(bag: BagPath, trained: ModelPath) -> None:
        check_fold(project.models, trained.name, manifest)
        check_bag(read_making(bag), read_facts(trained), remedy="run: sammil train")
        check_bags(manifest, {bag.stem: made.digest} if (made := content(bag)) else {}, project.bags)

    return plan_pictures(project, settings, judges, check)


@dataclass(frozen=True, kw_only=True)
class Judges:
    """The models that judge a slide in its picture.

    `seen`: whether any of them was trained or chosen on it; None = not known. `truth`: the slide's label when the folds
    were drawn, None without one.
    """

    trained: tuple[ModelPath, ...]
    seen: bool | None
    truth: str | None = None


def _judges(bags: list[BagPath], folds: list[Fold], project: Project, by: str | None) -> dict[BagPath, Judges]:
    """Who draws which slide; slides that nobody may draw are left out. `InputError`: there is no such fold."""
    labels = labels_of_folds(project.splits) or {}
    learned = {fold.name: {*fold.train, *fold.val}.difference(fold.test) for fold in folds}
    tested = {slide: fold.name for fold in reversed(folds) for slide in fold.test}
    chosen = None if by in (None, UNSEEN, ALL) else _named_fold(folds, str(by))

    def models(slide: str) -> list[str]:
        if chosen is not None:
            return [chosen]
        if by is None and slide in tested:
            return [tested[slide]]
        unseen = [name for name, seen in learned.items() if slide not in seen]
        if by is None:  # new slides only: of those in other repeats' folds some model would be missing
            return unseen if len(unseen) == len(learned) else []
        return list(learned) if by == ALL else unseen

    return {
        bag: Judges(
            trained=tuple(ModelPath(project.models / name) for name in names),
            seen=any(bag.stem in learned[name] for name in names),
            truth=labels[bag.stem][0] if bag.stem in labels else None,
        )
        for bag in bags
        if (names := models(bag.stem))
    }


def _named_fold(folds: list[Fold], by: str) -> str:
    """The name of the fold that `by` names. `InputError`: no fold is called so."""
    names = {fold.name for fold in folds}
    for name in (by, "repeat_{}_fold_{}".format(*by.split(".", 1)) if "." in by else f"repeat_0_fold_{by}"):
        if name in names:
            return name
    raise InputError(
        f"there is no fold {shown(by)}: {', '.join(sorted(names)[:_SHOWN])}{', …' if len(names) > _SHOWN else ''}",
        remedy=f"take one of these, or: --by {UNSEEN}, --by {ALL}",
    )


def plan_pictures(
    project: Project,
    settings: VisualizeSettings,
    judges: Mapping[BagPath, Judges],
    check: Callable[[BagPath, ModelPath], None] | None = None,
) -> Plan[VisualizeJob]:
    """The pictures of bags, over their slides where these are here, as maps of their patches elsewhere.

    Args:
        check: refuses a bag that is none for a model, with `InputError`; bags that were made of slides are then refused
            where their slide, patches or regions are gone. None = all are known to fit, and what is gone is not drawn.
    """
    drawn, refused = _drawn_over(list(judges), project, strict=check is not None)
    lesions_of = find_drawings(project.lesions)
    drawing = _drawing(settings)
    tasks = []
    for bag, files, seen in drawn:
        trained, lesions = judges[bag].trained, lesions_of.get(bag.stem)
        patches = [] if files is None else [files.patches, files.regions]
        needed = [bag, *patches, *(folder / FACTS_FILE for folder in trained)]
        if lost := [path for path in needed if not path.exists()]:
            lack = SlideError("E_UPSTREAM", f"{lost[0]} is gone", remedy="run: sammil patch, sammil sam, sammil train")
            refused.append(refusal(bag.stem, lack))
            continue
        try:
            if check:
                for folder in trained:
                    check(bag, folder)
            code = code_of_slide("visualize", files.slide if files else None, read_facts(trained[0]).model)
        except InputError as error:
            refused.append(refusal(bag.stem, as_slide_error(error)))
            continue
        inputs = {
            "slide": seen,
            "inputs": [content(path) for path in (bag, *patches)],
            "models": [content(folder / FACTS_FILE) for folder in trained],
            "seen": judges[bag].seen,
            "truth": judges[bag].truth,
            "lesions": content(lesions),
            "settings": drawing,
        }
        job = VisualizeJob(
            bag=bag,
            trained=trained,
            seen=judges[bag].seen,
            truth=judges[bag].truth,
            files=files,
            lesions=lesions,
            settings=settings,
        )
        tasks.append(Task.of(bag.stem, job, inputs, code, strict=settings.strict_versions))
    out, process_lists = project.pictures, project.process_lists
    return Plan(stage="visualize", tasks=tasks, work=work, out=out, process_lists=process_lists, refused=refused)


def _drawing(settings: VisualizeSettings) -> dict[str, object]:
    """The settings that pictures are made with; the resolution of the OME-TIFF only where there is one."""
    tiff = {"heatmap_mpp": settings.heatmap_mpp} if settings.evidence_ome_tiff else {}
    return {
        "top_patches": settings.top_patches,
        "detail_fields": settings.detail_fields,
        "detail_mpp": settings.detail_mpp,
        **tiff,
    }


def _drawn_over(
    bags: list[BagPath], project: Project, *, strict: bool
) -> tuple[list[tuple[BagPath, SlideFiles | None, Input | None]], list[Row]]:
    """Each bag with the files of its slide, or None where a map is to be drawn; and rows of what is gone.

    Args:
        strict: a bag that was made of a slide needs it, as long as slides are here at all.
    """
    try:
        here = find_slides(project.slides).paths
    except InputError:  # features in hand, without slides
        here = {}

    def files_of_slide(bag: BagPath, slide: SlidePath) -> SlideFiles:
        patches, regions = PatchesPath(project.patches / bag.name), RegionsPath(project.regions / bag.name)
        return SlideFiles(slide=slide, patches=patches, regions=regions)

    def has_all(bag: BagPath) -> bool:
        return bag.stem in here and all((folder / bag.name).exists() for folder in (project.patches, project.regions))

    over = [bag for bag in bags if here and (has_all(bag) or (strict and _of_a_slide(bag)))]
    pairs, refused = with_slides(over, project, lambda bag: (bag,)) if over else ([], [])
    found = {bag: (files_of_slide(bag, slide), seen) for bag, slide, seen in pairs}
    gone = {row.slide_id for row in refused} if strict else set()
    return [(bag, *found.get(bag, (None, None))) for bag in bags if bag.stem not in gone], refused if strict else []


def _of_a_slide(bag: BagPath) -> bool:
    """Whether a bag was made of a slide; features that came without are grouped by `extract`, too."""
    return "slide" in (read_key(bag) or {})
