"""A trained fold on disk: weights as safetensors, everything needed to use them as JSON."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save

from sammil_cli import choices
from sammil_cli.cohort.class_order import positive_of
from sammil_cli.errors import InputError
from sammil_cli.features.bag import EncoderFacts, MadeWith
from sammil_cli.mil.contract import MILModel, ModelSpec, Options
from sammil_cli.storage.files import Record, atomic_path, sha256_file, write_json
from sammil_cli.storage.guarded_json import read_json
from sammil_cli.storage.paths import BundlePath
from sammil_cli.training.calibration import apply_to_threshold
from sammil_cli.training.thresholds import SELECTED_ON_TEST

WEIGHTS_FILE, FACTS_FILE = "model.safetensors", "model.json"
EPOCHS_FILE = "epochs.safetensors"  # paper protocol only: probabilities (E, s, C) of the test slides, each epoch
_DERIVED = ("positive_class", "calibrated_threshold")  # in the file for people and other programs; not read


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """The bags that a model learned from or was chosen on.

    `slides`: their ids. `patch_mpp`: the least and the largest of them, None = not known. `made_with`: what all of them
    share, see `features.making`.
    """

    slides: tuple[str, ...]
    patch_mpp: tuple[float, float] | None
    made_with: MadeWith


@dataclass(frozen=True, kw_only=True)
class BundleFacts:
    """What goes with the weights.

    `classes`: of two, the positive one last.
    `threshold`: a slide is positive from this uncalibrated probability on; None = the largest class wins.
    `temperature`: logits are divided by it for calibrated probabilities; chosen where the threshold is.
    `protocol`: `honest`, or `paper` when epoch, threshold and temperature were chosen on the test fold.
    `trained_on`: None of imported weights, and of models that were trained before bundles kept it.
    """

    model: str
    model_options: dict[str, Any]
    spec: ModelSpec
    classes: tuple[str, ...]
    threshold: float | None
    temperature: float
    protocol: str
    encoder: EncoderFacts
    repeat: int
    fold: int
    seed: int
    epoch: int
    val_auc: float | None
    provenance: Record
    trained_on: TrainedOn | None = None

    @property
    def positive_class(self) -> str | None:
        """The positive class of two; None with more."""
        return positive_of(self.classes)

    @property
    def calibrated_threshold(self) -> float | None:
        """The threshold for calibrated probabilities, which are the ones that are shown; it decides the same slides."""
        return None if self.threshold is None else apply_to_threshold(self.threshold, self.temperature)

    @property
    def stamp(self) -> str | None:
        """What every number of a model that was chosen on the test fold carries; None of an honest one."""
        return SELECTED_ON_TEST if self.protocol == "paper" else None


def build_model(name: str, spec: ModelSpec, options: Mapping[str, object]) -> MILModel:
    """A model by its name in `mil/models/`, weights not yet initialised by the recipe.

    Raises:
        InputError: see `check_model`.
    """
    return _model_class(name)(spec, check_model(name, options))


def check_model(name: str, options: Mapping[str, object]) -> Options:
    """The options of a model, checked.

    Raises:
        InputError: no such model, or an option it does not have.
    """
    options_type = _model_class(name).options_type
    try:
        return options_type(**options)
    except ValidationError as error:
        first = error.errors()[0]
        known = ", ".join(options_type.model_fields) or "none"
        raise InputError(
            f"model_options.{'.'.join(map(str, first['loc']))} of {name}: {first['msg']}", remedy=f"it has: {known}"
        ) from None


def _model_class(name: str) -> type[MILModel]:
    found: type[MILModel] = choices.load(choices.MODELS, name).Model
    return found


def takes_group_features(name: str, setting: bool | Literal["auto"]) -> bool:
    """What the setting `group_features` comes to: `auto` is what the model's paper has.

    Raises:
        InputError: no such model.
    """
    model: type[MILModel] = choices.load(choices.MODELS, name).Model
    return model.wants_group_features if setting == "auto" else setting


def write_bundle(folder: BundlePath, state: dict[str, torch.Tensor], facts: BundleFacts) -> None:
    """Writes weights, then facts: a folder with facts is whole."""
    with atomic_path(folder / WEIGHTS_FILE) as temporary:
        temporary.write_bytes(save({name: tensor.contiguous() for name, tensor in state.items()}))
    record = dataclasses.asdict(facts) | {name: getattr(facts, name) for name in _DERIVED}
    if math.isnan(facts.encoder.patch_mpp):  # converted bags of unknown scale; JSON has no NaN
        record["encoder"]["patch_mpp"] = None
    write_json(folder / FACTS_FILE, {**record, "weights_sha256": sha256_file(folder / WEIGHTS_FILE)})


def read_bundle(folder: BundlePath, device: str) -> tuple[MILModel, BundleFacts]:
    """Loads a trained fold, ready to predict.

    Raises:
        InputError: it is missing or damaged, or weights and facts do not belong together.
    """
    facts, sha256 = _read_facts(folder / FACTS_FILE)
    weights = folder / WEIGHTS_FILE
    if not weights.is_file() or sha256_file(weights) != sha256:
        raise InputError(f"{weights} is not the file that was trained", remedy="run: sammil train")
    model = build_model(facts.model, facts.spec, facts.model_options)
    model.load_state_dict(load_file(weights))
    return model.eval().to(device), facts


def read_facts(folder: BundlePath) -> BundleFacts:
    """What goes with the weights of a trained fold, without the weights. `InputError` if it is missing."""
    return _read_facts(folder / FACTS_FILE)[0]


def _read_facts(path: Path) -> tuple[BundleFacts, str]:
    """The facts and the sha256 of the weights that belong to them."""
    try:
        record = read_json(path)
        sha256 = record.pop("weights_sha256")
        record = {name: value for name, value in record.items() if name not in _DERIVED}
        record["spec"] = ModelSpec(**record["spec"])
        if record["encoder"]["patch_mpp"] is None:
            record["encoder"]["patch_mpp"] = math.nan
        record["encoder"] = EncoderFacts(**record["encoder"])
        if (on := record.get("trained_on")) is not None:
            low_high = None if on["patch_mpp"] is None else tuple(on["patch_mpp"])
            record["trained_on"] = TrainedOn(slides=tuple(on["slides"]), patch_mpp=low_high, made_with=on["made_with"])
        record["classes"] = tuple(record["classes"])
        return BundleFacts(**record), sha256
    except FileNotFoundError:
        raise InputError(f"there is no trained model in {path.parent}", remedy="run: sammil train") from None
    except (InputError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged: {error}", remedy="run: sammil train") from None
