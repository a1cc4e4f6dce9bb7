"""What an epoch costs besides its steps and the forward passes of validation: figures, gradient norms, checkpoint.

The baseline is the same epochs of the same model on the same bags, with nothing else done; both alternate in one run.
Processor time of one thread.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from sammil_cli.mil.contract import Bag, MILModel
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.recipe import Recipe
from sammil_cli.training import epoch as epochs
from sammil_cli.training.learning_curves import CurveFile
from sammil_cli.training.loop import predict, train_fold
from sammil_cli.training.trained_model import build_model

DIM, REGIONS, TARGET = 512, 8, 0.10
VALIDATION = 4  # training bags for one of validation


class NoGradients:
    """Stands in for `MeanGradients`: averages nothing."""

    def __init__(self, weights: object, steps: int, epoch: int) -> None:
        del weights, steps, epoch

    def add_terms(self, *terms: object) -> None:
        """Nothing."""

    def add_total(self, step: int) -> None:
        """Nothing."""

    def norms(self, names: list[str]) -> dict[str, float]:
        """None."""
        del names
        return {}


def main() -> None:
    """Times both ways, several times, and prints the smallest of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bags", type=int, nargs="*", default=[24])
    parser.add_argument("--patches", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for name in ("abmil", "sam-mil"):
        for number in asked.bags:
            whole, bare = [], []
            for _ in range(asked.repeats):
                whole.append(seconds(partial(learn, name, number, asked.patches, asked.epochs)) / asked.epochs)
                bare.append(seconds(partial(step, name, number, asked.patches, asked.epochs)) / asked.epochs)
            share = 1 - min(bare) / min(whole)
            met = "met" if share <= TARGET else "missed"
            print(
                f"{name}, {number} bags of {asked.patches} patches: {min(whole) * 1e3:.0f} ms an epoch, "
                f"{(min(whole) - min(bare)) * 1e3:.1f} ms of them outside of its steps, {share:.0%} "
                f"(target {TARGET:.0%}: {met})"
            )


def seconds(work: Callable[[], None]) -> float:
    """Processor time of a call."""
    before = time.process_time()
    work()
    return time.process_time() - before


def learn(name: str, number: int, patches: int, most: int) -> None:
    """Trains as `sammil train` does, with its curve and checkpoint on disk."""
    model, load, train, val = made(name, number, patches)
    with tempfile.TemporaryDirectory() as folder, CurveFile(Path(folder) / "curve.csv") as curve:
        train_fold(
            model,
            load,
            train,
            val,
            recipe(most),
            seed=1,
            log=lambda epoch, figures, **_: curve.add(epoch, figures),
            checkpoint=Path(folder) / "fold.safetensors",
        )


def step(name: str, number: int, patches: int, most: int) -> None:
    """Takes the same steps and does the same forward passes, and nothing else."""
    model, load, train, val = made(name, number, patches)
    kept, epochs.MeanGradients = epochs.MeanGradients, NoGradients
    try:
        run = epochs.Run(model, train, recipe(most), 1)
        for at in range(most):
            run.epoch(at, load)
            predict(model, load, [slide for slide, _ in val])
    finally:
        epochs.MeanGradients = kept


def recipe(most: int) -> Recipe:
    """So many epochs, without an early end."""
    return Recipe(epochs=most, patience=most, min_epochs=0, learning_rate=2e-4, weight_decay=1e-5)


Labelled = list[tuple[str, int]]


def made(name: str, number: int, patches: int) -> tuple[MILModel, Callable[[str], Bag], Labelled, Labelled]:
    """A model, and bags in memory of which some are for validation."""
    torch.manual_seed(0)
    model = build_model(name, ModelSpec(dim=DIM, classes=2, group_features=name == "sam-mil"), {})
    model.initialise()
    slides = [(f"s{at}", at % 2) for at in range(number + max(number // VALIDATION, 2))]
    bags = {slide: bag_of(patches) for slide, _ in slides}
    return model, bags.__getitem__, slides[:number], slides[number:]


def bag_of(patches: int) -> Bag:
    """Noise, in regions of one size."""
    features, region = torch.randn(patches, DIM), torch.arange(patches) % REGIONS
    return Bag(
        features=features,
        group_features=torch.stack([features[region == at].mean(0) for at in range(REGIONS)]),
        region=region,
        group_region=torch.arange(REGIONS),
        region_area=torch.full((REGIONS,), 1e6),
        places=torch.cartesian_prod(torch.arange(float(patches // 20)), torch.arange(20.0)),
    )


if __name__ == "__main__":
    main()
