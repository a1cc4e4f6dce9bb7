"""What a GPU would wait for in a step. Four more slides are four more steps; all else of an epoch is the same."""

from collections import Counter

import pytest
import torch
from op_watch import OpWatch
from toy_cohort import DIM, TRAIN, VAL, build, recipe

from sammil_cli.mil.contract import Bag
from sammil_cli.training import gradients
from sammil_cli.training.loop import train_fold


def per_step(regions: int, word: str = "sam-mil", **changes: object) -> tuple[Counter[str], float]:
    """Operations and waits of a step with a bag of this many regions, backward pass and Adam among them."""
    generator = torch.Generator().manual_seed(1)
    bag = Bag(
        features=torch.randn(1100, DIM, generator=generator),
        group_features=torch.randn(regions, DIM, generator=generator),
        region=torch.randint(-1, regions, (1100,), generator=generator),
        group_region=torch.arange(regions),
        region_area=torch.randint(1, 60_000, (regions,), generator=generator).float(),
    )
    model = build(word, **changes)
    assert bag.groups(model.spec.grouping)  # once for a bag
    assert bag.pairs
    ops, waits = [], []
    for slides in (2, 6):
        with OpWatch() as watch:
            train_fold(model, lambda _: bag, TRAIN[:slides], VAL[:2], recipe(1), seed=1, log=lambda *_, **__: None)
        ops.append(watch.ops)
        waits.append(watch.waits.total())
    return ops[1] - ops[0], (waits[1] - waits[0]) / 4


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"consistency_form": "distance"},
        {"consistency_form": "eq12"},
        {"mask_strategy": "random"},
        {"grouping": "area"},
    ],
    ids=str,
)
def test_a_step_never_makes_the_host_wait_and_runs_as_much_for_any_number_of_regions(
    changes: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradients, "MOST_STEPS", 1)  # of either number of slides: the steps between are plain ones
    few, waits_few = per_step(20, **changes)
    some, waits_some = per_step(200, **changes)
    many, waits_many = per_step(1000, **changes)
    assert (waits_few, waits_some, waits_many) == (0, 0, 0)  # the published step waits 104 and 557 times
    assert few == some == many
    assert few["_fused_adam_"] == 4
    assert few["threshold_backward"] >= 3 * 4  # the pooling's own backward pass is among what was seen
    assert few.total() / 4 < 224  # of an earlier, plain implementation


def test_group_features_of_pseudo_bags_make_the_host_wait_for_nothing_either() -> None:
    assert per_step(200, group_features_of="pseudo-bag")[1] == 0  # it has more instances to embed for more regions


def test_a_step_whose_gradients_are_averaged_makes_the_host_wait_no_more_than_another() -> None:
    (few, waits_few), (many, waits_many) = per_step(20), per_step(1000)
    assert (waits_few, waits_many) == (0, 0)
    assert few == many
    assert few["threshold_backward"] >= 3 * 3 * 4  # three backward passes: of two terms, and of all


@pytest.mark.parametrize("word", ["dsmil", "clam-sb", "clam-mb", "dtfd", "ibmil"])
def test_a_step_of_another_model_never_makes_the_host_wait_either(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "MOST_STEPS", 1)
    assert per_step(20, word)[1] == 0
