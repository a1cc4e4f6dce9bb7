"""IBMIL: its equations, where its dictionary comes from, and what it is made of."""

import math
from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save
from sklearn.cluster import KMeans
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, cross_entropy

from sammil_cli.errors import InputError
from sammil_cli.mil.contract import Bag
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.models.ibmil import FirstStage, Model, make_prototypes
from sammil_cli.mil.recipe import Recipe
from sammil_cli.training.loop import Trained, train_fold
from sammil_cli.training.optimisers import learning_rate
from sammil_cli.training.trained_model import build_model

DIM = 6
LABEL = torch.tensor(1)
TRAIN = [(f"train{number}", number % 2) for number in range(11)]
VAL = [(f"val{number}", number % 2) for number in range(4)]
# The last epoch is kept whatever validation says of it.
PINNED = Recipe(epochs=2, min_epochs=0, learning_rate=1e-3, choose_last=1)

either_form = pytest.mark.parametrize("form", ["harness", "official"])


def make_bag(slide: str, patches: int = 9, kind: torch.dtype = torch.float32) -> Bag:
    seed = sum(map(ord, slide))
    features = torch.randn(patches, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(kind)
    return Bag(
        features=features,
        group_features=features[:0],
        region=torch.full((patches,), -1),
        group_region=torch.empty(0, dtype=torch.int64),
        region_area=torch.empty(0),
    )


def build(classes: int = 2, dim: int = DIM, loss: str = "binary", **options: object) -> Model:
    torch.manual_seed(0)
    spec = ModelSpec(dim=dim, classes=classes, group_features=False, dropout=0.25, loss=loss)
    model = build_model("ibmil", spec, options)
    assert isinstance(model, Model)
    model.initialise()
    return model


def first_of(model: Model) -> FirstStage:
    """A first stage as if it were trained."""
    torch.manual_seed(5)
    first = model.first_stage()
    first.initialise()
    return first.eval()


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def train(model: Model, load: dict[str, Bag] | None = None, plan: Recipe = PINNED) -> tuple[Trained, list[str]]:
    """Trains both stages; returns what came of it, and the slides in the order in which they were loaded."""
    asked: list[str] = []

    def bag(slide: str) -> Bag:
        asked.append(slide)
        return (load or {}).get(slide) or make_bag(slide)

    return train_fold(model, bag, TRAIN, VAL, plan, seed=1, log=lambda *_, **__: None), asked


# ------------------------------------------------------------------------------------------------- its equations


def by_hand(model: Model, bag: Bag) -> tuple[Tensor, Tensor]:
    """Logits and attention, instance by instance and prototype by prototype."""
    of = dict(model.named_parameters())
    rows = list(bag.features)
    if model.options.form == "harness":
        embed = of["pooling.embedding.weight"], of["pooling.embedding.bias"]
        rows = [torch.relu(embed[0] @ x + embed[1]) for x in rows]
    (v, v_bias), (w, w_bias) = (
        (of[f"pooling.attention.{layer}.weight"], of[f"pooling.attention.{layer}.bias"]) for layer in (0, 2)
    )
    powers = torch.stack([torch.exp(w[0] @ torch.tanh(v @ row + v_bias) + w_bias[0]) for row in rows])
    attention = powers / powers.sum()
    feature = sum(a * row for a, row in zip(attention, rows, strict=True))
    query = of["query.weight"] @ feature + of["query.bias"]
    keys = [of["key.weight"] @ prototype + of["key.bias"] for prototype in model.confounders]
    answers = torch.stack([torch.exp(key @ query / math.sqrt(128)) for key in keys])
    context = sum(a * c for a, c in zip(answers / answers.sum(), model.confounders, strict=True))
    return of["head.weight"] @ torch.cat([feature, context]) + of["head.bias"], attention


@either_form
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("count", [1, 5])
def test_logits_attention_and_losses_are_those_of_its_equations(form: str, classes: int, count: int) -> None:
    bag = make_bag("a", kind=torch.float64)
    for loss in ("binary", "cross-entropy"):
        model = build(classes, form=form, confounders=count, loss=loss).double().eval()
        torch.nn.init.normal_(model.confounders, generator=seeded())
        logits, attention = by_hand(model, bag)
        found = model(bag)
        assert torch.allclose(found.logits, logits, atol=1e-12)
        assert torch.allclose(found.attention, attention, atol=1e-12)
        wanted = (
            cross_entropy(logits[None], LABEL[None])
            if loss == "cross-entropy"
            else binary_cross_entropy(torch.sigmoid(logits), torch.eye(classes, dtype=torch.float64)[1])
        )
        assert model.losses(bag, LABEL, seeded())["bag"].item() == pytest.approx(wanted.item(), abs=1e-12)


@either_form
def test_evidence_is_that_of_the_weighted_instance_in_the_half_of_the_head_that_sees_the_bag(form: str) -> None:
    model, bag = build(3, form=form).eval(), make_bag("a")
    pooled, found = model.pool(bag), model(bag)
    half = model.head.weight[:, : pooled.embedded.shape[1]]
    for number, (weight, row) in enumerate(zip(pooled.attention, pooled.embedded, strict=True)):
        assert torch.allclose(found.evidence[number], torch.softmax(half @ (weight * row), dim=0), atol=1e-6)


def test_dropout_is_drawn_by_the_generator_of_the_step() -> None:
    model, bag = build().train(), make_bag("a")
    before = torch.get_rng_state()
    losses = [model.losses(bag, LABEL, seeded(seed))["bag"].item() for seed in (3, 3, 4)]
    assert losses[0] == losses[1] != losses[2]
    assert torch.equal(torch.get_rng_state(), before)


def test_the_first_stage_is_the_same_model_without_a_dictionary() -> None:
    model, bag = build(), make_bag("a")
    first = first_of(model)
    first.pooling.load_state_dict(model.pooling.state_dict())
    assert torch.equal(first(bag).attention, model.eval()(bag).attention)
    feature = first.pool(bag).feature
    assert torch.allclose(first(bag).logits, first.head.weight @ feature + first.head.bias, atol=1e-6)
    assert first.first_stage() is None


# ------------------------------------------------------------------------------------------------- the dictionary


@pytest.mark.parametrize("seed", range(5))
def test_prototypes_are_means_of_features_in_full_length_over_clusters_of_their_directions(seed: int) -> None:
    features = torch.rand(60, 4, generator=seeded(), dtype=torch.float64) * torch.linspace(1, 40, 60)[:, None]
    directions = (features / features.norm(dim=1, keepdim=True)).numpy()
    start = directions[torch.randperm(60, generator=seeded(seed))[:5].numpy()]
    cluster = KMeans(5, init=start, n_init=1, max_iter=20, tol=0, algorithm="lloyd").fit_predict(directions)
    wanted = torch.stack([features[torch.from_numpy(cluster == c)].mean(0) for c in range(5)])
    assert torch.allclose(make_prototypes(features, 5, seeded(seed)), wanted)


def test_the_dictionary_is_drawn_by_the_generator_alone() -> None:
    features = torch.randn(40, 5, generator=seeded())
    before = torch.get_rng_state()
    found = [make_prototypes(features, 8, seeded(seed)) for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found[0], found[1])
    assert found[0].shape != found[2].shape or not torch.equal(found[0], found[2])


def test_begin_takes_the_bag_features_of_the_first_stage_without_dropout_or_gradient() -> None:
    model = build(confounders=20)
    first, bags = first_of(model), [make_bag(slide) for slide, _ in TRAIN]
    model.begin(first, (bag for bag in bags), seeded())
    wanted = torch.stack([first.pool(bag).feature for bag in bags])  # each its own cluster
    assert sorted(map(tuple, model.confounders.tolist())) == sorted(map(tuple, wanted.tolist()))
    assert not model.confounders.requires_grad
    assert model.confounders.dtype == torch.float32


@pytest.mark.parametrize(("bags", "distinct", "wanted"), [(1, 1, 1), (3, 3, 3), (9, 9, 8), (12, 2, 2), (12, 1, 1)])
def test_fewer_bags_or_bags_alike_give_fewer_prototypes_and_never_a_nan(bags: int, distinct: int, wanted: int) -> None:
    model = build(confounders=8)
    model.begin(first_of(model), (make_bag(f"s{number % distinct}") for number in range(bags)), seeded())
    assert len(model.confounders) <= wanted
    assert len(model.confounders) == wanted or bags > 8
    assert torch.isfinite(model.confounders).all()
    assert torch.isfinite(model.eval()(make_bag("a")).logits).all()


def test_a_smaller_dictionary_goes_out_and_in_again() -> None:
    model, bag = build(confounders=8), make_bag("a")
    model.begin(first_of(model), map(make_bag, "xyz"), seeded())
    other = build(confounders=8)
    other.load_state_dict(load(save(model.state_dict())))
    assert len(other.confounders) == 3
    assert torch.equal(model.eval()(bag).logits, other.eval()(bag).logits)


def test_without_a_first_stage_it_does_not_begin() -> None:
    model = build()
    for first in (None, build()):
        with pytest.raises(TypeError, match="first stage"):
            model.begin(first, [], seeded())


# ------------------------------------------------------------------------------------------------- both in the loop


def test_the_dictionary_comes_from_the_training_bags_and_from_each_of_them() -> None:
    """Between its stages the loop loads them once, and no other slide."""
    _, asked = train(build())
    per_epoch = len(TRAIN) + len(VAL)
    first, between, second = (
        asked[: 2 * per_epoch],
        asked[2 * per_epoch : 2 * per_epoch + len(TRAIN)],
        asked[2 * per_epoch + len(TRAIN) :],
    )
    assert between == [slide for slide, _ in TRAIN]
    assert len(second) == len(first)
    assert set(asked) == {slide for slide, _ in TRAIN + VAL}  # the test part is never looked at


def test_other_validation_bags_leave_the_dictionary_and_other_training_bags_do_not() -> None:
    def altered(slides: Iterable[tuple[str, int]]) -> dict[str, Bag]:
        return {s: replace(make_bag(s), features=5 * make_bag(s).features + 1) for s, _ in slides}

    dictionaries, losses = [], []
    for bags in ({}, altered(VAL), altered(TRAIN[:1])):
        model = build()
        losses.append(train(model, bags)[0].val_loss)
        dictionaries.append(model.confounders)
    assert losses[0] != losses[1]  # validation was looked at
    assert torch.equal(dictionaries[0], dictionaries[1])
    assert dictionaries[0].shape != dictionaries[2].shape or not torch.equal(dictionaries[0], dictionaries[2])


def test_stage_two_starts_from_scratch_and_keeps_the_dictionary_as_it_is() -> None:
    model = build()
    begun: dict[str, Tensor] = {}
    begin = model.begin

    def watched(*given: object) -> None:
        begin(*given)
        begun.update({name: tensor.clone() for name, tensor in model.state_dict().items()})

    model.begin = watched  # type: ignore[method-assign]
    trained, _ = train(model)
    fresh = build().state_dict()
    assert all(torch.equal(begun[name], tensor) for name, tensor in fresh.items() if name != "confounders")
    assert torch.equal(trained.state["confounders"], begun["confounders"])  # in the file, and not learned
    assert not torch.equal(trained.state["head.weight"], begun["head.weight"])
    assert len(trained.first_stage) == 2


# ------------------------------------------------------------------------------------------------- size and recipe


def count(model: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def test_it_has_the_published_numbers_of_parameters() -> None:
    assert {count(build(dim=1024, confounders=k)) for k in (2, 8)} == {723_971}  # docs/methods.md §16
    official = build(classes=1, dim=512, form="official")
    assert (count(official.first_stage()), count(official)) == (263_682, 395_522)  # docs/methods.md §8


def test_the_recipe_is_the_official_one() -> None:
    recipe = Model.recipe
    assert (recipe.optimiser, recipe.betas, recipe.weight_decay) == ("adam", (0.5, 0.9), 1e-4)
    assert (recipe.epochs, recipe.min_epochs, recipe.chosen_by) == (50, 50, "auc-and-accuracy")
    assert learning_rate(recipe, 0) == 1e-4
    assert learning_rate(recipe, 50) == pytest.approx(5e-6)  # T_max
    assert (recipe.loss, recipe.clip_norm, recipe.accumulate) == ("binary", None, 1)


@pytest.mark.parametrize("options", [{"confounders": 0}, {"form": "dsmil"}], ids=str)
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=rf"model_options\.{next(iter(options))} of ibmil"):
        build(**options)
