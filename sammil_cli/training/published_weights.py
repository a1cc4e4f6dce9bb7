"""Weights of published MIL models, read and written under their published names (`mil.published`)."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from sammil_cli import choices
from sammil_cli.errors import InputError, MissingError
from sammil_cli.mil.contract import MILModel, Options
from sammil_cli.mil.published import CLASSES, DIM, EACH, Architecture, Entry, Size
from sammil_cli.storage.state_dict import load_state
from sammil_cli.storage.weights import WantedWeights
from sammil_cli.training.model_facts import FACTS_FILE, WEIGHTS_FILE
from sammil_cli.training.trained_model import check_model

_SHOWN_KEYS = 6
_PARALLEL = "module."  # what data-parallel training puts before every name, or before those of a part
_WRAPPERS = (_PARALLEL, "model.")  # or a model that holds another
_MOST_CLASSES = 64


@cache
def architectures() -> tuple[Architecture, ...]:
    """All that the models' own files list. The first one of a model is the form that `to_published` writes."""
    modules = (choices.load(choices.MODELS, name) for name in choices.names(choices.MODELS))
    return tuple(one for module in modules for one in getattr(module, "PUBLISHED", ()))


# Parts of names that a model has, all of them, and those that it has not; the first that fits counts. What others share
# with it (every gated attention has an `attention_a`, every transformer a `to_qkv`) tells a model only with the rest.
_FOREIGN = (
    ("IBMIL of another form", ("confounder_feat",), ()),
    ("CHIEF", ("attention_net.", "text_to_vision."), ()),
    ("TOAD", ("attention_net.", "site_classifier."), ()),
    ("TransMIL of another form", ("layer1.", ".to_qkv."), ()),
    ("ACMIL", ("attention.", "Slide_classifier."), ()),
    ("DTFD-MIL of another form", ("att_classifier.",), ()),
    ("DTFD-MIL's first tier", ("dim_reduction.", "attention_V."), ()),
    (
        "a model with CLAM's gated attention and other classifiers",
        ("attention_a.0.bias", "attention_c."),
        ("global_attn.", "instance_classifiers.0.weight"),
    ),
    ("gated AB-MIL of Ilse et al.", ("attention_V.", "attention_U."), ()),
)
_HARNESS = "online_encoder."  # how MHIM-MIL, and SAM-MIL after it, call the model that they train


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """What a file holds: `state` under our names, float32; d features, C classes."""

    architecture: Architecture
    state: dict[str, Tensor]
    dim: int
    classes: int


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a training takes from a file of published weights: `state` under our names, float32.

    `sha256`: of the file. `anew`: the layers that begin with random weights all the same.
    """

    architecture: Architecture
    sha256: str
    state: dict[str, Tensor]
    anew: tuple[str, ...]


def read_published(path: Path, model: str | None = None) -> PublishedWeights:
    """Reads published weights: a torch file ({"model": …, "teacher": …} or a bare state dict) or safetensors.

    Args:
        model: our model, where the names fit more than one (mean and max pooling).

    Raises:
        InputError: weights of another architecture, or not all of them; the message names the keys found.
        MissingError: no weight file at all.
    """
    state = _unwrapped(path)
    architecture = _choose(path, _recognise(path, state), model, state)
    state = {today: state[name] for today, name in architecture.known(state).items()}
    sizes = _sizes(path, architecture, state)
    if sizes[CLASSES] < 2:
        raise InputError(f"{path} has one output; sammil wants one for each class", remedy="merge it into two classes")
    names = architecture.names(sizes[CLASSES])
    return PublishedWeights(
        architecture=architecture,
        state={ours: state[name].to(torch.float32) for name, ours in names.items()},
        dim=sizes[DIM],
        classes=sizes[CLASSES],
    )


def read_start(path: Path, name: str, model: MILModel) -> Start:
    """Reads the published weights that a model's training starts from, with or without a classifier.

    Taken is what does not depend on the classes: those of another cohort are not ours.

    Args:
        name: the model's word in the setting `model`.

    Raises:
        InputError: weights of another architecture, model, form or feature dimension; weights that sammil trained; or
            a model that does not start from a file.
        MissingError: no weight file at all.
    """
    if model.first_stage() is not None:
        raise InputError(
            f"{name} starts from a first stage of its own, and not from a file", remedy="set start_from: null"
        )
    if model.spec.group_feature_flag:
        raise InputError(
            f"{path} holds published weights, which have no input for group_feature_flag",
            remedy="set group_feature_flag: false, or start_from: null",
        )
    if path.is_dir() or path.name == WEIGHTS_FILE:
        if ((path if path.is_dir() else path.parent) / FACTS_FILE).is_file():
            raise _trained_here(path, to_start=True)
        if path.is_dir():
            raise MissingError(f"{path} is a folder", remedy="set start_from to the weight file in it")
    path, sha256 = WantedWeights(published=None, key="start_from", own=path).find()
    state = _unwrapped(path)
    fitting = _of_their_size(_recognise(path, state, to_start=True), state)
    meant = [one for one in fitting if one.model == name and _is_built_so(one, model.options)]
    if not meant:
        titles, ways = " or ".join(one.title for one in fitting), " or ".join(map(_as_settings, fitting))
        given = _as_flow(model.options.model_dump(mode="json", exclude_defaults=True))
        raise InputError(
            f"{path} holds {titles}; the settings train {name}, model_options: {given}",
            remedy=f"set {ways}; or start_from: null",
        )
    architecture = meant[0]
    state = {today: state[found] for today, found in architecture.known(state).items()}
    dim = _sizes(path, architecture, state)[DIM]
    if dim != model.spec.dim:
        raise InputError(
            f"{path} is for {dim} features a patch, and the bags have {model.spec.dim}",
            remedy="make bags with the encoder that these weights were trained on (sammil extract), "
            "or set start_from: null",
        )
    taken = {entry.ours: state[entry.published].to(torch.float32) for entry in architecture.lasting}
    anew = dict.fromkeys(one.rpartition(".")[0] or one for one in model.state_dict() if one not in taken)
    return Start(architecture=architecture, sha256=sha256, state=taken, anew=tuple(anew))


def to_published(
    model: str, options: Options, state: Mapping[str, Tensor], classes: int
) -> tuple[Architecture, dict[str, Tensor]]:
    """Our weights under published names, with the architecture that they are.

    Raises:
        InputError: the model was never published in this form.
    """
    for architecture in architectures():
        if architecture.model == model and _is_built_so(architecture, options):
            names = architecture.names(classes)
            if set(names.values()) == set(state):
                return architecture, {name: state[ours] for name, ours in names.items()}
    raise InputError(
        f"there are no published names for this {model} with {_listing(state)}", remedy=f"exported are: {_supported()}"
    )


def _is_built_so(architecture: Architecture, options: Options) -> bool:
    """Whether a model of these options is the architecture, as far as weights tell."""
    published = check_model(architecture.model, architecture.options)
    free = set(architecture.untold_options)
    return published.model_dump(exclude=free) == options.model_dump(exclude=free)


def _supported() -> str:
    return ", ".join(one.title for one in architectures())


def _unwrapped(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, without what wrappers put before every name. `MissingError` as `load_state`."""
    state = {str(key): tensor for key, tensor in load_state(path).items()}
    for wrapper in _WRAPPERS:
        if state and all(key.startswith(wrapper) for key in state):
            state = {key.removeprefix(wrapper): tensor for key, tensor in state.items()}
    return {key.replace(f".{_PARALLEL}", "."): tensor for key, tensor in state.items()}


def _as_flow(options: Mapping[str, object]) -> str:
    """Options as they are typed: `{gated: true, attention: 384}`."""
    words = {key: value if isinstance(value, str) else json.dumps(value) for key, value in options.items()}
    return "{" + ", ".join(f"{key}: {word}" for key, word in words.items()) + "}"


def _as_settings(architecture: Architecture) -> str:
    return f"model: {architecture.model} and model_options: {_as_flow(architecture.options)}"


def _trained_here(path: Path, *, to_start: bool) -> InputError:
    """The error of weights that sammil trained, and that are not published."""
    if not to_start:
        remedy = "use their folder: sammil predict FOLDER"
        return InputError(f"{path} holds weights that sammil trained itself", remedy=remedy)
    return InputError(
        f"{path} holds weights that sammil trained itself, and may have seen patients of the test parts: the figures "
        "would be too good",
        remedy="set start_from to weights that others published, or to null; where the weights are of a cohort that "
        "shares no patient with this one: sammil export FOLDER --out FILE, and start from that file",
    )


def _classes_by_name(architecture: Architecture, names: set[str]) -> int:
    """The number of classes that the names in a file speak of; 2 where they speak of none."""
    pieces = [entry.published.partition(EACH) for entry in architecture.entries if EACH in entry.published]
    for before, _, after in pieces[:1]:
        count = 0
        while f"{before}{count}{after}" in names:
            count += 1
        return count
    return 2


def _fits(architecture: Architecture, names: Iterable[str]) -> bool:
    known = set(architecture.known(names))
    classes = _classes_by_name(architecture, known)
    return classes > 0 and set(architecture.names(classes)) == known


def _is_bare(architecture: Architecture, names: Iterable[str]) -> bool:
    """Whether these are all its names but those of its classes, as FEATHER was published."""
    return {entry.published for entry in architecture.lasting} == set(architecture.known(names))


def _recognise(path: Path, state: Mapping[str, Tensor], *, to_start: bool = False) -> list[Architecture]:
    """The architectures with exactly these names; more than one where they share them.

    Args:
        to_start: the names of the classes may be missing.
    """
    known = architectures()
    bare = _of_their_size([one for one in known if _is_bare(one, state)], state)
    fitting = [one for one in known if _fits(one, state)] or (bare if to_start else [])
    if fitting:
        return fitting
    if any(set(one.names(classes).values()) == set(state) for one in known for classes in range(1, _MOST_CLASSES)):
        raise _trained_here(path, to_start=to_start)
    foreign = None if bare else _foreign(state)
    named = {one: set(one.names(max(1, _classes_by_name(one, set(state))))) for one in known}
    nearest = max(bare or known, key=lambda one: len(named[one] & set(state)))
    lacking, besides = named[nearest] - set(nearest.known(state)), set(nearest.known(state)) - named[nearest]
    if not state:
        looks = "holds no tensors by name"
    elif foreign:
        looks = f"looks like {foreign}, which sammil does not import"
    elif len(lacking) + len(besides) > len(named[nearest] & set(state)):
        looks = "looks like no published model that sammil knows"
    else:
        parts = [f"lacks {_listing(lacking)}"] * bool(lacking) + [f"has {_listing(besides)} besides"] * bool(besides)
        looks = f"looks like {nearest.title}, but {' and '.join(parts)}"
    found = f"; its keys: {_listing(state)}" if state else ""
    remedy = f"supported are: {_supported()}"
    if bare:
        settings = (f'-S model={one.model} -S "model_options={_as_flow(one.options)}"' for one in bare)
        ways = " or ".join(f"sammil train {one} -S start_from={path}" for one in settings)
        remedy = f"it judges nothing before it is trained on: {ways}"
    raise InputError(f"{path} {looks}{found}", remedy=remedy)


def _foreign(names: Iterable[str]) -> str | None:
    """The model of other people that has such names; None where none is known to."""
    everything = "\n".join(f".{name}" for name in names)
    for title, parts, without in _FOREIGN:
        if all(part in everything for part in parts) and not any(part in everything for part in without):
            return f"{title} inside MHIM-MIL" if f".{_HARNESS}" in everything else title
    return None


def _choose(path: Path, fitting: list[Architecture], model: str | None, state: Mapping[str, Tensor]) -> Architecture:
    """The one that is meant, of those whose names are in the file: by its sizes, and by our model."""
    fitting = _of_their_size(fitting, state)
    models = [one.model for one in fitting]
    if model is None and len(set(models)) > 1:
        titles, choice = " and ".join(one.title for one in fitting), " or ".join(f"--model {one}" for one in models)
        raise InputError(f"{path} fits {titles}: their names are the same", remedy=f"add {choice}")
    if model is not None and model not in models:
        raise InputError(f"{path} holds {fitting[0].title}, no {model}", remedy=f"use --model {' or '.join(models)}")
    return fitting[models.index(model) if model else 0]


def _of_their_size(fitting: list[Architecture], state: Mapping[str, Tensor]) -> list[Architecture]:
    """Those whose sizes the file has, too; all where it has the sizes of none."""
    return [one for one in fitting if _is_of_size(one, state)] or fitting


def _is_of_size(architecture: Architecture, state: Mapping[str, Tensor]) -> bool:
    state = {today: state[name] for today, name in architecture.known(state).items()}
    sizes, wrong = _measure(architecture, state)
    return wrong is None and sizes.get(CLASSES, 2) >= 2


def _measure(
    architecture: Architecture, state: Mapping[str, Tensor]
) -> tuple[dict[str, int], tuple[Entry, tuple[Size, ...]] | None]:
    """The numbers behind DIM and CLASSES, and the first tensor of another shape with the one that it should have.

    A file without what belongs to the classes has no number of them.
    """
    sizes: dict[str, int] = {}
    by_name = _classes_by_name(architecture, set(state))
    entries = architecture.lasting if (bare := _is_bare(architecture, state)) else architecture.parameters(by_name)
    if any(EACH in entry.published for entry in architecture.entries) and not bare:
        sizes[CLASSES] = by_name
    elif architecture.classes is not None:
        sizes[CLASSES] = architecture.classes
    for entry in entries:
        shape, wanted = tuple(state[entry.published].shape), entry.shape
        if len(shape) == len(wanted):
            for size, length in zip(wanted, shape, strict=True):
                if isinstance(size, str):
                    sizes.setdefault(size, length)
        expected = tuple(size if isinstance(size, int) else sizes.get(size, size) for size in wanted)
        if shape != expected:
            return sizes, (entry, expected)
    return sizes, None


def _sizes(path: Path, architecture: Architecture, state: Mapping[str, Tensor]) -> dict[str, int]:
    """The numbers behind DIM and, unless the file has no classes, CLASSES.

    Raises:
        InputError: a tensor of another shape, or with values that are no finite numbers.
    """
    sizes, wrong = _measure(architecture, state)
    if wrong is not None:
        name, expected = wrong[0].published, wrong[1]
        raise InputError(
            f"{path}: {name} is {_shape(state[name].shape)}, in {architecture.title} it is {_shape(expected)}",
            remedy=f"supported are: {_supported()}",
        )
    for name, tensor in state.items():
        if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{path}: {name} holds values that are no finite numbers", remedy="get the file again")
    return sizes


def _shape(sizes: Iterable[object]) -> str:
    return " x ".join(map(str, sizes)) or "a single number"


def _listing(names: Iterable[str]) -> str:
    """`a, b, c and 4 more`."""
    ordered = sorted(names)
    more = f" and {len(ordered) - _SHOWN_KEYS} more" if len(ordered) > _SHOWN_KEYS else ""
    return ", ".join(ordered[:_SHOWN_KEYS]) + more
