"""Weights of published MIL models: which parameters are which of ours, both ways (docs/methods.md §2, §3, §10.8)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sammil_cli.errors import InputError
from sammil_cli.storage.state_dict import load_state

Size = int | str  # a number, or DIM or CLASSES, which a file chooses
DIM, CLASSES = "d", "C"

_SHOWN_KEYS = 6
_WRAPPER = "module."  # what data-parallel training puts before every name


@dataclass(frozen=True)
class Layer:
    """A linear layer: its published name, ours, the shape (rows, columns) of its weight, whether it has a bias."""

    published: str
    ours: str
    rows: Size
    columns: Size
    bias: bool = True


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A published model that one of ours can be.

    `group_features`: whether the bags it was published with hold group features.
    """

    title: str
    model: str
    group_features: bool
    layers: tuple[Layer, ...]

    def parameters(self) -> Iterator[tuple[str, str, tuple[Size, ...]]]:
        """Published name, our name and shape of every parameter."""
        for layer in self.layers:
            yield f"{layer.published}.weight", f"{layer.ours}.weight", (layer.rows, layer.columns)
            if layer.bias:
                yield f"{layer.published}.bias", f"{layer.ours}.bias", (layer.rows,)

    @property
    def names(self) -> dict[str, str]:
        """Published name -> our name."""
        return {published: ours for published, ours, _ in self.parameters()}


def _attention_core(published: str) -> tuple[Layer, ...]:
    """The core that MHIM-MIL and SAM-MIL share, its attention under another name in each."""
    return (
        Layer("patch_to_emb.0", "patch_to_emb.0", 512, DIM),
        Layer(f"{published}.0", "attention.0", 128, 512, bias=False),
        Layer(f"{published}.2", "attention.2", 1, 128, bias=False),
        Layer("predictor", "predictor", CLASSES, 512),
    )


_POOLING = (Layer("head.0", "head.0", 512, DIM), Layer("head.3", "head.3", CLASSES, 512))

# The first one of a model is the form that `to_published` writes.
ARCHITECTURES = (
    Architecture(
        title="SAM-MIL",
        model="sam-mil",
        group_features=True,
        layers=_attention_core("online_encoder.attn_model.attention.attention"),
    ),
    Architecture(
        title="MHIM-MIL (attention)",
        model="sam-mil",
        group_features=False,
        layers=_attention_core("online_encoder.attention.attention"),
    ),
    Architecture(
        title="AB-MIL (plain)",
        model="abmil",
        group_features=False,
        layers=(
            Layer("feature.0", "feature.0", 512, DIM),
            Layer("attention.0", "attention_v.0", 128, 512),
            Layer("attention.2", "attention_w", 1, 128),
            Layer("classifier.0", "classifier", CLASSES, 512),
        ),
    ),
    Architecture(title="mean pooling", model="mean", group_features=False, layers=_POOLING),
    Architecture(title="max pooling", model="max", group_features=False, layers=_POOLING),
)
_SUPPORTED = ", ".join(one.title for one in ARCHITECTURES)

# Parts of names that a model has, all of them, and one that it has not; the first that fits counts. What others share
# with it (every gated attention has an `attention_a`, every transformer a `to_qkv`) tells a model only with the rest.
_FOREIGN = (
    ("IBMIL", ("confounder_feat",), None),
    ("DSMIL", ("b_classifier.",), None),
    ("CHIEF", ("attention_net.", "text_to_vision."), None),
    ("TOAD", ("attention_net.", "site_classifier."), None),
    ("CLAM", ("instance_classifiers.",), None),
    ("TransMIL", ("layer1.", ".to_qkv."), None),
    ("ACMIL", ("attention.", "Slide_classifier."), None),
    ("DTFD-MIL", ("att_classifier.",), None),
    ("DTFD-MIL's first tier", ("dim_reduction.", "attention_V."), None),
    ("gated AB-MIL as released (ReLU, no biases)", ("attention_a.", "attention_c."), "attention_a.0.bias"),
    ("a model with CLAM's gated attention and other classifiers", ("attention_a.", "attention_c."), None),
    ("gated AB-MIL of Ilse et al.", ("attention_V.", "attention_U."), None),
)
_HARNESS = "online_encoder."  # how MHIM-MIL, and SAM-MIL after it, call the model that they train


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """What a file holds: `state` under our names, float32; d features, C classes."""

    architecture: Architecture
    state: dict[str, Tensor]
    dim: int
    classes: int


def read_published(path: Path, model: str | None = None) -> PublishedWeights:
    """Reads published weights: a torch file ({"model": …, "teacher": …} or a bare state dict) or safetensors.

    Args:
        model: our model, where the names fit more than one (mean and max pooling).

    Raises:
        InputError: weights of another architecture, or not all of them; the message names the keys found.
        MissingError: no weight file at all.
    """
    state = {str(key): tensor for key, tensor in load_state(path).items()}
    if state and all(key.startswith(_WRAPPER) for key in state):
        state = {key.removeprefix(_WRAPPER): tensor for key, tensor in state.items()}
    architecture = _choose(path, _recognise(path, state), model)
    sizes = _sizes(path, architecture, state)
    return PublishedWeights(
        architecture=architecture,
        state={ours: state[name].to(torch.float32) for name, ours in architecture.names.items()},
        dim=sizes[DIM],
        classes=sizes[CLASSES],
    )


def to_published(model: str, state: Mapping[str, Tensor]) -> tuple[Architecture, dict[str, Tensor]]:
    """Our weights under published names, with the architecture that they are.

    Raises:
        InputError: the model was never published in this form.
    """
    for architecture in ARCHITECTURES:
        if architecture.model == model and set(architecture.names.values()) == set(state):
            return architecture, {name: state[ours] for name, ours in architecture.names.items()}
    raise InputError(
        f"there are no published names for this {model} with {_listing(state)}", remedy=f"exported are: {_SUPPORTED}"
    )


def _recognise(path: Path, state: Mapping[str, Tensor]) -> list[Architecture]:
    """The architectures with exactly these names; more than one where they share them."""
    fitting = [one for one in ARCHITECTURES if set(one.names) == set(state)]
    if fitting:
        return fitting
    if any(set(one.names.values()) == set(state) for one in ARCHITECTURES):
        raise InputError(
            f"{path} holds weights that sammil trained itself",
            remedy="use their folder: sammil predict --models FOLDER",
        )
    foreign = _foreign(state)
    nearest = max(ARCHITECTURES, key=lambda one: len(set(one.names) & set(state)))
    lacking, besides = set(nearest.names) - set(state), set(state) - set(nearest.names)
    if not state:
        looks = "holds no tensors by name"
    elif foreign:
        looks = f"looks like {foreign}, which sammil does not import"
    elif len(lacking) + len(besides) > len(set(nearest.names) & set(state)):
        looks = "looks like no published model that sammil knows"
    else:
        parts = [f"lacks {_listing(lacking)}"] * bool(lacking) + [f"has {_listing(besides)} besides"] * bool(besides)
        looks = f"looks like {nearest.title}, but {' and '.join(parts)}"
    found = f"; its keys: {_listing(state)}" if state else ""
    raise InputError(f"{path} {looks}{found}", remedy=f"supported are: {_SUPPORTED}")


def _foreign(names: Iterable[str]) -> str | None:
    """The model of other people that has such names; None where none is known to."""
    everything = "\n".join(f".{name}" for name in names)
    for title, parts, without in _FOREIGN:
        if all(part in everything for part in parts) and not (without and without in everything):
            return f"{title} inside MHIM-MIL" if f".{_HARNESS}" in everything else title
    return None


def _choose(path: Path, fitting: list[Architecture], model: str | None) -> Architecture:
    models = [one.model for one in fitting]
    if model is None and len(fitting) > 1:
        titles, choice = " and ".join(one.title for one in fitting), " or ".join(f"--model {one}" for one in models)
        raise InputError(f"{path} fits {titles}: their names are the same", remedy=f"add {choice}")
    if model is not None and model not in models:
        raise InputError(f"{path} holds {fitting[0].title}, no {model}", remedy=f"use --model {' or '.join(models)}")
    return fitting[models.index(model) if model else 0]


def _sizes(path: Path, architecture: Architecture, state: Mapping[str, Tensor]) -> dict[str, int]:
    """The numbers behind DIM and CLASSES.

    Raises:
        InputError: a tensor of another shape, or with values that are no finite numbers.
    """
    sizes: dict[str, int] = {}
    for name, _, wanted in architecture.parameters():
        tensor = state[name]
        if tensor.ndim == len(wanted):
            for size, length in zip(wanted, tensor.shape, strict=True):
                if isinstance(size, str):
                    sizes.setdefault(size, length)
        expected = tuple(size if isinstance(size, int) else sizes.get(size, size) for size in wanted)
        if tuple(tensor.shape) != expected:
            raise InputError(
                f"{path}: {name} is {_shape(tensor.shape)}, in {architecture.title} it is {_shape(expected)}",
                remedy=f"supported are: {_SUPPORTED}",
            )
        if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{path}: {name} holds values that are no finite numbers", remedy="get the file again")
    if sizes[CLASSES] < 2:
        raise InputError(f"{path} has one output; sammil wants one for each class", remedy="merge it into two classes")
    return sizes


def _shape(sizes: Iterable[object]) -> str:
    return " x ".join(map(str, sizes)) or "a single number"


def _listing(names: Iterable[str]) -> str:
    """`a, b, c and 4 more`."""
    ordered = sorted(names)
    more = f" and {len(ordered) - _SHOWN_KEYS} more" if len(ordered) > _SHOWN_KEYS else ""
    return ", ".join(ordered[:_SHOWN_KEYS]) + more
