"""A trained fold on disk: weights as safetensors, everything needed to use them as JSON (`model_facts`)."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from sammil_cli import choices
from sammil_cli.errors import InputError
from sammil_cli.mil.contract import MILModel, Options
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.storage.files import atomic_path, sha256_file
from sammil_cli.storage.paths import ModelPath
from sammil_cli.storage.summed import check_sha256, damaged
from sammil_cli.training.model_facts import (
    EPOCHS_FILE,
    FACTS_FILE,
    TRAIN_AGAIN,
    WEIGHTS_FILE,
    ModelFacts,
    read_facts_and_sums,
    write_facts,
)

_EPOCHS = "probabilities"


def build_model(name: str, spec: ModelSpec, options: Mapping[str, object]) -> MILModel:
    """A model by its name in `mil/models/`, weights not yet initialised by the recipe.

    Raises:
        InputError: see `check_model`.
    """
    return model_class(name)(spec, check_model(name, options))


def check_model(name: str, options: Mapping[str, object]) -> Options:
    """The options of a model, checked.

    Raises:
        InputError: no such model, or an option it does not have.
    """
    options_type = model_class(name).options_type
    try:
        return options_type(**options)
    except ValidationError as error:
        first = error.errors()[0]
        known = ", ".join(options_type.model_fields) or "none"
        raise InputError(
            f"model_options.{'.'.join(map(str, first['loc']))} of {name}: {first['msg']}", remedy=f"it has: {known}"
        ) from None


def model_class(name: str) -> type[MILModel]:
    """The class behind a word of the setting `model`.

    Raises:
        InputError: no such model.
    """
    found: type[MILModel] = choices.load(choices.MODELS, name).Model
    return found


def write_model(
    folder: ModelPath, state: dict[str, torch.Tensor], facts: ModelFacts, every_epoch: torch.Tensor | None = None
) -> None:
    """Writes weights, then facts, which name the sha256 of all else: a folder with facts is whole.

    Args:
        every_epoch: (E, s, C) probabilities of the test part, `read_epochs` gives them back; None = they are not kept.
    """
    tensors = {WEIGHTS_FILE: state} | ({} if every_epoch is None else {EPOCHS_FILE: {_EPOCHS: every_epoch}})
    for name, content in tensors.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_bytes(save({key: tensor.contiguous() for key, tensor in content.items()}))
    write_facts(folder, facts, {name: sha256_file(folder / name) for name in tensors})


def read_model(folder: ModelPath, device: str) -> tuple[MILModel, ModelFacts]:
    """Loads a trained fold, ready to predict.

    Raises:
        InputError: it is missing; `E_DAMAGED`, it is not as it was written.
    """
    facts, sums = read_facts_and_sums(folder / FACTS_FILE)
    weights = folder / WEIGHTS_FILE
    check_sha256(weights, sums[WEIGHTS_FILE], folder / FACTS_FILE, TRAIN_AGAIN)
    try:
        model = build_model(facts.model, facts.spec, facts.model_options)
        _take_up(model, load_file(weights))
    except (RuntimeError, TypeError, ValueError, SafetensorError) as error:  # sizes that no layer has, too
        raise damaged(weights, f"it does not fit its facts: {error}", TRAIN_AGAIN) from None
    return model.eval().to(device), facts


def _take_up(model: MILModel, state: Mapping[str, torch.Tensor]) -> None:
    """Loads weights; those that only training needs are not in its file."""
    lost, unknown = model.load_state_dict(state, strict=False)
    lost = [name for name in lost if not name.startswith(model.training_only or ("\0",))]
    if lost or unknown:
        raise ValueError(f"it lacks {', '.join(lost)}" if lost else f"nothing is called {', '.join(unknown)}")


def read_epochs(folder: ModelPath) -> NDArray[np.float64] | None:
    """(E, s, C) probabilities of the test part after each epoch; None where they were not kept, or are gone.

    Raises:
        InputError: as `read_model`.
    """
    path, sums = folder / EPOCHS_FILE, read_facts_and_sums(folder / FACTS_FILE)[1]
    if not path.is_file():
        return None
    if EPOCHS_FILE in sums:  # earlier versions do not name it
        check_sha256(path, sums[EPOCHS_FILE], folder / FACTS_FILE, TRAIN_AGAIN)
    try:
        return load_file(path)[_EPOCHS].double().numpy()
    except (KeyError, SafetensorError) as error:
        raise damaged(path, str(error), TRAIN_AGAIN) from None
