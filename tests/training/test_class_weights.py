"""Class weights: every slide weighs by how rare its class is."""

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from toy_cohort import DIM, VAL, build, recipe, run, toy_bag

from sammil_cli.mil.contract import Bag, MILModel, Options, Output
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.training.loop import train_fold


class Tally(MILModel):
    """Its loss has the gradient 1 before it is weighted; it notes what the gradient becomes."""

    def __init__(self, classes: int) -> None:
        super().__init__(ModelSpec(dim=DIM, classes=classes, group_features=True), Options())
        self.weight = nn.Parameter(torch.zeros(()))
        self.label, self.found = -1, Counter[tuple[int, float]]()
        self.weight.register_hook(self._note)

    def _note(self, gradient: Tensor) -> None:
        self.found[self.label, round(gradient.item(), 6)] += 1

    def forward(self, bag: Bag) -> Output:
        logits = torch.zeros(self.spec.classes)
        return Output(logits=logits, attention=torch.ones(1), evidence=torch.ones(1, self.spec.classes))

    def losses(self, bag: Bag, label: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        self.label = int(label)
        return {"bag": self.weight * 1}


@pytest.mark.parametrize(
    ("labels", "classes", "kind", "weight_of"),
    [
        ([0, 0, 0, 1], 2, "none", {0: 1.0, 1: 1.0}),
        ([0, 0, 0, 1], 2, "balanced", {0: 2 / 3, 1: 2.0}),  # 4 / (2 * 3), 4 / (2 * 1)
        ([0, 1, 0, 1], 2, "balanced", {0: 1.0, 1: 1.0}),
        ([2, 0, 1, 1, 2, 2, 2, 2], 3, "balanced", {0: 8 / 3, 1: 4 / 3, 2: 8 / 15}),
        ([0, 2, 2], 3, "balanced", {0: 1.5, 2: 0.75}),  # a class that is not there has no share
    ],
)
def test_the_weights_of_slides_by_hand(labels: list[int], classes: int, kind: str, weight_of: dict[int, float]) -> None:
    model = Tally(classes)
    train = [(f"train{i}", label) for i, label in enumerate(labels)]
    train_fold(model, toy_bag, train, VAL, recipe(1, class_weights=kind), seed=1, log=lambda *_: None)
    expected = Counter({(label, round(weight, 6)): labels.count(label) for label, weight in weight_of.items()})
    assert model.found == expected  # and no further backward pass: one term is all of the gradient
    given = sum(weight * count for (_, weight), count in model.found.items())
    assert given == pytest.approx(len(labels), abs=1e-5)  # slides weigh 1 on average


def test_balanced_weights_are_weights_of_the_losses() -> None:
    train = [(f"train{i}", int(i in (1, 3))) for i in range(8)]  # 6 and 2: 8 / 12 and 8 / 4
    table = torch.tensor([8 / 12, 2.0])
    seen = []
    for balanced in (True, False):
        model = build("abmil", dropout=0.0)
        if not balanced:
            plain = model.losses

            def weighted(bag: Bag, label: Tensor, generator: torch.Generator, plain: Callable = plain) -> object:
                return {name: term * table[label] for name, term in plain(bag, label, generator).items()}

            model.losses = weighted
        logs: list[dict[str, float]] = []
        kind = "balanced" if balanced else "none"
        trained = train_fold(
            model,
            toy_bag,
            train,
            VAL,
            recipe(3, class_weights=kind),
            seed=1,
            log=lambda _, figures, logs=logs: logs.append(figures),
        )
        seen.append((trained.state, logs))
    (one, logged), (other, _) = seen
    assert all(torch.allclose(one[name], other[name], rtol=1e-5, atol=1e-7) for name in one)
    even, _ = run(build("abmil", dropout=0.0), recipe(3))
    assert any(not torch.allclose(one[name], even.state[name], rtol=1e-3) for name in one)
    assert logged[0]["loss_bag"] < 1.5  # terms are logged as they are, not weighted
