"""One training step of each model, forward and backward, against the step that its public code takes.

    python benchmarks/bench_models.py [--patches N] [--repeats K] [--models a,b] [--memory]

Prints CPU seconds of one thread (user and system; medians of runs in turn) and their ratio, which should be at most 1.
Public steps are written anew from docs/methods.md (`published_models.py`); each model is built as its default options
have it. `--memory` prints besides how much a step of ours takes at its peak beside the bag, in a process of its own.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import published_models
import torch
from published_srmil import COLUMNS, srmil
from torch import Tensor

from sammil_cli import choices
from sammil_cli.mil.contract import Bag, MILModel
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.training.trained_model import build_model, model_class

DIM, CLASSES = 1024, 2
LABEL = torch.tensor(1)
ITSELF = {"sam-mil", "mean", "max"}  # sam-mil has bench_step.py; the others are plain layers

Step = Callable[[], object]


def main() -> None:
    """Times every model, or prints the peak of one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patches", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--models", default=",".join(n for n in choices.names(choices.MODELS) if n not in ITSELF))
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.peak:
        print(f"{peak_mib(asked.peak, asked.patches):.0f}")
        return
    print(f"{asked.patches} patches x {DIM}; CPU seconds of one step, forward and backward")
    for name in asked.models.split(","):
        ours, public = times(name, asked.patches, asked.repeats)
        memory = f"  {measured_peak(name, asked.patches):6.0f} MiB" if asked.memory else ""
        print(f"  {name:12} {ours:7.3f}  public {public:7.3f}  ratio {ours / public:5.2f}{memory}", flush=True)


def make_bag(patches: int) -> Bag:
    """A seeded bag without regions, its patches in rows of `COLUMNS`."""
    number = torch.arange(patches)
    return Bag(
        features=torch.randn(patches, DIM, generator=torch.Generator().manual_seed(0)),
        group_features=torch.empty(0, DIM),
        region=torch.full((patches,), -1),
        group_region=torch.empty(0, dtype=torch.int64),
        region_area=torch.empty(0),
        places=torch.stack([number % COLUMNS, number // COLUMNS], dim=1).float(),
    )


def make_model(name: str, bag: Bag) -> MILModel:
    """A model ready for its first step, as its recipe has it."""
    if bag.places is None:
        raise ValueError("the bag has no places")
    recipe = model_class(name).recipe
    spec = ModelSpec(
        dim=DIM, classes=CLASSES, group_features=False, dropout=recipe.dropout, loss=recipe.loss, mask_strategy="none"
    )
    torch.manual_seed(0)
    model = build_model(name, spec, {})
    model.initialise()
    first = model.first_stage()
    few = [
        replace(bag, features=bag.features[rows], region=bag.region[rows], places=bag.places[rows])
        for rows in (slice(start, None, 20) for start in range(20))
    ]
    model.begin(first.eval() if first else None, few, torch.Generator().manual_seed(0))
    return model.train()


def our_step(name: str, bag: Bag) -> Step:
    """What `training.epoch` does with one slide, but for the optimiser."""
    model, generator = make_model(name, bag), torch.Generator().manual_seed(0)

    def step() -> Tensor:
        model.zero_grad(set_to_none=True)
        loss = torch.stack(list(model.losses(bag, LABEL, generator).values())).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    return step


def times(name: str, patches: int, repeats: int) -> tuple[float, float]:
    """Median CPU seconds of our step and of the public one, in turn; each has run once before."""
    bag = make_bag(patches)
    public = srmil if name == "srmil" else getattr(published_models, name.replace("-", "_"))
    steps = (our_step(name, bag), public(bag.features, LABEL))
    for step in steps:
        step()
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for step, found in zip(steps, seconds, strict=True):
            start = time.process_time()
            step()
            found.append(time.process_time() - start)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def measured_peak(name: str, patches: int) -> float:
    """`peak_mib` in a process of its own."""
    words = [sys.executable, str(Path(__file__)), "--peak", name, "--patches", str(patches)]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def peak_mib(name: str, patches: int) -> float:
    """How far two steps raise this process's peak memory, beside the bag and the model."""
    bag = make_bag(patches)
    step = our_step(name, bag)
    before = _peak()
    step()
    step()
    return _peak() - before


def _peak() -> float:
    """Of this process alone; `ru_maxrss` starts at its parent's."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return float(text.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
