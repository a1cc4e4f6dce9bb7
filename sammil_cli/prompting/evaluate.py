"""sammil wsi-sam evaluate: how well prompts are answered on slides with drawings, and by whom."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch.nn.functional import interpolate

from sammil_cli import console
from sammil_cli.choices import one_of
from sammil_cli.config import EvaluateSettings, SamSettings, Settings, WsiSamTrainSettings
from sammil_cli.console import download_progress
from sammil_cli.errors import InputError
from sammil_cli.project.process_list import Row
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.prompting.candidates import REFERENCES, SAM, WSI_SAM, Candidate, find_candidates, loaded
from sammil_cli.prompting.dice import Mask, Overlap, overlap
from sammil_cli.prompting.drawn_prompts import draw_prompt, tight_box
from sammil_cli.prompting.evaluation_tables import BOX, KINDS, POINTS, Judged, estimates, make_tables
from sammil_cli.prompting.field_reader import FieldReader, Sample, samples_of
from sammil_cli.prompting.fields_plan import draw_fields
from sammil_cli.prompting.learned_from import LearnedFrom
from sammil_cli.prompting.patients import patients_of_slides
from sammil_cli.prompting.promptable import Promptable
from sammil_cli.prompting.samples import SlideFields, read_fields
from sammil_cli.prompting.trained_files import TOKENS
from sammil_cli.regions.proposers.sam import wanted_weights
from sammil_cli.regions.wsi_sam.field import same_mpp
from sammil_cli.regions.wsi_sam.model import Answer
from sammil_cli.regions.wsi_sam.prompts import Prompts
from sammil_cli.report.intervals import Estimate
from sammil_cli.report.markdown import as_markdown
from sammil_cli.report.page import write_tables
from sammil_cli.runner.machine import devices
from sammil_cli.storage.files import write_csv, write_json, write_text
from sammil_cli.storage.weight_download import download

Scores = dict[tuple[str, str], list[Overlap]]  # kind of prompt, name -> one per sample

STAGE = "wsi-sam-evaluate"
_COLUMNS = ("slide_id", "patient_id", "field", "x", "y", "prompt", "model", "dice", "iou", "seen_in_training")


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is to be judged.

    `models`, `checkpoints`: see `find_candidates`; `models` None = SAM, and WSI-SAM where tokens are known.
    `trained`: the folder of a training, whose tokens and held-out patients are taken; None = all slides.
    `against`: the row that the others are compared with; None = the first model.
    """

    models: tuple[str, ...] | None = None
    checkpoints: tuple[str, ...] = ()
    trained: Path | None = None
    against: str | None = None


class Evaluated(NamedTuple):
    """What became of the slides, and what `metrics.json` holds."""

    rows: list[Row]
    summary: dict[str, object]


def run(project: Project, whole: Settings, options: RunOptions, question: Question, out: Path) -> Evaluated:
    """Judges models on fields of slides with drawings, and writes `index.html`, `evaluation.md`, `metrics.json` and
    `per_sample.csv`.

    The fields are those that `wsi-sam train` draws by the same settings. Every model is asked the same: the tight box,
    and 3, 5 and 10 points in the mask, the fewer among the more.

    Raises:
        InputError: see `find_candidates`; no field, or no held-out patient, to judge on; models whose pictures have
            another side. MissingError: no weights, or they do not fit.
    """
    drawn, shown = whole.stage(WsiSamTrainSettings), whole.stage(EvaluateSettings)
    sam_settings = whole.stage(SamSettings)
    candidates = _candidates(sam_settings, options, question)
    names = [*(candidate.name for candidate in candidates), *REFERENCES]
    against = question.against or names[0]
    if against not in names:
        raise InputError(f"--against names {against!r}, which is not judged", remedy=one_of(against, names))
    load = partial(loaded, candidates, devices(options.device)[0], sam_settings.sam_precision)
    side_px = _side_of(load())
    rows, tasks = draw_fields(project, drawn, side_px, options)
    fields = {name: read_fields(project.fields / f"{name}.geojson") for name in sorted(tasks)}
    sources = {candidate.name: LearnedFrom.of(candidate.facts) for candidate in candidates if candidate.tokens}
    samples = _samples(project, fields, sources[WSI_SAM] if question.trained else None)
    with FieldReader({name: task.job for name, task in tasks.items()}, fields) as reader:
        for slide_id in dict.fromkeys(sample.slide_id for sample in samples):
            reader.paint(slide_id)
        scores = _references(reader, samples)
        for _, several in load():
            scores |= _answered(several, reader, samples, drawn.seed)
    judged = Judged(
        samples=samples,
        names=names,
        scores=scores,
        against=against,
        sources=sources,
        remarks=list(_trained_otherwise(candidates, drawn.wsi_sam_mpp)),
    )
    return Evaluated(rows, _write(judged, candidates, drawn, shown, out))


def _side_of(models: Iterator[tuple[int, Mapping[str, Promptable]]]) -> int:
    """The side of all models' pictures: each is loaded, so that a file that does not fit costs no judging.

    Raises:
        InputError: their sides differ.
    """
    side_px, first = next(models)
    names = ", ".join(first)
    for side, several in models:
        if side != side_px:
            raise InputError(
                f"{', '.join(several)}: pictures of {side} pixels, where {names} has {side_px}",
                remedy="judge them in a run of their own",
            )
    return side_px


def _trained_otherwise(candidates: Sequence[Candidate], mpp: float) -> Iterator[str]:
    for one in candidates:
        if (facts := one.facts) is not None and not same_mpp(facts.mpp, mpp):
            yield (
                f"The tokens of {one.name} were trained at {facts.mpp:.3g} µm per pixel, and are judged at {mpp:.3g} "
                "(wsi_sam_mpp)."
            )


def _candidates(settings: SamSettings, options: RunOptions, question: Question) -> list[Candidate]:
    wanted = wanted_weights(settings.model_dump())
    if options.download and wanted.to_fetch:
        download(wanted.to_fetch, download_progress())
    tokens = question.trained and question.trained / TOKENS
    if tokens and not tokens.is_file():
        raise InputError(
            f"{question.trained} holds no training: there is no {TOKENS}",
            remedy="--run is the folder of sammil wsi-sam train, runs/wsi_sam by default",
        )
    models = question.models
    if models is None:
        models = (SAM, WSI_SAM) if tokens or settings.wsi_sam_tokens else (SAM,)
    elif tokens and WSI_SAM not in models:
        raise InputError("--run gives tokens, and wsi-sam is not judged", remedy=f"add --model {WSI_SAM}")
    return find_candidates(settings, models, question.checkpoints, tokens)


def _samples(project: Project, fields: Mapping[str, SlideFields], trained: LearnedFrom | None) -> list[Sample]:
    """All fields, or those of the patients that a training held out.

    Raises:
        InputError: that training held out none of these patients, or does not say whom.
    """
    patients, unnamed = patients_of_slides(project.labels, fields.keys())
    if unnamed:
        console.say(f"{STAGE}: {project.labels} names no patient of {unnamed} slide(s): each counts as one of its own")
    samples = samples_of(fields, patients, set(patients.values()))
    if trained is None:
        return samples
    held = [sample for sample in samples if trained.saw(sample) == "chose the epoch"]
    if not held:
        raise InputError(
            f"the training held out none of the {len(set(patients.values()))} patient(s) with drawings here",
            remedy="judge on the project that it was trained in; or set wsi_sam_tokens, without --run, for all slides",
        )
    return held


def _references(reader: FieldReader, samples: Sequence[Sample]) -> Scores:
    """What needs no model, given the tight box."""
    scores: Scores = {}
    for sample in samples:
        picture, truth = reader.pictures(sample)[0], reader.masks(sample)[0]
        x0, y0, x1, y1 = tight_box(truth).astype(int)
        box = np.zeros_like(truth)
        box[y0:y1, x0:x1] = True
        for name, reference in REFERENCES.items():
            scores.setdefault((BOX, name), []).append(overlap(reference(picture, box), truth))
    return scores


def _answered(models: Mapping[str, Promptable], reader: FieldReader, samples: Sequence[Sample], seed: int) -> Scores:
    """The scores of models that share a SAM."""
    scores: Scores = {}
    with console.progress(len(samples), ", ".join(models)) as bar:
        for sample in samples:
            high, low = reader.pictures(sample)
            truth = reader.masks(sample)[0]
            prompts = drawn_prompts(truth, sample, seed)
            for name, model in models.items():
                ask = model.look(high, low if model.needs_low else None)
                for kind, asked in prompts.items():
                    scores.setdefault((kind, name), []).append(overlap(_mask(ask(asked), truth.shape), truth))
            bar.advance(sample.slide_id)
    return scores


def drawn_prompts(truth: Mask, sample: Sample, seed: int) -> dict[str, Prompts]:
    """What is asked of a sample, by kind: the tight box, and points in the mask (s, s); the same for the same seed."""
    rng = np.random.default_rng([seed, sample.number, *sample.slide_id.encode()])
    box, _ = draw_prompt("box", truth, truth, rng, jitter=0)
    ten, _ = draw_prompt("points", truth, truth, rng)
    if ten.points is None or ten.labels is None:
        raise ValueError("these are no points")
    some = [Prompts(points=ten.points[:, :count], labels=ten.labels[:, :count]) for count in POINTS]
    return dict(zip(KINDS, (box, *some), strict=True))


def _mask(answer: Answer, shape: tuple[int, ...]) -> Mask:
    """What is above 0 after the logits are upsampled to the picture, as in inference."""
    grown = interpolate(answer.logits[None].float(), shape, mode="bilinear", align_corners=False)
    inside: Mask = (grown[0, 0] > 0).cpu().numpy()
    return inside


def _write(
    judged: Judged, candidates: Sequence[Candidate], drawn: WsiSamTrainSettings, shown: EvaluateSettings, out: Path
) -> dict[str, object]:
    """Writes all files; gives what `metrics.json` holds."""
    level, draws = shown.interval, shown.bootstrap_draws
    tables = make_tables(judged, level=level, draws=draws)
    title = f"WSI-SAM: prompts on {judged.size}"
    summary: dict[str, object] = {
        "fields": len(judged.samples),
        "slides": len({sample.slide_id for sample in judged.samples}),
        "patients": len(set(judged.patients)),
        "against": judged.against,
        "interval": level,
        "bootstrap_draws": draws,
        "mpp": drawn.wsi_sam_mpp,
        "seed": drawn.seed,
        "models": {one.name: {**one.described(), "stamp": judged.stamp(one.name)} for one in candidates},
        "results": {
            kind: {
                name: {metric: _as_json(estimate) for metric, estimate in found.items()}
                for name in judged.names
                if (found := estimates(judged, kind, name, level=level, draws=draws))
            }
            for kind in KINDS
        },
    }
    write_tables(out / "index.html", title, tables)
    write_text(out / "evaluation.md", f"# {title}\n\n{as_markdown(tables)}")
    write_csv(out / "per_sample.csv", _COLUMNS, list(_per_sample(judged)))
    write_json(out / "metrics.json", summary)
    for number, table in enumerate(tables):
        console.print_table(table.title, table.header, table.rows)
        if number == len(tables) - 1 or tables[number + 1].note != table.note:
            console.say(table.note)
    console.say(f"tables: {out / 'index.html'}")
    return summary


def _as_json(estimate: Estimate) -> dict[str, float | None]:
    return {part: None if math.isnan(value) else value for part, value in asdict(estimate).items()}


def _per_sample(judged: Judged) -> Iterator[tuple[object, ...]]:
    for (kind, name), scores in sorted(judged.scores.items(), key=lambda each: KINDS.index(each[0][0])):
        source = judged.sources.get(name)
        for sample, met in zip(judged.samples, scores, strict=True):
            where = (sample.slide_id, sample.patient_id, sample.number, *sample.field.centre_px)
            seen = "" if source is None else source.saw(sample)
            yield *where, kind, name, f"{met.dice:.6f}", f"{met.iou:.6f}", seen
