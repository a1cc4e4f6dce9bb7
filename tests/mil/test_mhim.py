"""MHIM-MIL: what its teacher and its student do, with each core, against the equations written out."""

import copy
import math
from typing import Any

import pytest
import torch
import transmil_by_hand as by_hand
from step_memory import peak_gib
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, softmax

from sammil_cli.mil.attention_masks import kept
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.models.abmil import AbmilOptions
from sammil_cli.mil.models.abmil import Model as Abmil
from sammil_cli.mil.models.mhim import MhimOptions, Model, Plain, feature_distance
from sammil_cli.mil.recipe import COMMON
from sammil_cli.testing.models import DIM, GROUPS, PATCHES, Bag, make_bag
from sammil_cli.training.loop import trained_state

LABEL = torch.tensor(1)
CORES: dict[str, dict[str, Any]] = {
    "attn": {},
    "gated": {"gated": True},
    "selfattn": {"core": "selfattn"},
    "two heads": {"core": "selfattn", "heads": 2},
    "dsmil": {"core": "dsmil"},
}

every_core = pytest.mark.parametrize("core", CORES)


def build(core: str = "attn", *, dim: int = DIM, classes: int = 3, dropout: float = 0.0, **options: Any) -> Model:
    """A model whose teacher is another one than its student, in double precision; attention dropout is off."""
    torch.manual_seed(1)
    spec = ModelSpec(dim=dim, classes=classes, group_features=True, dropout=dropout)
    model = Model(spec, MhimOptions(**{**CORES[core], **options}))
    model.initialise()
    first = model.first_stage()
    first.initialise()
    model.begin(first.eval(), [], generator())
    for part in model.core.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    return model.double().train()


def exact_bag(patches: int = PATCHES, groups: int = GROUPS) -> Bag:
    bag = make_bag(patches, groups)
    return Bag(**{**vars(bag), "features": bag.features.double(), "group_features": bag.group_features.double()})


def generator(seed: int = 4) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plain(core: str, model: Plain, instances: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
    """Feature, logits and weights (h, N), written out."""
    e = by_hand.embedded(model.patch_to_emb, instances)
    if core in ("attn", "gated"):
        hidden = torch.relu(e @ model.core.hidden.weight.T)
        if core == "gated":
            hidden = hidden * (1 / (1 + torch.exp(-(e @ model.core.gate.weight.T))))
        weights = softmax(hidden @ model.core.score.weight[0], 0)
        feature = (weights[:, None] * e).sum(0)
        return feature, [model.predictor(feature)], weights[None]
    if core == "dsmil":
        head = model.core.head
        scores = head.instance(e)
        query = torch.tanh(head.query[2](torch.relu(head.query[0](e))))
        values = torch.relu(head.value[1](e))
        best = [int(scores[:, c].argmax()) for c in range(scores.shape[1])]
        feature = torch.stack([softmax(query @ query[one] / math.sqrt(128), 0) @ values for one in best])
        logits = torch.stack([(row * feature).sum() for row in head.bag.weight]) + head.bag.bias
        largest = torch.stack([scores[one, c] for c, one in enumerate(best)])
        return feature, [logits, largest], scores.max(1).values[None]
    return _plain_transformer(model, e, model.core.transformer.layer1.attn.heads)


def _plain_transformer(model: Plain, e: Tensor, heads: int) -> tuple[Tensor, list[Tensor], Tensor]:
    t = model.core.transformer
    tokens = torch.cat([t.cls_token[0], e])
    taken, maps, _ = by_hand.nystrom(t.layer1.attn, by_hand.normed(t.layer1.norm, tokens), heads)
    tokens = tokens + taken
    count = len(e)
    square = torch.cat([tokens[1:], tokens[1 : 1 + math.ceil(math.sqrt(count)) ** 2 - count]])
    square = torch.cat([square, square.new_zeros(max(0, 49 - len(square)), 512)])
    tokens = torch.cat([tokens[:1], by_hand.positions(t.position, square)[:count]])
    last = tokens[0] + by_hand.nystrom(t.layer2.attn, by_hand.normed(t.layer2.norm, tokens), heads)[0][0]
    feature = by_hand.normed(t.norm, last[None])[0]
    return feature, [model.predictor(feature)], maps[:, 0, 1:]


# By hand a transformer takes seconds, whatever the number of patches: it pads them to 256.
@pytest.mark.parametrize(
    ("core", "patches"),
    [
        *((core, patches) for core in ("attn", "gated", "dsmil") for patches in (1, 5, 60)),
        pytest.param("selfattn", 1, marks=pytest.mark.stress),
        ("selfattn", 60),
        ("two heads", 5),
    ],
)
def test_the_losses_are_those_of_the_equations_and_so_are_their_gradients(core: str, patches: int) -> None:
    bag, model = exact_bag(patches, 0), build(core, high_decay=False, mask_high=0.1, distillation_weight=0.3)
    found = model.losses(bag, LABEL, generator())
    other = copy.deepcopy(model)
    with torch.no_grad():
        taught, _, weights = plain(core, other.teacher, bag.features)
    left = kept(weights, model._masks(), generator())
    assert patches == 1 or 0 < len(left) < patches
    feature, logits, _ = plain(core, other, bag.features[left])
    target = softmax(taught / 0.1, -1)
    distance = -(target * log_softmax(feature, -1)).sum(-1).mean()
    expected = [cross_entropy(one[None], LABEL[None]) / len(logits) for one in logits] + [0.3 * distance]
    assert list(found) == (["bag", "instance", "distillation"] if core == "dsmil" else ["bag", "distillation"])
    assert [one.item() for one in found.values()] == pytest.approx([one.item() for one in expected], abs=1e-10)
    for way, terms in ((model, list(found.values())), (other, expected)):
        torch.stack(terms).sum().backward()
        assert all(weight.grad is None for weight in way.teacher.parameters())
    theirs = dict(other.named_parameters())
    for name, weight in model.named_parameters():
        gradient = theirs[name].grad
        if weight.grad is None or gradient is None:
            assert weight.grad is None
            assert gradient is None
        else:
            assert torch.allclose(weight.grad, gradient, rtol=1e-6, atol=1e-10), name


@every_core
def test_what_is_predicted_is_what_the_student_says_of_the_whole_bag(core: str) -> None:
    model, bag = build(core).eval(), exact_bag()
    said = model(bag)
    feature, logits, weights = plain(core, model, bag.instances(True))
    assert torch.allclose(said.logits, logits[0], atol=1e-10)
    assert feature.shape[-1] == 512
    if core in ("attn", "gated"):
        assert torch.allclose(said.attention, weights[0], atol=1e-12)


@every_core
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(("patches", "groups"), [(PATCHES, GROUPS), (1, 0), (2, 0)])
def test_every_core_takes_any_bag(core: str, classes: int, patches: int, groups: int) -> None:
    model, bag = build(core, classes=classes, dropout=0.25).float(), make_bag(patches, groups)
    losses = [torch.stack(list(model.losses(bag, torch.tensor(label), generator()).values())) for label in (0, 1)]
    torch.stack(losses).sum().backward()
    assert torch.isfinite(torch.stack(losses)).all()
    said = model.eval()(bag)
    assert said.attention.shape == (patches + groups,)
    assert said.evidence.shape == (patches + groups, classes)
    assert said.attention.sum().item() == pytest.approx(1, abs=1e-5)
    assert torch.allclose(said.evidence.sum(1), torch.ones(patches + groups), atol=1e-5)
    assert bool((said.attention >= 0).all())


@every_core
def test_only_the_transformer_core_sees_the_order(core: str) -> None:
    model, bag = build(core).eval(), exact_bag(9, 0)
    turned = Bag(**{**vars(bag), "features": bag.features.flip(0)})
    same = torch.allclose(model(bag).logits, model(turned).logits, atol=1e-9)
    assert same == (core not in ("selfattn", "two heads"))
    assert model.ordered != same  # and says so


@every_core
def test_products_may_be_of_half_precision(core: str) -> None:
    model, bag = build(core, mask_random=0, mask_high=0).float(), make_bag()
    exact = total(model, bag).item()
    with torch.autocast("cpu", torch.bfloat16):
        rough = total(model, bag)
    rough.backward()
    assert rough.item() == pytest.approx(exact, rel=0.05)
    found = [weight.grad for weight in model._student() if weight.grad is not None]
    assert found
    assert all(one.dtype == torch.float32 and torch.isfinite(one).all() for one in found)


def total(model: Model, bag: Bag) -> Tensor:
    return torch.stack(list(model.losses(bag, LABEL, generator()).values())).sum()


# ---------------------------------------------------------------------------------------------- the teacher


@every_core
def test_the_teacher_takes_all_of_the_first_stage_and_the_student_its_embedding(core: str) -> None:
    model = Model(ModelSpec(dim=DIM, classes=2, group_features=True), MhimOptions(**CORES[core]))
    model.initialise()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    first = model.first_stage()
    first.initialise()
    model.begin(first, [], generator())
    for name, weight in first.state_dict().items():
        assert torch.equal(model.state_dict()[f"teacher.{name}"], weight)
        source = weight if name.startswith("patch_to_emb") else before[name]
        assert torch.equal(model.state_dict()[name], source), name
    assert not torch.equal(first.state_dict()["patch_to_emb.0.weight"], before["patch_to_emb.0.weight"])


def test_the_first_stage_learns_the_same_model_without_a_mask() -> None:
    first = build().first_stage().double().train()
    assert first.first_stage() is None
    bag = exact_bag()
    terms = first.losses(bag, LABEL, generator())
    _, logits, _ = plain("attn", first, bag.instances(True))
    assert list(terms) == ["bag"]
    assert terms["bag"].item() == pytest.approx(cross_entropy(logits[0][None], LABEL[None]).item())


def test_without_a_first_stage_there_is_no_teacher() -> None:
    with pytest.raises(TypeError, match="first stage"):
        build().begin(None, [], generator())


def test_the_teacher_follows_the_student() -> None:
    model = build(momentum=0.9)
    before = {name: one.clone() for name, one in model.teacher.named_parameters()}
    model.after_step(0.1)
    student = dict(model.named_parameters())
    for name, one in model.teacher.named_parameters():
        assert torch.allclose(one, 0.9 * before[name] + 0.1 * student[name], atol=1e-15), name
        assert not one.requires_grad


@pytest.mark.parametrize(("rise", "expected"), [(False, [0.9, 0.9, 0.9]), (True, [0.9, 0.95, 1.0])])
def test_the_momentum_is_that_of_the_step_that_is_over(rise: bool, expected: list[float]) -> None:
    model, found = build(momentum=0.9, momentum_rise=rise), []
    for done in (0.5, 1.0, 1.0):  # of the steps after which half and all are done, and of one that starts at the end
        for weight in model._student():
            weight.data.fill_(1.0)
        for weight in model.teacher.parameters():
            weight.fill_(0.0)
        model.after_step(done)
        found.append(1 - next(model.teacher.parameters()).flatten()[0].item())
    assert found == pytest.approx(expected)


def test_what_is_hidden_for_high_attention_falls_to_nothing() -> None:
    model, found = build(mask_high=0.4, high_share=1, mask_random=0), []
    for done in (0.5, 1.0):
        found.append(model._masks().high)
        model.after_step(done)
    assert [*found, model._masks().high] == pytest.approx([0.4, 0.2, 0])
    constant = build(mask_high=0.4, high_decay=False)
    constant.after_step(0.7)
    assert constant._masks().high == 0.4


def test_how_far_it_is_goes_with_the_weights() -> None:
    model = build()
    model.after_step(0.3)
    other = build()
    other.load_state_dict(model.state_dict())
    assert other._masks() == model._masks() != build()._masks()


@every_core
def test_dropout_reaches_the_student_and_never_the_teacher(core: str) -> None:
    model, bag = build(core, dropout=0.5, mask_random=0.0, mask_low=0.3), exact_bag(30, 0)
    seen: list[Tensor] = []

    def note(part: object, given: tuple[Tensor, ...]) -> None:
        seen.append(given[0])

    model.teacher.patch_to_emb.register_forward_pre_hook(note)
    bags = [model.losses(bag, LABEL, generator(seed))["bag"].item() for seed in (1, 2)]
    assert len(seen) == 2
    assert bags[0] != bags[1]
    assert not any(part.training for part in model.teacher.modules())
    assert model.core.training
    assert model.eval().train().teacher.training is False


def test_a_trained_model_is_the_student_alone() -> None:
    assert set(trained_state(build())) == {
        *("patch_to_emb.0.weight", "patch_to_emb.0.bias"),
        *("core.hidden.weight", "core.score.weight"),
        *("predictor.weight", "predictor.bias"),
    }


# ---------------------------------------------------------------------------------------------- sizes, forms, recipe


@pytest.mark.parametrize(("core", "size"), [("attn", 591_490), ("selfattn", 2_672_146), ("dsmil", 873_734)])
def test_it_has_the_published_size(core: str, size: int) -> None:
    model = build(core, dim=1024, classes=2)
    assert sum(weight.numel() for weight in model._student()) == size  # docs/methods.md §9, §16
    assert sum(weight.numel() for weight in model.parameters()) == 2 * size


def test_the_gated_core_is_the_released_gated_attention() -> None:
    model = build("gated", classes=2).eval()
    abmil = Abmil(model.spec, AbmilOptions(gated=True, released=True)).double().eval()
    ours = iter(model._student())
    for name in ("feature.0.weight", "feature.0.bias", "attention_v.0.weight", "attention_u.0.weight"):
        abmil.get_parameter(name).data.copy_(next(ours))
    for name in ("attention_w.weight", "classifier.weight", "classifier.bias"):
        abmil.get_parameter(name).data.copy_(next(ours))
    one, other = model(exact_bag()), abmil(exact_bag())
    assert torch.allclose(one.logits, other.logits, atol=1e-12)
    assert torch.allclose(one.evidence, other.evidence, atol=1e-12)


def test_the_distance_of_features_is_the_cross_entropy_of_their_softmaxes() -> None:
    teacher, student = torch.randn(2, 3, 512, generator=generator()).double()
    by_row = []
    for t, s in zip(teacher, student, strict=True):
        target, told = torch.exp(t / 0.1 - (t / 0.1).max()), torch.exp(s)
        by_row.append(-sum(a * math.log(b) for a, b in zip(target / target.sum(), told / told.sum(), strict=True)))
    assert feature_distance(teacher[0], student[0]).item() == pytest.approx(float(by_row[0]))
    assert feature_distance(teacher, student).item() == pytest.approx(float(sum(by_row)) / 3)
    assert list(build(distillation_weight=0).losses(exact_bag(), LABEL, generator())) == ["bag"]


def test_its_defaults_are_the_papers_for_camelyon16() -> None:
    own = MhimOptions()
    assert (own.core, own.mask_random, own.mask_low, own.mask_high, own.high_share) == ("attn", 0.5, 0, 0.01, 0.5)
    assert (own.high_decay, own.distillation_weight, own.momentum, own.momentum_rise) == (True, 0.1, 0.9999, False)
    assert Model.recipe == COMMON


def test_the_class_token_starts_near_zero() -> None:
    token = build("selfattn").core.transformer.cls_token
    assert 0 < token.std().item() < 2e-6


@pytest.mark.slow
@pytest.mark.stress
@pytest.mark.parametrize(
    "options",
    [{}, {"core": "selfattn", "mask_random": 0, "mask_low": 0.1}, {"core": "dsmil", "mask_random": 0}],
    ids=str,
)
def test_a_step_on_fifty_thousand_instances_fits_into_six_gigabytes(options: dict[str, object]) -> None:
    assert 0.4 < peak_gib("mhim", options) < 6
