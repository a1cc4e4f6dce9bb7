"""The files of a training: tokens, curve, samples, pictures of held-out fields, record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sammil_cli.errors import InputError
from sammil_cli.project import environment
from sammil_cli.prompting.dice import overlap
from sammil_cli.prompting.field_reader import FieldReader, Sample
from sammil_cli.prompting.loop import CHOSEN_BY, Learned, TokenTraining
from sammil_cli.prompting.prediction_pictures import draw_answers
from sammil_cli.regions.sam_models.build import Colours
from sammil_cli.regions.wsi_sam.tokens import TokenFacts, write_tokens
from sammil_cli.storage.files import Key, provenance, sha256_file, write_csv
from sammil_cli.storage.summed import JsonObject, read_summed, write_summed
from sammil_cli.training.learning_curves import CurveFile

TOKENS, CURVE, SAMPLES, RECORD = "tokens.safetensors", "curve.csv", "samples.csv", "record.json"
_STAGE = "wsi-sam-train"
_PICTURES = 6
_AGAIN = "run: sammil wsi-sam train"


class FrozenSam(NamedTuple):
    """The SAM that stays as it is: as `sam_model` names it, its checkpoint's sha256, and `sam_colours`."""

    word: str
    sha256: str
    colours: Colours


@dataclass(frozen=True, kw_only=True)
class What:
    """What is learned from. `mpp`: µm per pixel of HR."""

    key: Key
    sam: FrozenSam
    libraries: Mapping[str, str]
    samples: Sequence[Sample]
    mpp: float
    device: str


def write_trained(folder: Path, training: TokenTraining, learned: Learned, reader: FieldReader, what: What) -> None:
    """Writes all files into an empty folder, flat; the model has the tokens of the chosen epoch afterwards."""
    training.take(learned.state)
    made = {**provenance(_STAGE, what.key, what.libraries), "environment": environment.describe(what.device)}
    facts = TokenFacts(
        sam_model=what.sam.word,
        sam_sha256=what.sam.sha256,
        mpp=what.mpp,
        side_px=training.model.side_px,
        provenance=made,
        colours=what.sam.colours,
    )
    write_tokens(folder / TOKENS, training.model, facts)
    with CurveFile(folder / CURVE) as curve:
        for epoch, figures in enumerate(learned.history):
            curve.add(epoch, figures)
    write_csv(
        folder / SAMPLES,
        ("slide_id", "patient_id", "part", "field", "x", "y", "foreground_share"),
        [
            (s.slide_id, s.patient_id, "val" if s.held_out else "train", s.number, *s.field.centre_px, f"{s.share:.6g}")
            for s in what.samples
        ],
    )
    _draw(folder, training, reader, [sample for sample in what.samples if sample.held_out])
    record = {
        "kind": "wsi-sam",
        **made,
        "git": git.model_dump() if (git := environment.git_state(Path.cwd())) else None,
        "image": environment.image_name(),
        "epoch": learned.epoch,
        "chosen_by": CHOSEN_BY,
        "figures": learned.history[learned.epoch],
        "files": {path.name: sha256_file(path) for path in sorted(folder.iterdir())},
    }
    write_summed(folder / RECORD, record)


def _draw(folder: Path, training: TokenTraining, reader: FieldReader, held: Sequence[Sample]) -> None:
    """Pictures of a few held-out fields, from the worst to the best by Dice of the box, evenly."""
    answered = [(sample, training.answers(sample), reader.masks(sample)[0]) for sample in held]
    answered.sort(key=lambda each: overlap(each[1]["box"][0], each[2]).dice)
    count = min(_PICTURES, len(answered))
    for rank in range(count):
        sample, answers, truth = answered[rank * (len(answered) - 1) // max(1, count - 1)]
        picture = draw_answers(reader.pictures(sample)[0], truth, answers)
        (folder / f"{sample.slide_id}_{sample.number}.png").write_bytes(picture)


def read_trained(folder: Path) -> JsonObject:
    """The record of the training in a folder; empty where none can be read."""
    try:
        return read_summed(folder / RECORD, _AGAIN)
    except (OSError, InputError):
        return {}
