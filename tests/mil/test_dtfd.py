"""DTFD-MIL against loops over its pseudo-bags, and what reaches which tier."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sammil_cli.errors import InputError
from sammil_cli.mil.contract import Bag
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.models.dtfd import Model, consecutive_parts
from sammil_cli.mil.pseudo_bags import draw_parts
from sammil_cli.training.optimisers import learning_rate
from sammil_cli.training.trained_model import build_model

DIM, PATCHES = 6, 23
CPU = torch.device("cpu")
LABEL = torch.tensor(1)
TIER_1 = ("dim_reduction", "attention", "classifier")

every_distillation = pytest.mark.parametrize("distillation", ["AFS", "MaxS", "MaxMinS"])


def build(classes: int = 2, dim: int = DIM, dropout: float = 0.0, **options: object) -> Model:
    torch.manual_seed(0)
    model = build_model("dtfd", ModelSpec(dim=dim, classes=classes, group_features=False, dropout=dropout), options)
    assert isinstance(model, Model)
    model.initialise()
    return model.double()


def make_bag(patches: int = PATCHES) -> Bag:
    return Bag(
        features=torch.randn(patches, DIM, generator=torch.Generator().manual_seed(1), dtype=torch.float64),
        group_features=torch.empty(0, DIM, dtype=torch.float64),
        region=torch.full((patches,), -1),
        group_region=torch.empty(0, dtype=torch.int64),
        region_area=torch.empty(0),
    )


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def attend(network: torch.nn.Module, rows: Tensor) -> Tensor:
    """The softmax of w · (tanh(V h) ⊙ sigmoid(U h)), row by row."""
    of = dict(network.named_parameters())
    scores = []
    for h in rows:
        inner, gate = of["v.weight"] @ h + of["v.bias"], of["u.weight"] @ h + of["u.bias"]
        scores.append(of["w.weight"][0] @ (torch.tanh(inner) / (1 + torch.exp(-gate))) + of["w.bias"][0])
    powers = torch.stack([torch.exp(score) for score in scores])
    return powers / powers.sum()


def by_hand(model: Model, bag: Bag, groups: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Logits of each pseudo-bag (G, C) and of the bag (C,): one group after the other, one instance after the other."""
    options = model.options
    embedded = torch.relu(bag.features @ model.dim_reduction.weight.T)
    tier_1, distilled = [], []
    for members in groups:
        rows = embedded[members]
        weighted = attend(model.attention, rows)[:, None] * rows
        tier_1.append(model.classifier(weighted.sum(dim=0)))
        positive = [torch.softmax(model.classifier.weight @ one, dim=0)[-1].item() for one in weighted]
        ranked = sorted(range(len(members)), key=lambda place: -positive[place])
        count = min(options.instances, *map(len, groups))
        if options.distillation == "AFS":
            distilled.append(weighted.sum(dim=0, keepdim=True))
        else:
            distilled.append(rows[ranked[:count]])
        if options.distillation == "MaxMinS":
            distilled.append(rows[ranked[::-1][:count]])
    rows = torch.cat(distilled)
    tier_2 = model.att_classifier
    return torch.stack(tier_1), tier_2.classifier(attend(tier_2.attention, rows) @ rows)


def cut(count: int, groups: int) -> list[list[int]]:
    return [part.tolist() for part in np.array_split(np.arange(count), groups)]


def deal(model: Model, bag: Bag, groups: int) -> list[list[int]]:
    """Instances by attention, the first to the first pseudo-bag, the second to the second, and round again."""
    attention = attend(model.attention, torch.relu(bag.features @ model.dim_reduction.weight.T)).tolist()
    ranked = sorted(range(len(attention)), key=lambda place: -attention[place])
    return [sorted(ranked[first::groups]) for first in range(min(groups, len(ranked)))]


# ------------------------------------------------------------------------------------------------- its equations


@every_distillation
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(("groups", "instances"), [(4, 1), (3, 2), (5, 4), (1, 3)])
@pytest.mark.parametrize("prediction", ["dealt", "consecutive"])
def test_prediction_is_that_of_a_loop_over_its_pseudo_bags(
    distillation: str, classes: int, groups: int, instances: int, prediction: str
) -> None:
    model = build(classes, distillation=distillation, groups=groups, instances=instances, prediction=prediction)
    bag = make_bag()
    members = cut(PATCHES, groups) if prediction == "consecutive" else deal(model, bag, groups)
    _, logits = by_hand(model, bag, members)
    assert torch.allclose(model.eval()(bag).logits, logits, atol=1e-12)


@every_distillation
@pytest.mark.parametrize("coupling", ["none", "joint"])
def test_the_losses_and_their_gradients_are_those_of_a_loop_over_shuffled_pseudo_bags(
    distillation: str, coupling: str
) -> None:
    model, bag = build(distillation=distillation, instances=2, coupling=coupling), make_bag()
    part, parts = draw_parts(PATCHES, 4, seeded(), CPU)
    groups = [(part == number).nonzero()[:, 0].tolist() for number in range(parts)]
    assert groups != cut(PATCHES, 4)
    tier_1, tier_2 = by_hand(model, bag, groups)
    wanted = {
        "bag": cross_entropy(tier_2[None], LABEL[None]),
        "pseudo_bags": torch.stack([cross_entropy(one[None], LABEL[None]) for one in tier_1]).mean(),
    }
    found = model.losses(bag, LABEL, seeded())
    assert list(found) == list(wanted)
    assert all(found[name].item() == pytest.approx(wanted[name].item(), abs=1e-12) for name in wanted)
    own = {name: weight for name, weight in model.named_parameters() if name.startswith("att_classifier")}
    rest = {name: weight for name, weight in model.named_parameters() if name not in own}
    for weights, loss in ((own, wanted["bag"]), (rest, sum(wanted.values()))):
        by_loop = torch.autograd.grad(
            loss if coupling == "joint" or weights is own else wanted["pseudo_bags"],
            list(weights.values()),
            retain_graph=True,
        )
        ours = torch.autograd.grad(sum(found.values()), list(weights.values()), retain_graph=True)
        for name, one, other in zip(weights, ours, by_loop, strict=True):
            assert torch.allclose(one, other, atol=1e-12), name


def test_attention_is_tier_1s_over_the_slide_and_evidence_that_of_its_ranking() -> None:
    model, bag = build(3).eval(), make_bag()
    embedded = torch.relu(bag.features @ model.dim_reduction.weight.T)
    found = model(bag)
    assert torch.allclose(found.attention, attend(model.attention, embedded), atol=1e-12)
    for members in deal(model, bag, 4):
        weighted = attend(model.attention, embedded[members])[:, None] * embedded[members]
        assert torch.allclose(found.evidence[members], torch.softmax(weighted @ model.classifier.weight.T, 1))


# ------------------------------------------------------------------------------------------------- coupling


def after_a_step(model: Model, term: str) -> set[str]:
    """The networks whose weights one step on one loss term changes."""
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.losses(make_bag(), LABEL, seeded())[term].backward()
    adam.step()
    changed = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    return {name.split(".")[0] for name in changed}


@every_distillation
def test_by_default_the_loss_of_tier_2_changes_no_weight_of_tier_1(distillation: str) -> None:
    assert after_a_step(build(distillation=distillation), "bag") == {"att_classifier"}


@every_distillation
def test_jointly_the_loss_of_tier_2_changes_the_weights_of_tier_1(distillation: str) -> None:
    changed = after_a_step(build(distillation=distillation, coupling="joint"), "bag")
    # Instances are chosen, not weighted: only AFS takes tier 1's attention along.
    assert changed == {"att_classifier", "dim_reduction", *(["attention"] if distillation == "AFS" else [])}


@pytest.mark.parametrize("coupling", ["none", "joint"])
def test_the_loss_of_tier_1_never_changes_tier_2(coupling: str) -> None:
    assert after_a_step(build(coupling=coupling), "pseudo_bags") == set(TIER_1)


# ------------------------------------------------------------------------------------------------- pseudo-bags


@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_the_generator_shuffles_the_instances_and_nothing_else_does(dropout: float) -> None:
    model, bag = build(dropout=dropout).train(), make_bag()
    losses = [model.losses(bag, LABEL, seeded(seed))["pseudo_bags"].item() for seed in (3, 3, 4)]
    assert losses[0] == losses[1] != losses[2]
    before = torch.get_rng_state()
    model.losses(bag, LABEL, seeded())
    model.eval()(bag)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 300, 301])
@pytest.mark.parametrize("groups", [1, 2, 3, 4, 7, 8])
def test_consecutive_pseudo_bags_are_numpys_array_split(count: int, groups: int) -> None:
    part, parts = consecutive_parts(count, groups, CPU)
    wanted = [one for one in cut(count, groups) if one]  # none is empty
    assert [(part == number).nonzero()[:, 0].tolist() for number in range(parts)] == wanted


@every_distillation
def test_dealt_pseudo_bags_answer_alike_whatever_the_order_of_the_instances_and_consecutive_ones_do_not(
    distillation: str,
) -> None:
    bag, order = make_bag(), torch.randperm(PATCHES, generator=seeded())
    moved = replace(bag, features=bag.features[order])
    for prediction in ("dealt", "consecutive"):
        model = build(distillation=distillation, prediction=prediction).eval()
        alike = torch.allclose(model(bag).logits, model(moved).logits, atol=1e-12)
        assert alike == (prediction == "dealt")


@every_distillation
@pytest.mark.parametrize("patches", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("prediction", ["dealt", "consecutive"])
def test_bags_smaller_than_groups_and_groups_smaller_than_their_ends_go(
    distillation: str, patches: int, prediction: str
) -> None:
    model, bag = build(distillation=distillation, groups=4, instances=9, prediction=prediction), make_bag(patches)
    members = [one for one in cut(patches, 4) if one] if prediction == "consecutive" else deal(model, bag, 4)
    _, logits = by_hand(model, bag, members)
    assert torch.allclose(model.eval()(bag).logits, logits, atol=1e-12)
    assert all(math.isfinite(loss.item()) for loss in model.losses(bag, LABEL, seeded()).values())


@pytest.mark.parametrize(
    ("distillation", "instances", "rows"), [("AFS", 5, 4), ("MaxS", 1, 4), ("MaxS", 3, 12), ("MaxMinS", 2, 16)]
)
def test_so_many_rows_are_distilled(distillation: str, instances: int, rows: int) -> None:
    model = build(distillation=distillation, instances=instances)
    part, parts = consecutive_parts(PATCHES, 4, CPU)
    first = model.first_tier(*model.embed(make_bag()), part, parts)
    assert model.distil(first).shape == (rows, 512)


def test_the_distilled_instances_are_those_that_tier_1_finds_most_and_least_positive() -> None:
    model = build(distillation="MaxMinS", groups=1)
    part, parts = consecutive_parts(PATCHES, 1, CPU)
    first = model.first_tier(*model.embed(make_bag()), part, parts)
    positive = torch.softmax((first.attention[:, None] * first.embedded) @ model.classifier.weight.T, dim=1)[:, 1]
    most, least = model.distil(first)
    assert torch.equal(most, first.embedded[positive.argmax()])
    assert torch.equal(least, first.embedded[positive.argmin()])


# ------------------------------------------------------------------------------------------------- size and recipe


def test_it_has_the_published_number_of_parameters() -> None:
    sizes = {
        name: sum(weight.numel() for weight in part.parameters()) for name, part in build(dim=1024).named_children()
    }
    assert sum(sizes[name] for name in TIER_1) == 656_771  # docs/methods.md §7
    assert sizes == {**sizes, "att_classifier": 132_483}
    assert sum(sizes.values()) == 789_254  # docs/methods.md §16


def test_the_recipe_is_the_official_one() -> None:
    recipe = Model.recipe
    assert (recipe.optimiser, recipe.learning_rate, recipe.weight_decay) == ("adam", 1e-4, 1e-4)
    assert (recipe.epochs, recipe.min_epochs, recipe.choose_last) == (200, 200, 39)  # kept: after epoch 160
    rates = [learning_rate(recipe, epoch) for epoch in range(200)]
    assert rates[0] == rates[99] == 1e-4
    assert rates[100] == rates[199] == pytest.approx(2e-5)
    assert len([1 for one, other in pairwise(rates) if one != other]) == 1
    assert (recipe.clip_norm, recipe.dropout, recipe.chosen_by, recipe.loss) == (5.0, 0.0, "auc", "cross-entropy")
    # `clip_norm` holds for each child by itself: for the four networks that the official code clips.
    assert [name for name, _ in build().named_children()] == [*TIER_1, "att_classifier"]


def test_weights_start_as_torch_draws_them() -> None:
    model = build(dim=1024)
    model.float().initialise()
    weight, width = model.dim_reduction.weight, 1 / math.sqrt(1024)
    assert 0.999 * width < weight.abs().max().item() <= width  # uniform; Xavier-normal would reach far beyond
    assert model.classifier.bias.abs().max().item() > 0


@pytest.mark.parametrize(
    "options",
    [{"distillation": "MAS"}, {"groups": 0}, {"instances": 0}, {"coupling": "official"}, {"prediction": "random"}],
    ids=str,
)
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=rf"model_options\.{next(iter(options))} of dtfd"):
        build(**options)
