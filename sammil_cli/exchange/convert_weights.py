"""sammil convert-legacy FILE: published weights -> a model for `sammil predict`."""

from collections.abc import Sequence
from pathlib import Path

from sammil_cli import console
from sammil_cli.choices import one_of
from sammil_cli.errors import InputError
from sammil_cli.legacy.inventory import Kind, recognise
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.storage.code import code_of
from sammil_cli.storage.files import provenance, sha256_file
from sammil_cli.storage.paths import ModelPath
from sammil_cli.training.encoder_check import unknown_encoder
from sammil_cli.training.model_facts import ModelFacts
from sammil_cli.training.published_weights import PublishedWeights, architectures, read_published
from sammil_cli.training.trained_model import write_model

SUFFIXES = (".pt", ".pth", ".safetensors")
PUBLISHED = Path("runs/published")  # a folder of imports is an ensemble, as runs/models is

_NOT_SAID = -1  # of a seed or an epoch


def check_model(word: str | None) -> None:
    """Refuses a word of `--model` that is no published model, whatever is converted.

    Raises:
        InputError: with the words there are.
    """
    known = sorted({one.model for one in architectures()})
    if word is not None and word not in known:
        raise InputError(f"--model {word!r} is unknown", remedy=one_of(word, known))


def is_weight_file(source: Path) -> bool:
    """Whether the argument of convert-legacy is a file of weights, and neither a run's folder nor its features."""
    if source.suffix.lower() not in SUFFIXES or source.is_dir():
        return False
    return not source.is_file() or recognise(source) not in (Kind.TENSOR, Kind.PLACED_TENSOR)


def run(
    source: Path,
    out: Path | None,
    *,
    classes: Sequence[str] | None = None,
    encoder_name: str | None = None,
    model: str | None = None,
    group_features: bool | None = None,
) -> ModelFacts:
    """Writes published weights as a trained model.

    A weight file says nothing of threshold, temperature, encoder, seed and epoch: the model gets 0.5 (two classes),
    1, the dimension alone, and -1. The protocol is `paper`, which published weights were chosen by.

    Args:
        out: its folder; None = `runs/published/<file>`.
        classes: their names, the positive one last; None = class_0, class_1 and so on.
        model: our model, where the names in the file fit more than one.
        group_features: whether the bags are to give their group features; None = as the architecture was published.

    Raises:
        InputError: see `training.published_weights.read_published`; or class names that do not fit.
    """
    if not source.is_file():
        raise InputError(f"{source} does not exist", remedy="give the weight file, or the folder of a run")
    weights = read_published(source, model)
    architecture = weights.architecture
    use_groups = architecture.group_features if group_features is None else group_features
    code = code_of("sammil_cli.exchange.convert_weights")
    facts = ModelFacts(
        model=architecture.model,
        model_options=dict(architecture.options),
        spec=ModelSpec(dim=weights.dim, classes=weights.classes, group_features=use_groups),
        classes=_class_names(classes, weights),
        threshold=0.5 if weights.classes == 2 else None,
        decision="fixed" if weights.classes == 2 else "youden",
        decision_target=0.5 if weights.classes == 2 else None,
        temperature=1.0,
        protocol="paper",
        encoder=unknown_encoder(weights.dim, encoder_name),
        repeat=0,
        fold=0,
        seed=_NOT_SAID,
        epoch=_NOT_SAID,
        val_auc=None,
        provenance=provenance(
            "convert-legacy",
            {
                "file": source.name,
                "sha256": sha256_file(source),
                "architecture": architecture.title,
                "not_said": "how it was trained: the training settings of the spec are defaults",
                "code": code.version,
            },
            code.libraries,
        ),
    )
    folder = ModelPath(out or PUBLISHED / source.stem)
    write_model(folder, weights.state, facts)
    console.say(
        f"{source.name}: {architecture.title}, {weights.dim}-d features, classes {', '.join(facts.classes)}, "
        f"{'with' if use_groups else 'without'} group features",
        *([f"positive class: {facts.positive_class}"] if facts.positive_class else []),
        f"model: {folder}; use it: sammil predict {folder}",
    )
    return facts


def _class_names(names: Sequence[str] | None, weights: PublishedWeights) -> tuple[str, ...]:
    if names is None:
        return tuple(f"class_{index}" for index in range(weights.classes))
    if len(names) != weights.classes or len(set(names)) != len(names) or not all(names):
        raise InputError(
            f"--classes {','.join(names)!r} does not name the {weights.classes} classes of these weights",
            remedy=f"give {weights.classes} different names, separated by commas, the positive one last",
        )
    return tuple(names)
