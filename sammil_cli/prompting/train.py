"""sammil wsi-sam train: slides and drawings -> the tokens that WSI-SAM adds to a frozen SAM."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from segment_anything.modeling import Sam

from sammil_cli import console
from sammil_cli.config import SamSettings, Settings, WsiSamTrainSettings
from sammil_cli.console import download_progress
from sammil_cli.errors import InputError, MissingError
from sammil_cli.project.leftovers import tidy
from sammil_cli.project.process_list import CHANGED, Row
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.prompting.embedding_cache import EmbeddingCache, pair_bytes
from sammil_cli.prompting.field_reader import FieldReader, Sample, samples_of
from sammil_cli.prompting.fields_plan import STAGE, draw_fields
from sammil_cli.prompting.loop import Figures, TokenTraining
from sammil_cli.prompting.patients import Split, split_patients
from sammil_cli.prompting.samples import FieldsJob, SlideFields, read_fields
from sammil_cli.prompting.trained_files import FrozenSam, What, read_trained, write_trained
from sammil_cli.prompting.training_key import checkpoint_of, made_of, training_code, training_key
from sammil_cli.regions.proposers.sam import wanted_weights
from sammil_cli.regions.sam_models.build import EARLY_WIDTH, load_sam
from sammil_cli.regions.sam_models.embed import Embedder
from sammil_cli.regions.wsi_sam.model import WsiSam
from sammil_cli.runner.machine import available_bytes, devices
from sammil_cli.runner.per_slide import Task
from sammil_cli.storage.files import digest, sha256_file
from sammil_cli.storage.store import ResultStore, open_store
from sammil_cli.storage.summed import JsonObject
from sammil_cli.storage.weight_download import download

_GIB = 2**30
_SHARE = 0.5  # of the memory or disk that is free, at most, for embeddings


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What came of a run: the rows of its slides, and the record of the training; `reused`: it was there already."""

    rows: list[Row]
    record: JsonObject
    reused: bool


@dataclass(frozen=True, kw_only=True)
class _Frozen:
    """The SAM that stays as it is, loaded, and what names it."""

    model: Sam
    sam: FrozenSam


def run(project: Project, whole: Settings, options: RunOptions) -> Trained:
    """Draws fields on every slide that has a drawing, and trains on those of all but the held-out patients.

    What was trained before with the same fields, settings, SAM and code is taken from the store; what was interrupted
    goes on after its last epoch. On a CPU both end with the same bytes as an undisturbed run. The files of the training
    before stay until all new ones are there.

    Args:
        whole: all settings; the frozen SAM is that of `SamSettings`.

    Raises:
        InputError: no drawing, fields on no slide, slides of one patient only; `E_CHANGED`, what is learned from was
            touched meanwhile. MissingError: no weights, or they do not fit.
        KeyboardInterrupt: after everything finished was kept.
    """
    tidy(project, store=options.store)
    settings, frozen = whole.stage(WsiSamTrainSettings), _load(whole.stage(SamSettings), options)
    rows, tasks = draw_fields(project, settings, int(frozen.model.image_encoder.img_size), options)
    labels = _sha256(project.labels)
    fields = {name: read_fields(project.fields / f"{name}.geojson") for name in sorted(tasks)}
    patients = split_patients(project.labels, fields.keys(), settings.wsi_sam_val_fraction, settings.seed)
    samples = _samples(project, patients, fields)
    slides = {
        name: made_of(task, sha256_file(project.fields / f"{name}.geojson")) for name, task in sorted(tasks.items())
    }
    device = devices(options.device)[0]
    what = What(
        key=training_key(settings, frozen.sam, slides, patients, device),
        sam=frozen.sam,
        libraries=training_code().libraries,
        samples=samples,
        mpp=settings.wsi_sam_mpp,
        device=device,
    )
    store, name = open_store(STAGE, options.store), digest(what.key)
    earlier = read_trained(project.wsi_sam).get("files", {})
    reused = store.fetch(name, project.wsi_sam) is not None
    if reused:
        console.say(f"{STAGE}: trained before with the same fields, settings, SAM and code: nothing to do")
    else:
        checkpoint = checkpoint_of(store, name)
        with FieldReader({slide: task.job for slide, task in tasks.items()}, fields) as reader:
            folder = _train(settings, frozen, reader, what, store, checkpoint)
        touched = _touched(tasks, project.labels, labels)
        checkpoint.unlink(missing_ok=True)  # of what was touched, too: it may have learned from something else
        _keep(store, name, folder, touched)
        if store.fetch(name, project.wsi_sam) is None:
            raise MissingError(
                f"the tokens do not read back from {store.root} as they were written",
                remedy="check that disk, and run the same command again",
                code="E_STORE",
            )
    record = read_trained(project.wsi_sam)
    for left in earlier.keys() - record["files"].keys():  # pictures of fields that were held out then
        (project.wsi_sam / Path(left).name).unlink(missing_ok=True)
    console.say(f"{STAGE}: epoch {record['epoch'] + 1}, {_in_words(record['figures'])} → {project.wsi_sam}")
    return Trained(rows=rows, record=record, reused=reused)


def _keep(store: ResultStore, name: str, folder: Path, touched: str) -> None:
    """Puts what was trained into the store, unless what it is made from was touched.

    Raises:
        InputError: `E_CHANGED`.
    """
    if touched:
        shutil.rmtree(folder)
        raise InputError(
            f"{touched} while sammil wsi-sam train ran",
            remedy="wait until nothing writes there any more, then run the same command again",
            code=CHANGED,
        )
    store.put(name, folder)


def _load(settings: SamSettings, options: RunOptions) -> _Frozen:
    wanted = wanted_weights(settings.model_dump())
    if options.download and wanted.to_fetch:
        download(wanted.to_fetch, download_progress())
    path, sha256 = wanted.find()
    sam = FrozenSam(settings.sam_model, sha256, settings.sam_colours)
    return _Frozen(model=load_sam(path, sam.word, sam.colours), sam=sam)


def _samples(project: Project, split: Split, fields: Mapping[str, SlideFields]) -> list[Sample]:
    """All fields, by slide; says whose they are."""
    if split.unnamed:
        console.say(
            f"{STAGE}: {project.labels} names no patient of {split.unnamed} slide(s): each counts as one of its own"
        )
    samples = samples_of(fields, split.patients, split.held_out)
    held, held_patients = sum(sample.held_out for sample in samples), len(split.held_out)
    count = len(set(split.patients.values()))
    console.say(
        f"{STAGE}: {len(samples) - held} fields of {count - held_patients} patient(s) to learn from, {held} of "
        f"{held_patients} choose the epoch"
    )
    return samples


def _sha256(path: Path) -> str | None:
    return sha256_file(path) if path.is_file() else None


def _touched(tasks: Mapping[str, Task[FieldsJob]], labels: Path, before: str | None) -> str:
    """What was changed since the fields were drawn, in words; empty where nothing was."""
    if _sha256(labels) != before:
        return f"{labels} changed"
    return next((text for task in tasks.values() if (text := task.changed())), "")


def _train(
    settings: WsiSamTrainSettings,
    frozen: _Frozen,
    reader: FieldReader,
    what: What,
    store: ResultStore,
    checkpoint: Path,
) -> Path:
    """Trains, and writes all files into a workspace of the store."""
    if what.device == "cpu":
        torch.set_num_threads(1)  # the same numbers whatever the machine
    torch.backends.cudnn.deterministic = True
    torch.manual_seed(settings.seed)  # what the added weights begin with
    model = WsiSam(frozen.model, EARLY_WIDTH[frozen.sam.word]).to(what.device)
    folder, kept = store.workspace(), store.workspace()
    try:
        slides = list(dict.fromkeys(sample.slide_id for sample in what.samples))
        with console.progress(len(slides), "masks") as bar:
            for slide_id in slides:
                reader.paint(slide_id)
                bar.advance(slide_id)
        cache = _cache(settings, frozen, model, what, kept)
        training = TokenTraining(model, reader, cache, what.samples, settings)
        if before := training.resume(checkpoint):
            console.say(f"{STAGE}: goes on after epoch {before} of {settings.wsi_sam_epochs}")
        learned_from = sum(not sample.held_out for sample in what.samples)
        start, first = time.monotonic(), before
        with console.progress(settings.wsi_sam_epochs * learned_from, STAGE) as bar:

            def log(epoch: int, figures: Figures) -> None:
                left = (time.monotonic() - start) / (epoch + 1 - first) * (settings.wsi_sam_epochs - epoch - 1)
                console.say(f"{STAGE}: epoch {epoch + 1}: {_in_words(figures)}; about {left / 60:.0f} min left")

            learned = training.run(checkpoint, log, bar.at)
        console.say(
            f"{STAGE}: {cache.asked} times a field was looked at, {cache.computed} times it was embedded: "
            f"{cache.asked - cache.computed} came from what was kept ({_size(cache.kept_bytes)})"
        )
        write_trained(folder, training, learned, reader, what)
        return folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(kept, ignore_errors=True)


def _cache(settings: WsiSamTrainSettings, frozen: _Frozen, model: WsiSam, what: What, folder: Path) -> EmbeddingCache:
    """Room for embeddings in memory, or where half of what is free does not do, on disk; says which."""
    held = sum(sample.held_out for sample in what.samples)
    views = held + (len(what.samples) - held) * (1 if settings.wsi_sam_augment == "none" else 2)
    width = frozen.model.mask_decoder.transformer_dim
    wanted = views * pair_bytes(width, EARLY_WIDTH[frozen.sam.word], model.side_px)
    room = min(wanted, int(settings.wsi_sam_cache_gib * _GIB))
    memory, disk = available_bytes(), shutil.disk_usage(folder).free
    in_memory = memory is None or room <= memory * _SHARE
    room = room if in_memory else min(room, int(disk * _SHARE))
    recoloured = "; recoloured fields, half of all, are embedded each time" * (
        settings.wsi_sam_augment == "colour-and-flip"
    )
    where = f"in {'memory' if in_memory else 'files'}" if room else "nowhere"
    console.say(
        f"{STAGE}: embeddings of all views of the fields take {_size(wanted)}, up to {_size(room)} are kept "
        f"{where}{recoloured}"
    )
    embedder = Embedder(model.sam, settings.wsi_sam_precision)
    return EmbeddingCache(model.sam, embedder, room_bytes=room, folder=None if in_memory else folder)


def _size(count: int) -> str:
    return f"{count / _GIB:,.1f} GiB" if count >= _GIB else f"{count / 2**20:,.0f} MiB"


def _in_words(figures: Mapping[str, float]) -> str:
    losses = ", ".join(f"{n.removeprefix('loss_')} {v:.3f}" for n, v in figures.items() if n.startswith("loss_"))
    held = ", ".join(
        f"{kind} {figures[f'val_dice_{kind}']:.3f} / {figures[f'val_iou_{kind}']:.3f}"
        for kind in (name.removeprefix("val_dice_") for name in figures if name.startswith("val_dice_"))
    )
    return f"loss {losses}; held out, Dice / IoU: {held}"
