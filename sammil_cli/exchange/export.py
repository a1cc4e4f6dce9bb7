"""sammil export: a trained fold -> its weights under published names, as safetensors."""

import json
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import save

from sammil_cli import __version__, console
from sammil_cli.errors import InputError
from sammil_cli.storage.files import atomic_path, sha256_file
from sammil_cli.storage.paths import ModelPath
from sammil_cli.training.loop import trained_state
from sammil_cli.training.published_weights import to_published
from sammil_cli.training.trained_model import read_model


def run(trained: ModelPath, out: Path) -> None:
    """Writes the weights; what goes with them is JSON in the file's metadata, under `sammil`.

    Raises:
        InputError: no trained model, one without published names or with `group_feature_flag`, or another suffix than
            .safetensors.
    """
    if out.suffix != ".safetensors":
        raise InputError(
            f"{out} is no .safetensors file, and no pickle is ever written",
            remedy=f"weights: --out {out.with_suffix('.safetensors')}; bags: add --to clam, sam-mil or trident",
        )
    model, facts = read_model(trained, "cpu")
    if facts.spec.group_feature_flag:
        raise InputError(
            f"{trained} was trained with group_feature_flag: an input more than features, which no published model has",
            remedy="export a model trained with group_feature_flag: false; sammil predict takes this one as it is",
        )
    architecture, state = to_published(facts.model, model.options, trained_state(model), facts.spec.classes)
    said = {
        "tool": f"sammil {__version__}",
        "architecture": architecture.title,
        "classes": list(facts.classes),
        "positive_class": facts.positive_class,
        "threshold": facts.threshold,
        "temperature": facts.temperature,
        "protocol": facts.protocol,
        "group_features": facts.spec.group_features,
        "encoder": asdict(facts.encoder),
    }
    # One entry: safetensors writes several in any order, and the same weights should give the same bytes.
    metadata = {"sammil": json.dumps(said, ensure_ascii=False)}
    with atomic_path(out) as temporary:
        temporary.write_bytes(save({name: tensor.contiguous() for name, tensor in state.items()}, metadata))
    console.say(f"{out}: {architecture.title}, {len(state)} tensors, sha256 {sha256_file(out)}")
