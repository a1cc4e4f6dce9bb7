"""What trained tokens are made with: their key, by which they are stored and known to be stale."""

from collections.abc import Mapping
from pathlib import Path

from sammil_cli.config import WsiSamTrainSettings
from sammil_cli.project.leftovers import UNFINISHED
from sammil_cli.prompting.patients import Split
from sammil_cli.prompting.samples import FieldsJob
from sammil_cli.prompting.trained_files import FrozenSam
from sammil_cli.runner.per_slide import Task
from sammil_cli.storage.code import Code, code_of
from sammil_cli.storage.files import Key
from sammil_cli.storage.store import ResultStore

# What the tokens follow from, beside the fields.
_THAT_MATTER = (
    *("wsi_sam_augment", "wsi_sam_epochs", "wsi_sam_batch", "wsi_sam_learning_rate", "wsi_sam_weight_decay"),
    *("wsi_sam_precision", "wsi_sam_mpp", "seed"),
)


def training_key(
    settings: WsiSamTrainSettings, sam: FrozenSam, slides: Mapping[str, object], split: Split, device: str
) -> Key:
    """The key of the tokens.

    Args:
        slides: by slide, see `made_of`. split: of the same slides. device: as torch names it.
    """
    return {
        "settings": {name: getattr(settings, name) for name in _THAT_MATTER},
        "sam": sam._asdict(),
        "slides": slides,
        "patients": {slide: (patient, patient in split.held_out) for slide, patient in split.patients.items()},
        "device": device.split(":")[0],
        **training_code().as_key(strict=settings.strict_versions),
    }


def training_code() -> Code:
    """The code that the tokens depend on."""
    return code_of("sammil_cli.prompting.loop", "sammil_cli.prompting.trained_files")


def made_of(task: Task[FieldsJob], fields_sha256: str) -> dict[str, object]:
    """What a slide is to the training: its content, its drawing's, its tissue's, and its fields'."""
    return {**{part: task.key[part] for part in ("slide", "drawing", "tissue")}, "fields": fields_sha256}


def checkpoint_of(store: ResultStore, name: str) -> Path:
    """Where the state of an unfinished training of that name lies, if there is one."""
    return store.root / UNFINISHED / f"{name}.safetensors"
