"""Ten training and six validation slides that one number separates, and short ways to train on them."""

import math

import torch
from torch import Tensor, nn

from sammil_cli.mil.contract import Bag, MILModel, Options, Output
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.recipe import Recipe
from sammil_cli.training.loop import Trained, train_fold
from sammil_cli.training.trained_model import build_model

DIM = 4
RECIPE = Recipe(epochs=12, patience=12, min_epochs=0, learning_rate=1e-3, weight_decay=0.0)
TRAIN = [(f"train{i}", i % 2) for i in range(10)]
VAL = [(f"val{i}", i % 2) for i in range(6)]


def toy_bag(slide: str) -> Bag:
    """Ten patches of noise; in a slide of an odd number, two of them are far off along the third feature."""
    number = int(slide.lstrip("trainvesl"))
    generator = torch.Generator().manual_seed(100 * len(slide) + number)
    features = torch.randn(10, DIM, generator=generator)
    if number % 2:
        features[:2, 2] += 6
    return Bag(
        features=features,
        group_features=features[:4].mean(0, keepdim=True),
        region=torch.tensor([0] * 4 + [-1] * 6),
        group_region=torch.tensor([0]),
        region_area=torch.tensor([500.0]),
        places=torch.cartesian_prod(torch.arange(5.0), torch.arange(2.0)),
    )


def build(name: str = "abmil", seed: int = 0, **changes: object) -> MILModel:
    torch.manual_seed(seed)
    model = build_model(name, ModelSpec(**{"dim": DIM, "classes": 2, "group_features": True, **changes}), {})
    model.initialise()
    return model


def run(
    model: MILModel, recipe: Recipe = RECIPE, seed: int = 1, load: object = toy_bag
) -> tuple[Trained, list[dict[str, float]]]:
    logs: list[dict[str, float]] = []
    trained = train_fold(model, load, TRAIN, VAL, recipe, seed=seed, log=lambda epoch, figures: logs.append(figures))
    return trained, logs


def recipe(epochs: int, **changes: object) -> Recipe:
    return Recipe(
        **{"epochs": epochs, "patience": 99, "min_epochs": 0, "learning_rate": 1e-3, "weight_decay": 1e-5, **changes}
    )


class Scripted(MILModel):
    """Says in epoch e of each validation slide what the script says: the probability of class 1."""

    def __init__(self, script: list[list[float]]) -> None:
        super().__init__(ModelSpec(dim=DIM, classes=2, group_features=True), Options())
        self.script, self.asked = script, 0
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("epoch", torch.tensor(-1))

    def train(self, mode: bool = True) -> "Scripted":
        self.epoch += int(mode)  # the loop calls train() at the start of each epoch
        super().train(mode)
        return self

    def forward(self, bag: Bag) -> Output:
        p = self.script[int(self.epoch)][self.asked % len(VAL)]
        self.asked += 1
        logits = torch.tensor([math.log(1 - p), math.log(p)], dtype=torch.float64)
        return Output(logits=logits, attention=torch.ones(1), evidence=torch.ones(1, 2))

    def losses(self, bag: Bag, label: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        return {"bag": self.weight.sum()}


def scripted(*epochs: list[float], patience: int = 99, min_epochs: int = 0) -> tuple[Trained, int]:
    """Trains a scripted model; returns what was chosen and how many epochs ran."""
    recipe = Recipe(epochs=len(epochs), patience=patience, min_epochs=min_epochs, learning_rate=1e-3, weight_decay=0.0)
    trained, logs = run(Scripted(list(epochs)), recipe)
    return trained, len(logs)


# Labels of VAL are 0, 1, 0, 1, 0, 1. AUC by hand: of the 9 pairs, those in the right order.
CHANCE = [0.5] * 6  # 0.5
GOOD = [0.2, 0.7, 0.3, 0.6, 0.65, 0.9]  # 8 of 9
SURE = [0.1, 0.8, 0.2, 0.6, 0.65, 0.95]  # 8 of 9, smaller loss than GOOD
BEST = [0.3, 0.7, 0.3, 0.7, 0.4, 0.6]  # 9 of 9
