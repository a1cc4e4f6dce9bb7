"""What the flag of group features is for: the model can tell a region's mean from a patch that looks like one."""

from dataclasses import replace

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from sammil_cli.mil.contract import Bag
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.training.trained_model import build_model

REGIONS, HELD, DIM, NOISE = 8, 6, 4, 0.7
TRAINED, JUDGED, EPOCHS = 40, 60, 6


def slide(in_nests: bool, generator: torch.Generator) -> Bag:
    """Half of the patches in regions are tumour: whole regions of it, or the half of each region.

    The slide has patches in no region that look like the means of pure and of mixed regions, now few and now many: how
    many instances look so says nothing of the arrangement.
    """
    place = torch.arange(REGIONS * HELD)
    tumour = place < len(place) // 2 if in_nests else place % 2 == 0
    held = NOISE * torch.randn(len(place), DIM, generator=generator)
    held[:, 0] += 2 * tumour.float() - 1
    count = [int(torch.randint(0, 17, (), generator=generator)) for _ in range(3)]
    others = NOISE / HELD**0.5 * torch.randn(sum(count), DIM, generator=generator)
    others[:, 0] += torch.tensor([-1.0, 0.0, 1.0]).repeat_interleave(torch.tensor(count))
    return Bag(
        features=torch.cat([held, others]),
        group_features=held.view(REGIONS, HELD, DIM).mean(1),
        region=torch.cat([place // HELD, torch.full((len(others),), -1)]),
        group_region=torch.arange(REGIONS),
        region_area=torch.full((REGIONS,), 5000.0),
    )


def area_under_curve(bags: list[tuple[Bag, Tensor]], *, flagged: bool) -> float:
    """Of slides that the core of SAM-MIL, with group features and nothing else, was not trained on."""
    torch.manual_seed(0)
    off = {"dropout": 0.0, "mask_strategy": "none", "pseudo_bag_weight": 0.0, "consistency_weight": 0.0}
    spec = ModelSpec(dim=DIM + flagged, classes=2, group_features=True, group_feature_flag=flagged, **off)
    model = build_model("sam-mil", spec, {})
    model.initialise()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.002)
    bags = [(replace(bag, flagged=flagged), label) for bag, label in bags]
    for _ in range(EPOCHS):
        for bag, label in bags[:TRAINED]:
            optimiser.zero_grad()
            torch.autograd.backward(model.losses(bag, label, torch.Generator())["bag"])
            optimiser.step()
    with torch.no_grad():
        said = [float(model(bag).logits.diff()) for bag, _ in bags[TRAINED:]]
    return float(roc_auc_score([int(label) for _, label in bags[TRAINED:]], said))


def test_where_the_label_lies_in_the_arrangement_the_flag_finds_it_and_without_it_nothing_is_found() -> None:
    generator = torch.Generator().manual_seed(0)
    bags = [(slide(number % 2 == 1, generator), torch.tensor(number % 2)) for number in range(TRAINED + JUDGED)]
    assert area_under_curve(bags, flagged=True) > 0.95
    assert area_under_curve(bags, flagged=False) < 0.7
