"""What the loop does with a model's first stage."""

from collections.abc import Iterable

import torch
from torch import Tensor
from toy_cohort import TRAIN, VAL, build, recipe, toy_bag

from sammil_cli.mil.contract import Bag, MILModel
from sammil_cli.training.loop import train_fold

PLAN = recipe(6, chosen_by="loss")
REVERSED = [(slide, 1 - label) for slide, label in VAL]  # so that learning makes it worse: an early epoch is kept
SEED = 1


def silent(epoch: int, figures: dict[str, float], *, first_stage: bool = False) -> None:
    del epoch, figures, first_stage


def test_the_second_stage_begins_with_the_kept_epoch_of_the_first_in_evaluation_mode() -> None:
    model, begun = build("ibmil", dropout=0.5), list[dict[str, Tensor]]()
    begin = model.begin

    def watched(first: MILModel | None, bags: Iterable[Bag], generator: torch.Generator) -> None:
        assert first is not None
        assert not first.training
        begun.append({name: tensor.clone() for name, tensor in first.state_dict().items()})
        begin(first, bags, generator)

    model.begin = watched  # type: ignore[method-assign]
    trained = train_fold(model, toy_bag, TRAIN, REVERSED, PLAN, seed=SEED, log=silent)

    first = build("ibmil", dropout=0.5).first_stage()
    assert first is not None
    first.initialise()
    alone = train_fold(first, toy_bag, TRAIN, REVERSED, PLAN, seed=SEED, log=silent)
    assert 0 <= alone.epoch < PLAN.epochs - 1  # the last one is another
    assert len(trained.first_stage) == PLAN.epochs
    assert trained.first_stage[alone.epoch]["val_loss"] == alone.val_loss
    assert begun[0].keys() == alone.state.keys()
    assert all(torch.equal(begun[0][name], tensor) for name, tensor in alone.state.items())
    assert any(not torch.equal(begun[0][name], tensor) for name, tensor in first.state_dict().items())


def test_a_model_of_one_stage_has_no_epochs_of_a_first_one() -> None:
    assert train_fold(build("dtfd"), toy_bag, TRAIN, VAL, recipe(1), seed=SEED, log=silent).first_stage == []
