"""One training step of SAM-MIL (forward, backward, Adam) against the published step and against its floor.

Prints CPU seconds of one thread (user and system; medians of runs in turn), ratios, and the memory that a step takes
beside the bag and the model. The floor is the two matrix products that no implementation avoids: X W and its
gradient. First it checks that the terms of the loss have the values of their formulas, computed naively; last it times
each form of the consistency term alone.
"""

import argparse
import copy
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from published_step import (
    CENTER,
    CLASSES,
    CONSISTENCY_WEIGHT,
    DIM,
    DROPOUT,
    GROUP_ROW_AREA,
    HIDDEN,
    MASK_RATIO,
    PSEUDO_BAGS,
    PSEUDO_WEIGHT,
    SLOPE,
    UNCOVERED_AREA,
    Core,
    PublishedStep,
    pairwise_consistency,
)
from torch import Tensor
from torch.nn.functional import cross_entropy

from sammil_cli.mil.consistency import FORMS, consistency
from sammil_cli.mil.contract import Bag, MILModel
from sammil_cli.mil.masking import keep_instances
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.pseudo_bags import draw_parts
from sammil_cli.training.trained_model import build_model

AREAS_PX = (30, 400_000)  # of regions on the canvas, log-uniform
UNCOVERED_SHARE = 0.15
TOLERANCE = 1e-5  # relative, single precision
LABEL = torch.tensor(1)

# What is timed: name -> (type of the stored features, type of the products).
OURS = {
    "float32": (torch.float32, torch.float32),
    "bfloat16": (torch.bfloat16, torch.bfloat16),
    "bfloat16, float16 bags": (torch.float16, torch.bfloat16),
}
# At least this many times as fast as the published step; at most this many times the floor; at most this many MB.
SPEED = {("float32", 10_000): 3.5, ("bfloat16", 10_000): 9, ("float32", 100_000): 5, ("bfloat16", 100_000): 14}
FLOOR = {("float32", 10_000): 1.5}
MEMORY = {("float32", 10_000): 110, ("float32", 100_000): 400}

Step = Callable[[], object]


def main() -> None:
    """Checks, times every size, then measures memory; each figure with its target where it has one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=["10000x200", "100000x200"], help="patches x regions")
    parser.add_argument("--repeats", type=int, help="default: 5 for small bags, 2 for large ones")
    parser.add_argument("--peak", help="print the memory (MB) of this step for the first size, and nothing else")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    sizes = [tuple(map(int, size.split("x"))) for size in asked.sizes]
    if asked.peak:
        print(f"{peak_mb(asked.peak, *sizes[0]):.0f}")
        return
    check()
    for patches, regions in sizes:
        seconds = run_in_turn(patches, regions, asked.repeats or max(2, min(5, 50_000 // patches)))
        print(f"\n{patches} patches, {regions} regions")
        for name in ("published", *OURS):
            peak = measure_peak(name, f"{patches}x{regions}")
            print(f"  {name:24}{describe(name, patches, seconds, peak)}")
        forms = time_forms(patches, regions)
        print("  consistency alone, ms   " + ", ".join(f"{form} {1000 * value:.1f}" for form, value in forms.items()))


def describe(name: str, patches: int, seconds: dict[str, float], peak: float) -> str:
    """The figures of one step, with its targets."""
    text = f"{seconds[name]:8.3f} s "
    if name in OURS:
        kind = "floor " + name.split(",")[0]
        text += f"{seconds['published'] / seconds[name]:6.1f}x faster{aim('>=', SPEED.get((name, patches)))}"
        text += f" {seconds[name] / seconds[kind]:6.2f}x the floor{aim('<=', FLOOR.get((name, patches)))}"
    return text + f" {peak:6.0f} MB{aim('<=', MEMORY.get((name, patches)))}"


def aim(sign: str, value: float | None) -> str:
    """A target in brackets; nothing where there is none."""
    return "" if value is None else f" ({sign} {value:g})"


def make_bag(patches: int, regions: int, dtype: torch.dtype = torch.float32) -> tuple[Bag, Tensor]:
    """A seeded bag: a region has patches in proportion to its area, at least one, and a group feature.

    Returns:
        the bag, and its instances (N, d) in one tensor that shares its memory.
    """
    rng = np.random.default_rng(0)
    area = np.geomspace(*AREAS_PX, regions).round()
    covered = round((1 - UNCOVERED_SHARE) * patches)
    drawn = rng.choice(regions, covered - regions, p=area / area.sum())
    region = np.concatenate([np.arange(regions), drawn, np.full(patches - covered, -1)])
    generator = torch.Generator().manual_seed(0)
    instances = torch.empty(patches + regions, DIM, dtype=dtype)
    for block in torch.split(instances, 1000):  # no second bag in memory
        block.copy_(torch.randn(block.shape, generator=generator))
    bag = Bag(
        features=instances[:patches],
        group_features=instances[patches:],
        region=torch.from_numpy(rng.permutation(region)),
        group_region=torch.arange(regions),
        region_area=torch.from_numpy(area).float(),
    )
    return bag, instances


def make_model(dropout: float = DROPOUT, form: str = "divergence") -> MILModel:
    """SAM-MIL with the paper's settings, and sammil's form of the consistency term."""
    spec = ModelSpec(
        dim=DIM,
        classes=CLASSES,
        group_features=True,
        dropout=dropout,
        mask_ratio=MASK_RATIO,
        sigmoid_slope=SLOPE,
        sigmoid_center=CENTER,
        pseudo_bags=PSEUDO_BAGS,
        pseudo_bag_weight=PSEUDO_WEIGHT,
        consistency_weight=CONSISTENCY_WEIGHT,
        consistency_form=form,
    )
    model = build_model("sam-mil", spec, {})
    torch.manual_seed(0)
    model.initialise()
    return model.train()


def make_step(name: str, patches: int, regions: int) -> Step:
    """`published`, or one of `OURS`, on a bag of its own."""
    model = make_model()
    if name == "published":
        bag, instances = make_bag(patches, regions)
        student = Core()
        student.load_state_dict(model.state_dict())
        return PublishedStep(student, copy.deepcopy(student), instances, instance_area(bag), LABEL)
    stored, products = OURS[name]
    return our_step(model, make_bag(patches, regions, stored)[0], products)


def instance_area(bag: Bag) -> Tensor:
    """The published label of each instance's segment: its area."""
    area = torch.cat([bag.region_area.new_full((1,), UNCOVERED_AREA), bag.region_area])[bag.region + 1]
    return torch.cat([area, area.new_full((len(bag.group_features),), GROUP_ROW_AREA)])


def our_step(model: MILModel, bag: Bag, products: torch.dtype) -> Step:
    """What `training.loop` does with one slide."""
    adam = torch.optim.Adam(model.parameters(), lr=2e-4, weight_decay=1e-5, fused=True)
    generator = torch.Generator().manual_seed(0)

    def step() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=products == torch.bfloat16):
            terms = model.losses(bag, LABEL, generator)
        values = torch.stack(list(terms.values()))
        adam.zero_grad(set_to_none=True)
        values.sum().backward()  # type: ignore[no-untyped-call]
        adam.step()
        return values.detach()

    return step


def make_floor(patches: int, regions: int, dtype: torch.dtype) -> Step:
    """The embedding's product X W and the product of its gradient, into memory that is there already."""
    count = patches + regions
    x, gradient = torch.randn(count, DIM).to(dtype), torch.randn(count, HIDDEN).to(dtype)
    weight = torch.randn(HIDDEN, DIM).to(dtype)
    embedded, d_weight = torch.empty(count, HIDDEN, dtype=dtype), torch.empty(HIDDEN, DIM, dtype=dtype)

    def step() -> None:
        torch.mm(x, weight.T, out=embedded)
        torch.mm(gradient.T, x, out=d_weight)

    return step


def run_in_turn(patches: int, regions: int, repeats: int) -> dict[str, float]:
    """Median CPU seconds of every step and floor; each of them has run once, on a small bag, before."""
    for name in ("published", *OURS):
        make_step(name, 1000, 20)()
    steps = {name: make_step(name, patches, regions) for name in ("published", *OURS)}
    steps |= {f"floor {name}": make_floor(patches, regions, OURS[name][1]) for name in ("float32", "bfloat16")}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            start = time.process_time()
            step()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def measure_peak(name: str, size: str) -> float:
    """Memory (MB) of one step, measured in a process of its own."""
    command = [sys.executable, __file__, "--peak", name, "--sizes", size]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def peak_mb(name: str, patches: int, regions: int) -> float:
    """How far one step lifts the peak of this process above bag and model; libraries are loaded before."""
    make_step(name, 1000, 20)()
    step = make_step(name, patches, regions)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far may be that of making the bag
    before = high_water_mb()
    step()
    return high_water_mb() - before


def high_water_mb() -> float:
    """The most memory that this process has had since the mark was last cleared."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1000


def naive_divergence(attention: Tensor, segment: Tensor) -> Tensor:
    """The definition of docs/methods.md §10.5, segment by segment."""
    total = attention.sum() * 0
    for value in torch.unique(segment):
        inside = attention[segment == value].double()
        share = inside / inside.sum()
        total = total + inside.sum().detach() * (share * torch.log(len(inside) * share)).sum()
    return total.to(attention.dtype)


NAIVE = {"distance": pairwise_consistency, "divergence": naive_divergence}


def time_forms(patches: int, regions: int) -> dict[str, float]:
    """Median CPU seconds of each form of the consistency term alone, forward and backward."""
    members = make_bag(patches, regions)[0].groups("region").members(True)
    scores = torch.randn(patches + regions, generator=torch.Generator().manual_seed(0), requires_grad=True)
    times: dict[str, list[float]] = {form: [] for form in FORMS}
    for _ in range(20):
        for form, found in times.items():
            start = time.process_time()
            consistency(form, scores, members).backward()  # type: ignore[no-untyped-call]
            found.append(time.process_time() - start)
    return {form: statistics.median(found) for form, found in times.items()}


def check() -> None:
    """Compares the terms of the loss with the published formulas, and with what sammil has in place of one."""
    for form in NAIVE:
        check_form(form)
    print(f"loss terms equal their formulas within {TOLERANCE:g}, gradients within {10 * TOLERANCE:g}")


def check_form(form: str) -> None:
    """Loss and gradient for the same weights, mask, partition and regions, with one form of the consistency term."""
    (bag, instances), model = make_bag(2000, 40), make_model(dropout=0.0, form=form)
    spec, groups = model.spec, bag.groups("region")
    terms = model.losses(bag, LABEL, torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(7)  # the same mask and partition once more
    keep = keep_instances(
        spec.mask_strategy,
        groups,
        group_features=True,
        target=spec.mask_ratio,
        function=spec.mask_ratio_function,
        slope=spec.sigmoid_slope,
        center=spec.sigmoid_center,
        generator=generator,
    )
    part, parts = draw_parts(len(keep), PSEUDO_BAGS, generator, keep.device)
    core = Core(dropout=0.0)
    core.load_state_dict(model.state_dict())
    entropies = [cross_entropy(core(instances[part == index])[None], LABEL[None]) for index in range(parts)]
    members = groups.members(True)
    inside = core.weigh(core.patch_to_emb(instances))[members.place]
    naive = {
        "bag": cross_entropy(core(instances[keep])[None], LABEL[None]),
        "pseudo_bags": PSEUDO_WEIGHT * torch.stack(entropies).mean(),
        "consistency": CONSISTENCY_WEIGHT * NAIVE[form](inside, members.group),
    }
    if terms.keys() != naive.keys():
        raise SystemExit(f"the terms are {', '.join(terms)}")
    for name, value in naive.items():
        if not torch.isclose(terms[name], value, rtol=TOLERANCE, atol=0):
            raise SystemExit(f"{name} ({form}) is {float(terms[name]):.8g}, its formula gives {float(value):.8g}")
    sum(naive.values()).backward()
    sum(terms.values()).backward()
    for name, ours in model.named_parameters():
        theirs = core.get_parameter(name).grad
        if ours.grad is None or theirs is None or (ours.grad - theirs).norm() > 10 * TOLERANCE * theirs.norm():
            raise SystemExit(f"the gradient of {name} ({form}) differs from the formulas'")


if __name__ == "__main__":
    main()
