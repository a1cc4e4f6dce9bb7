"""A small bag and SAM-MIL's loss worked out plainly, for its tests."""

import dataclasses
from typing import get_args

import torch
from torch import Tensor

from sammil_cli.config import TrainSettings
from sammil_cli.mil.contract import Bag, Options
from sammil_cli.mil.masking import keep_instances
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.models.sam_mil import Model
from sammil_cli.mil.pseudo_bags import draw_parts

PATCHES, GROUPS, DIM = 40, 3, 6
SPEC = ModelSpec(dim=DIM, classes=2, group_features=True, dropout=0.0, pseudo_bags=4)
LABEL = torch.tensor(1)
EMBEDDING = ("patch_to_emb.0.weight", "patch_to_emb.0.bias")
ATTENTION = ("attention.0.weight", "attention.2.weight")
PREDICTOR = ("predictor.weight", "predictor.bias")
# Those that a user can choose.
STRATEGIES = get_args(TrainSettings.model_fields["mask_strategy"].annotation)
RATIO_FUNCTIONS = get_args(TrainSettings.model_fields["mask_ratio_function"].annotation)


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_bag(regions: int = GROUPS, patches: int = PATCHES, dim: int = DIM) -> Bag:
    generator = seeded(1)
    area = torch.tensor([9000.0, 300.0, 40_000.0])[torch.arange(regions) % 3]
    return Bag(
        features=torch.randn(patches, dim, generator=generator),
        group_features=torch.randn(regions, dim, generator=generator),
        region=torch.randint(-1, regions, (patches,), generator=generator),
        group_region=torch.arange(regions),
        region_area=area,
    )


def build(**changes: object) -> Model:
    torch.manual_seed(0)
    model = Model(dataclasses.replace(SPEC, **changes), Options())
    model.initialise()
    return model


def kept(bag: Bag, spec: ModelSpec, generator: torch.Generator) -> Tensor:
    """The mask that `losses` draws first from the generator."""
    return keep_instances(
        spec.mask_strategy,
        bag.groups(spec.grouping),
        group_features=spec.group_features,
        target=spec.mask_ratio,
        function=spec.mask_ratio_function,
        slope=spec.sigmoid_slope,
        center=spec.sigmoid_center,
        generator=generator,
    )


def parts_of(count: int, parts: int, generator: torch.Generator, **how: bool) -> list[Tensor]:
    """The instances of each pseudo-bag that `losses` draws from the generator."""
    part, number = draw_parts(count, parts, generator, torch.device("cpu"), **how)
    return [(part == index).nonzero()[:, 0] for index in range(number)]


def by_hand(model: Model, instances: Tensor) -> Tensor:
    """Logits of a bag of these instances: e = relu(W0 x + b0), s = W2 relu(W1 e), z = softmax(s) e, W z + b."""
    weights = dict(model.named_parameters())
    embedded = torch.relu(instances @ weights[EMBEDDING[0]].T + weights[EMBEDDING[1]])
    scores = torch.relu(embedded @ weights[ATTENTION[0]].T) @ weights[ATTENTION[1]][0]
    pooled = torch.softmax(scores, 0) @ embedded
    return pooled @ weights[PREDICTOR[0]].T + weights[PREDICTOR[1]]


def cross_entropy(logits: Tensor) -> Tensor:
    return -torch.log_softmax(logits, 0)[int(LABEL)]


def values(terms: dict[str, Tensor]) -> dict[str, float]:
    return {name: term.item() for name, term in terms.items()}


def gradient(model: Model, loss: Tensor) -> dict[str, Tensor]:
    """The gradient of each weight; zeros where there is none."""
    found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True, retain_graph=True)
    named = zip(dict(model.named_parameters()).items(), found, strict=True)
    return {name: torch.zeros_like(weight) if grad is None else grad for (name, weight), grad in named}


def total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()
