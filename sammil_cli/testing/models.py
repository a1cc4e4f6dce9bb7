"""What every MIL model keeps, whatever file it comes from."""

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.nn.functional import pad

from sammil_cli.mil.contract import Bag, MILModel
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.training.loop import predict
from sammil_cli.training.trained_model import build_model, model_class

PATCHES, GROUPS, DIM = 13, 4, 7
MOST_STEPS = 60  # a model of a few hundred weights, such as DSMIL on seven features, needs more than a wide one

either = pytest.mark.parametrize("group_features", [True, False])


def make_bag(patches: int = PATCHES, groups: int = GROUPS) -> Bag:
    """`groups` of the 5 regions have a group feature; some patches lie in no region, the last one in every region.

    The patches stand on a grid of four columns, one place of which is empty.
    """
    generator = torch.Generator().manual_seed(1)
    features, group_features = (torch.randn(count, DIM, generator=generator) for count in (patches, groups))
    region = torch.randint(-1, groups, (patches,), generator=generator)
    region[-1] = 1 if groups else -1  # the smallest
    held = [[*(region[:-1] == index).nonzero()[:, 0].tolist(), patches - 1] for index in range(groups)]
    held += [[]] * (groups > 0)  # the region without a patch
    return Bag(
        features=features,
        group_features=group_features,
        region=region,
        group_region=torch.arange(groups),
        region_area=torch.tensor([9000.0, 12.0, 700.0, 40_000.0, 3.0])[: groups + 1 if groups else 0],
        member_start=torch.tensor([0, *map(len, held)]).cumsum(0),
        member_patch=torch.tensor([patch for patches in held for patch in patches], dtype=torch.int32),
        places=torch.tensor([[(p + (p > 4)) % 4, (p + (p > 4)) // 4] for p in range(patches)], dtype=torch.float32),
    )


def build(word: str, seed: int = 0, **changes: Any) -> MILModel:
    """A model for `make_bag`'s bags, its weights drawn from `seed`; `changes` are fields of `ModelSpec`.

    With `group_feature_flag=True` it has an input more, and takes bags that are `flagged`.

    It is ready for its first epoch: what its first stage would have learned is drawn, too.
    """
    torch.manual_seed(seed)
    spec = ModelSpec(
        **{"dim": DIM, "classes": 2, "group_features": True, "loss": model_class(word).recipe.loss, **changes}
    )
    flagged = spec.group_feature_flag
    spec = replace(spec, dim=spec.dim + flagged)
    model = build_model(word, spec, {})
    model.initialise()
    first = model.first_stage()
    if first is not None:
        first.initialise()
    bags = [replace(bag, flagged=flagged) for bag in (make_bag(), make_bag(PATCHES - 4), make_bag(3, 2))]
    model.begin(first.eval() if first else None, bags, torch.Generator().manual_seed(seed))
    return model


def total_loss(model: MILModel, bag: Bag, label: int = 1) -> Tensor:
    """The sum of the model's losses."""
    terms = model.losses(bag, torch.tensor(label), torch.Generator().manual_seed(4))
    return torch.stack(list(terms.values())).sum()


class ModelContract:
    """The tests of a model. A subclass has the fixture `word`: what the user types."""

    @either
    @pytest.mark.parametrize("classes", [2, 3])
    @pytest.mark.parametrize(("patches", "groups"), [(PATCHES, GROUPS), (PATCHES, 0), (1, 0)])
    def test_any_bag_can_be_learned_from_and_classified(
        self, word: str, group_features: bool, classes: int, patches: int, groups: int
    ) -> None:
        model, bag = build(word, group_features=group_features, classes=classes), make_bag(patches, groups)
        losses = torch.stack([total_loss(model, bag, label) for label in range(classes)])
        torch.autograd.backward(losses.sum())
        assert torch.isfinite(losses).all()
        assert len(set(losses.tolist())) == classes
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
        output, count = model.eval()(bag), patches + groups * group_features
        assert (output.logits.shape, output.attention.shape) == ((classes,), (count,))
        assert output.evidence.shape == (count, classes)
        assert torch.isfinite(output.logits).all()
        assert output.attention.sum().item() == pytest.approx(1, abs=1e-5)
        assert torch.allclose(output.evidence.sum(1), torch.ones(count), atol=1e-5)
        assert bool((output.attention >= 0).all() & (output.evidence >= 0).all())

    def test_the_order_of_the_patches_does_not_matter(self, word: str) -> None:
        model, bag = build(word).eval(), make_bag()
        order = torch.randperm(PATCHES, generator=torch.Generator().manual_seed(2))
        assert bag.places is not None
        assert bag.member_patch is not None
        members = order.argsort()[bag.member_patch.long()]
        moved = replace(bag, features=bag.features[order], region=bag.region[order], member_patch=members)
        moved = replace(moved, places=bag.places[order])
        one, other = model(bag), model(moved)
        order = torch.cat([order, torch.arange(PATCHES, PATCHES + GROUPS)])
        if model.ordered:
            assert not torch.allclose(one.logits, other.logits, atol=1e-5), "its order does not matter: say so"
            return
        assert torch.allclose(one.logits, other.logits, atol=1e-5)
        assert torch.allclose(one.attention[order], other.attention, atol=1e-6)
        assert torch.allclose(one.evidence[order], other.evidence, atol=1e-5)

    @either
    def test_patches_change_the_answer_and_group_features_where_wanted(self, word: str, group_features: bool) -> None:
        model, bag = build(word, group_features=group_features).eval(), make_bag()
        patches, groups = (replace(bag, **{key: getattr(bag, key) * 3 + 4}) for key in ("features", "group_features"))
        before = model(bag).logits
        assert not torch.allclose(before, model(patches).logits, atol=1e-3)
        assert torch.allclose(before, model(groups).logits, atol=1e-3) != group_features

    @either
    def test_learning_reaches_what_sees_the_features_and_lowers_the_loss(self, word: str, group_features: bool) -> None:
        model, bag = build(word, group_features=group_features, dropout=0.0), make_bag()
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
        losses = [total_loss(model, bag).item()]
        while losses[-1] >= 0.8 * losses[0] and len(losses) <= MOST_STEPS:
            optimiser.zero_grad()
            torch.autograd.backward(total_loss(model, bag))
            optimiser.step()
            losses.append(total_loss(model, bag).item())
        assert losses[-1] < 0.8 * losses[0], "it does not learn one bag by heart"
        slopes = [p.grad for p in model.parameters() if DIM in p.shape and p.grad is not None]
        assert sum(slope.abs().sum().item() for slope in slopes) > 0, "what sees the features learns nothing"

    def test_a_flagged_bag_is_one_whose_instances_have_a_column_more(self, word: str) -> None:
        model, bag = build(word, group_feature_flag=True, dropout=0.0), make_bag()
        patches, groups = (pad(bag.features, (0, 1), value=0), pad(bag.group_features, (0, 1), value=1))
        column, flagged = replace(bag, features=patches, group_features=groups), replace(bag, flagged=True)
        assert total_loss(model, flagged).item() == total_loss(model, column).item()
        one, other = model.eval()(flagged), model(column)
        assert torch.equal(one.logits, other.logits)
        assert torch.equal(one.attention, other.attention)
        unmarked = replace(column, group_features=pad(bag.group_features, (0, 1), value=0))
        assert not torch.allclose(model(unmarked).logits, one.logits, atol=1e-5), "it does not see the flag"

    def test_predicting_and_learning_change_no_bag_and_no_weights(self, word: str) -> None:
        model, bag, fresh = build(word), make_bag(), make_bag()
        before = {key: value.clone() for key, value in model.state_dict().items()}
        noise = torch.get_rng_state()
        first = predict(model, lambda _: bag, ["a", "b"])
        assert torch.equal(torch.get_rng_state(), noise)
        assert all(p.grad is None for p in model.parameters())
        for _ in range(2):
            torch.autograd.backward(total_loss(model.train(), bag))
            assert (predict(model.train(), lambda _: bag, ["a", "b"]) == first).all()
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
        tensors = [field.name for field in fields(Bag) if field.name != "flagged"]
        assert all(torch.equal(getattr(bag, name), getattr(fresh, name)) for name in tensors)
        stored = build(word, seed=1)
        stored.load_state_dict(load(save({key: value.contiguous() for key, value in before.items()})))
        assert (predict(stored, lambda _: fresh, ["a", "b"]) == first).all()

    @pytest.mark.parametrize("stored", [torch.float32, torch.float16, torch.bfloat16])
    def test_features_and_products_may_be_of_half_precision(self, word: str, stored: torch.dtype) -> None:
        model, bag = build(word, dropout=0.0), make_bag()
        half = replace(bag, features=bag.features.to(stored), group_features=bag.group_features.to(stored))
        wide = replace(half, features=half.features.float(), group_features=half.group_features.float())
        wide_loss = total_loss(model, wide)
        torch.autograd.backward(wide_loss)
        reached = {name for name, p in model.named_parameters() if p.grad is not None}
        model.zero_grad(set_to_none=True)
        exact = wide_loss.item()
        assert total_loss(model, half).item() == pytest.approx(exact, rel=1e-5)
        with torch.autocast("cpu", torch.bfloat16):
            rough = total_loss(model, half)
        torch.autograd.backward(rough)
        assert rough.item() == pytest.approx(exact, rel=0.05)
        gradients = [p.grad for name, p in model.named_parameters() if name in reached]
        assert gradients
        assert all(g is not None and g.dtype == torch.float32 and torch.isfinite(g).all() for g in gradients)
        assert torch.allclose(model.eval()(half).logits, model(wide).logits, atol=1e-5)
