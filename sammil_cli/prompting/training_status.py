"""What `sammil wsi-sam train` would do, for sammil status and sammil why; nothing is drawn, trained or written."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from sammil_cli.config import SamSettings, Settings, WsiSamTrainSettings
from sammil_cli.errors import InputError, MissingError
from sammil_cli.preflight.key_changes import Change, changes
from sammil_cli.preflight.status import (
    FOLLOWS,
    GONE,
    NOT_DONE,
    STORED,
    TO_DO,
    UP_TO_DATE,
    AskedFor,
    SlideStatus,
    StageStatus,
    TrainingStatus,
    judge_plan,
    waiting_for,
)
from sammil_cli.project.project import Project
from sammil_cli.prompting.asked_for import in_pipeline
from sammil_cli.prompting.fields_plan import STAGE, plan_fields
from sammil_cli.prompting.loop import CHOSEN_BY
from sammil_cli.prompting.patients import split_patients
from sammil_cli.prompting.samples import FieldsJob
from sammil_cli.prompting.trained_files import RECORD, FrozenSam, read_trained
from sammil_cli.prompting.training_key import checkpoint_of, made_of, training_key
from sammil_cli.regions.proposers.sam import wanted_weights
from sammil_cli.regions.sam_models.build import build_sam
from sammil_cli.runner.machine import choose_device, devices
from sammil_cli.runner.per_slide import Plan
from sammil_cli.slides.files import find_slides
from sammil_cli.storage.files import Key, as_stored, digest
from sammil_cli.storage.store import Result, is_content, open_store
from sammil_cli.storage.summed import JsonObject
from sammil_cli.training.checkpoint import read_checkpoint

_NAMED = 3
_OWN_WORDS = ("slides", "patients", "sam")  # parts of the key that `changes` has no words for


def stage_of(project: Project, settings: Settings) -> AskedFor:
    """The stage, for `preflight.status.run`: `sam` comes after it, and may read its tokens."""
    return AskedFor(
        before="sam", examine=partial(_examine, project, settings), is_read=_reads_tokens(project, settings)
    )


def _reads_tokens(project: Project, settings: Settings) -> bool:
    tokens = settings.wsi_sam_tokens if settings.proposer == "wsi-sam" else None
    return tokens is not None and Path(tokens).resolve().is_relative_to(project.wsi_sam.resolve())


def _examine(project: Project, settings: Settings, earlier: Sequence[StageStatus]) -> StageStatus:
    """The fields of each slide with a drawing, and what is trained on them."""
    with torch.device("meta"):  # no weights are drawn or held: what counts is how large its pictures are
        side_px = int(build_sam(settings.sam_model).image_encoder.img_size)
    try:
        plan = plan_fields(project, settings.stage(WsiSamTrainSettings), side_px)
    except (InputError, MissingError) as error:
        return StageStatus(stage=STAGE, slides=(), problem=error, passed_over=_passed_over(project))
    stage = judge_plan(plan, project, _waiting(project, plan, earlier))
    stage = replace(
        stage, slides=[_undrawn(project, slide) for slide in stage.slides], passed_over=_passed_over(project)
    )
    try:
        return replace(stage, training=_training(project, settings, plan, stage))
    except (InputError, MissingError) as error:
        return replace(stage, problem=error)


def _undrawn(project: Project, slide: SlideStatus) -> SlideStatus:
    """A slide whose files would be removed, where it is only its drawing that is gone."""
    if slide.state != GONE or slide.slide_id not in find_slides(project.slides).ids:
        return slide
    said = f"it has no drawing in {project.lesions} any more: its fields would be removed"
    return replace(slide, changes=(Change("drawing is gone", said),))


def _passed_over(project: Project) -> str:
    return f"passed over: it has no drawing in {project.lesions}"


def _waiting(project: Project, plan: Plan[FieldsJob], earlier: Sequence[StageStatus]) -> dict[str, SlideStatus]:
    """The slides whose tissue is to be found first. Without any, fields lie anywhere: `segment` may be left out."""
    drawn = {task.slide_id for task in plan.tasks}
    found = waiting_for([stage for stage in earlier if stage.stage == "segment"])
    return {
        name: slide
        for name, slide in found.items()
        if name in drawn
        and slide.state not in (NOT_DONE, GONE)
        and (in_pipeline() or (project.tissue / f"{name}.geojson").is_file())
    }


def _training(project: Project, whole: Settings, plan: Plan[FieldsJob], fields: StageStatus) -> TrainingStatus:
    """What would be trained on these fields.

    Raises:
        InputError: see `split_patients`. MissingError: no weights.
    """
    settings, sam = whole.stage(WsiSamTrainSettings), whole.stage(SamSettings)
    record = _record(project)
    there = TrainingStatus(state=FOLLOWS, there=_there(project, record), parts=_parts(project, record, fields))
    if to_draw := [slide.slide_id for slide in fields.slides if slide.state in (TO_DO, FOLLOWS)]:
        why = Change("the fields of its slides come first", f"the fields come first: {_named(to_draw)}")
        return replace(there, changes=(why,))
    _, sha256 = wanted_weights(sam.model_dump()).find()
    store = open_store(STAGE)
    slides: dict[str, object] = {}
    for task in plan.tasks:
        drawn = store.look(plan.name_of(task))
        if drawn is not None:  # else it could not be done
            slides[task.slide_id] = made_of(task, drawn.files[f"{task.slide_id}.geojson"].sha256)
    if not slides:
        return replace(there, state=NOT_DONE, changes=(Change("no slide has fields", "no slide has fields"),))
    split = split_patients(project.labels, slides.keys(), settings.wsi_sam_val_fraction, settings.seed)
    frozen = FrozenSam(sam.sam_model, sha256, sam.sam_colours)
    key = training_key(settings, frozen, slides, split, devices(choose_device("auto"))[0])
    name = digest(key)
    result = store.look(name)
    if result is not None and _lies_in(project.wsi_sam, result):
        return replace(there, state=UP_TO_DATE)
    why_not = tuple(_changes(project, record.get("key"), key))
    if store.has_files(name):
        lost = Change("not in its folder", f"its files are not in {project.wsi_sam}, or are not what they were")
        return replace(there, state=STORED, changes=why_not or (lost,))
    saved = read_checkpoint(checkpoint_of(store, name))
    epochs = None if saved is None else len(saved.history)
    if epochs:
        goes_on = f"goes on after epoch {epochs} of {settings.wsi_sam_epochs}"
        why_not = (Change(goes_on, goes_on), *(why_not if record else ()))
    lost = Change("not in the result store", "its files are there, but the result store does not know them")
    return replace(there, state=TO_DO, changes=why_not or (lost,), resumes_after=epochs)


def _record(project: Project) -> JsonObject:
    """The record of the training that lies in the project; empty where none can be read."""
    record = read_trained(project.wsi_sam)
    return record if record.get("kind") == "wsi-sam" else {}


def _lies_in(folder: Path, result: Result) -> bool:
    return all(is_content(folder / file, facts) for file, facts in result.files.items())


def _there(project: Project, record: JsonObject) -> str:
    if not record:
        return ""
    epochs, dice = record["key"]["settings"]["wsi_sam_epochs"], record["figures"][CHOSEN_BY]
    return f"{project.wsi_sam} has epoch {record['epoch'] + 1} of {epochs}, held-out Dice of boxes {dice:.3f}"


def _parts(project: Project, record: JsonObject, fields: StageStatus) -> dict[str, str]:
    """What each slide is to the tokens that lie in the project; empty before the first training."""
    if not record:
        return {}
    known = record["key"]["patients"]
    parts = {slide.slide_id: f"the tokens in {project.wsi_sam} did not see it" for slide in fields.slides}
    for slide_id, (patient, held) in known.items():
        what = "held it out: it chose the epoch" if held else "learned from it"
        parts[slide_id] = f"the tokens in {project.wsi_sam} {what} (patient {patient})"
    return parts


def _changes(project: Project, old: JsonObject | None, key: Key) -> Iterator[Change]:
    """Why what lies there is stale, by the key that it was made with."""
    if old is None:
        record = project.wsi_sam / RECORD
        said = f"{record} cannot be read (sammil check --contents)" if record.exists() else "nothing is trained yet"
        yield Change(said, said)
        return
    new = as_stored(key)
    yield from changes(STAGE, "", _rest(old), _rest(new), project)
    if old["sam"] != new["sam"]:
        (word, sha256, colours), (other, to_sha256, to_colours) = (
            [each["sam"][part] for part in FrozenSam._fields] for each in (old, new)
        )
        said = f"SAM: {word} {sha256[:8]}…, colours {colours} → {other} {to_sha256[:8]}…, colours {to_colours}"
        yield Change("another SAM", said)
    was, now = old["slides"], new["slides"]
    for what, names in (
        ("added", sorted(now.keys() - was.keys())),
        ("left out", sorted(was.keys() - now.keys())),
        ("changed", sorted(name for name in now.keys() & was.keys() if now[name] != was[name])),
    ):
        if names:
            yield Change(f"{len(names)} slide(s) {what}", f"slides {what}: {_named(names)}")
    whose, whose_now = old["patients"], new["patients"]
    if other_patients := sorted(n for n in whose.keys() & whose_now.keys() if whose[n][0] != whose_now[n][0]):
        said = f"other patients in {project.labels}: {_named(other_patients)}"
        yield Change("other patients", said, project.labels)
    if other_part := sorted(n for n in whose.keys() & whose_now.keys() if whose[n][1] != whose_now[n][1]):
        said = f"learned from rather than held out, or the reverse: {_named(other_part)}"
        yield Change("other patients are held out", said)


def _rest(key: Mapping[str, object]) -> dict[str, object]:
    return {name: part for name, part in key.items() if name not in _OWN_WORDS}


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
