"""How a bag was made: the settings of the stages before, taken from their files, so that the bag itself can say it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sammil_cli.features.bag import EncoderFacts, MadeWith, read_origin
from sammil_cli.storage.origin import read_record
from sammil_cli.storage.paths import BagPath, PatchesPath, RegionsPath

# What `extract` decides of a bag, its encoder's name and weights apart: those are facts of the encoder.
ENCODE = ("encoder_input_px", "encode_precision", "encode_backend")
EXTRACT = (*ENCODE, "membership_rule", "membership_min_share")
WEIGHTS = "weights"  # sha256 of what proposed the regions


@dataclass(frozen=True, kw_only=True)
class Making:
    """How a bag was made: its encoder and patches, and settings of the stages by key. Converted bags know little."""

    encoder: EncoderFacts
    made_with: MadeWith


def read_making(path: BagPath) -> Making:
    """How a bag was made; reads no features. `InputError` where it is no bag."""
    encoder, made = read_origin(path)
    return Making(encoder=encoder, made_with=made)


def made_with(patches: PatchesPath, regions: RegionsPath, extract: Mapping[str, object]) -> MadeWith:
    """What a bag is made with.

    Args:
        patches, regions: the files that it is made from; what another command wrote (`convert-legacy --grids`) says
            less, and is left out.
        extract: the settings named in `EXTRACT`.
    """
    found = {"patch": stage_settings(patches, "patch"), "sam": stage_settings(regions, "sam"), "extract": extract}
    return {stage: settings for stage, settings in found.items() if settings}


def regrouped_with(before: MadeWith, regions: RegionsPath, membership: Mapping[str, object]) -> MadeWith:
    """What a bag is made with after its patches were grouped by other regions."""
    extract = {**before.get("extract", {}), **membership}
    found = {**before, "sam": stage_settings(regions, "sam"), "extract": extract}
    return {stage: settings for stage, settings in found.items() if settings}


def stage_settings(path: Path, stage: str) -> Mapping[str, object]:
    """The settings that a file of a stage was made with, its weights among them; empty where it does not say."""
    record = read_record(path, path.suffix) or {}
    settings = record["key"].get("settings") if record.get("stage") == stage else None
    if not isinstance(settings, Mapping):
        return {}
    weights = record["key"].get(WEIGHTS)
    return {**settings, **({WEIGHTS: weights} if weights else {})}


def shared(makings: Iterable[MadeWith]) -> MadeWith:
    """The settings that all of them know and agree on."""
    all_of = list(makings)
    first = all_of[0] if all_of else {}
    return {
        stage: {
            key: value
            for key, value in settings.items()
            if all(key in one.get(stage, {}) and one[stage][key] == value for one in all_of)
        }
        for stage, settings in first.items()
    }
