"""The checks of `gpu.py`: each prints its rows as JSON, one a line. Not run by itself."""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bench_models
import bench_sam
import bench_step
import numpy as np
import torch
from gpu_commands import commands
from gpu_rows import Asked, Row
from sam_stand_ins import Fields, StandInDecoder, draw_canvas
from torch import Tensor
from torch.nn.functional import cross_entropy

from sammil_cli import choices
from sammil_cli.config import SamSettings
from sammil_cli.features.encoders import torchvision
from sammil_cli.features.torch_encoder import TorchEncoder
from sammil_cli.mil.contract import Bag, MILModel
from sammil_cli.mil.recipe import Recipe
from sammil_cli.regions.sam_engine import rates
from sammil_cli.regions.sam_engine.generator import MaskEngine, MaskRecord, MaskSettings
from sammil_cli.regions.sam_models.build import build_sam
from sammil_cli.regions.sam_models.embed import Embedder
from sammil_cli.training.epoch import Run

EXACT, CONVOLVED = 1e-3, 1e-2  # relative; cuDNN convolves with products of 10 bits (TF32) unless it is asked not to
HALF = 5e-2
SAME_IOU, SAME_MASKS = 0.99, 0.01  # overlap of a mask with its twin; share of masks that may have none
STEPS = 20
POINTS, LITTLE_BYTES = 24, 64 << 20  # of a side; memory left to a batch of all of their prompts


def models(asked: Asked) -> Iterator[Row]:
    """Probabilities, attention and gradients of every model, against those of the CPU; and one training step."""
    bag = bench_models.make_bag(300 if asked.quick else 5000)
    there = moved(bag, asked.device)
    for name in choices.names(choices.MODELS):
        model = bench_models.make_model(name, bag).eval()
        expected = answer(model, bag)
        twin = model.to(asked.device)
        found = answer(twin, there)
        apart = max(distance(one, other) for one, other in zip(found, expected, strict=True))
        yield Row.below(f"{name}: answer and gradients", apart, CONVOLVED if name == "transmil" else EXACT)
        label = torch.tensor(1, device=asked.device)
        generator = torch.Generator(asked.device).manual_seed(0)
        terms = twin.train().losses(there, label, generator)
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        finite = all(bool(torch.isfinite(w.grad).all()) for w in twin.parameters() if w.grad is not None)
        yield Row.of(f"{name}: a training step's gradients", "finite" if finite else "not finite", good=finite)


def moved(bag: Bag, device: str) -> Bag:
    """The bag on a device."""
    tensors = {field.name: getattr(bag, field.name) for field in fields(bag)}
    return Bag(**{name: one.to(device) if isinstance(one, Tensor) else one for name, one in tensors.items()})


def answer(model: MILModel, bag: Bag) -> list[Tensor]:
    """Probabilities, attention, and the gradient of every weight that has one, on the CPU."""
    model.zero_grad(set_to_none=True)
    output = model(bag)
    cross_entropy(output.logits[None], torch.ones(1, dtype=torch.int64, device=output.logits.device)).backward()
    grads = [weight.grad for weight in model.parameters() if weight.grad is not None]
    found = [output.logits.softmax(0), output.attention, torch.cat([one.flatten() for one in grads])]
    return [one.detach().cpu().clone() for one in found]


def distance(one: Tensor, other: Tensor) -> float:
    """How far apart two tensors are, relative to the second one's norm."""
    return float((one.double() - other.double()).norm() / other.double().norm().clamp(min=1e-12))


def steps(asked: Asked) -> Iterator[Row]:
    """Time of one training step of SAM-MIL by size and precision, and how busy the GPU is meanwhile."""
    sizes = [(1000, 20)] if asked.quick else [(10_000, 200), (100_000, 200)]
    for patches, regions in sizes:
        for precision in ("float32", "bfloat16"):
            step = device_step(asked.device, patches, regions, precision == "bfloat16")
            seconds = timed(step, asked)
            yield Row.of(f"step of {patches} patches, {precision}", f"{1000 * seconds:.2f} ms{busy(step, asked)}")
    patches, regions = sizes[0]
    cpu = replace(asked, device="cpu")
    seconds = timed(device_step("cpu", patches, regions, half=False), cpu, times=3)
    yield Row.of(f"step of {patches} patches, float32, on the CPU", f"{1000 * seconds:.0f} ms")


def device_step(device: str, patches: int, regions: int, half: bool) -> Callable[[], object]:
    """What training does with one slide of SAM-MIL."""
    bag = moved(bench_step.make_bag(patches, regions)[0], device)
    model = bench_step.make_model().to(device)
    adam = torch.optim.Adam(model.parameters(), lr=2e-4, weight_decay=1e-5, fused=True)
    generator, label = torch.Generator(device).manual_seed(0), torch.tensor(1, device=device)

    def step() -> None:
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=half):
            terms = model.losses(bag, label, generator)
        adam.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        adam.step()

    return step


def timed(work: Callable[[], object], asked: Asked, times: int = STEPS) -> float:
    """Median seconds of some calls, each until the device has done it; the first ones are not counted."""
    for _ in range(2):
        work()
    found = []
    for _ in range(2 if asked.quick else times):
        asked.wait()
        begin = time.perf_counter()
        work()
        asked.wait()
        found.append(time.perf_counter() - begin)
    return statistics.median(found)


def busy(work: Callable[[], object], asked: Asked) -> str:
    """The share of time in which the GPU computes, steps one after the other as in training."""
    if asked.device == "cpu":
        return ""
    from torch.profiler import ProfilerActivity, profile

    asked.wait()
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        begin = time.perf_counter()
        for _ in range(STEPS):
            work()
        asked.wait()
        wall = time.perf_counter() - begin
    kernels = sum(event.self_device_time_total for event in seen.key_averages())
    return f", GPU busy {kernels / 1e6 / wall:.0%}"


def resume(asked: Asked) -> Iterator[Row]:
    """A training that is stopped and taken up again, and the same training twice."""
    once, again = trained(asked, (4,)), trained(asked, (4,))
    stopped = trained(asked, (2, 2))
    for words, other in (("the same seed twice", again), ("stopped after two epochs and taken up again", stopped)):
        same = torch.equal(once, other)
        yield Row.below(f"{words}: weights {'equal to the bit' if same else 'differ'}", distance(other, once), EXACT)


def trained(asked: Asked, parts: tuple[int, ...]) -> Tensor:
    """All weights after these numbers of epochs, between which everything is written out and taken up."""
    bags = {str(number): moved(bench_step.make_bag(200 + number, 10)[0], asked.device) for number in range(6)}
    train = [(slide, int(slide) % 2) for slide in bags]
    recipe = Recipe(epochs=sum(parts), min_epochs=0)
    state: dict[str, Tensor] = {}
    done = 0
    for part in parts:
        model = bench_step.make_model().to(asked.device)
        torch.manual_seed(1)
        run = Run(model, train, recipe, seed=1)
        if state:
            run.restore(state)
        for number in range(done, done + part):
            run.epoch(number, bags.__getitem__)
        done += part
        state = {name: tensor.clone() for name, tensor in run.state().items()}
    return torch.cat([weight.detach().flatten().cpu() for weight in model.parameters()])


def sam(asked: Asked) -> Iterator[Row]:
    """Embeddings and masks against the CPU's; seconds per canvas of ViT-H and MobileSAM."""
    for word in ("vit_t",) if asked.quick else ("vit_t", "vit_b"):
        torch.manual_seed(0)
        model = build_sam(word)
        pixels = torch.randn(1, 3, 1024, 1024)
        expected = Embedder(model)(pixels)
        model, pixels = model.to(asked.device), pixels.to(asked.device)
        for precision in ("float32", "bfloat16") if asked.device == "cpu" else ("float32", "bfloat16", "float16"):
            apart = distance(Embedder(model, precision)(pixels).cpu(), expected)
            yield Row.below(f"{word} embedding, {precision}", apart, CONVOLVED if precision == "float32" else HALF)
    yield from same_masks(asked)
    image, tissue = draw_canvas(1024, 0.45)
    for word in ("vit_t",) if asked.quick else ("vit_h", "vit_t"):
        for precision in ("float32",) if asked.device == "cpu" else ("float32", "bfloat16", "float16"):
            settings = SamSettings(proposer="sam", sam_model=word, sam_precision=precision).model_dump()
            cost, count = rates.measure(settings, asked.device, image), rates.count(settings, tissue)
            seconds = sum(cost[part] * count[part] for part in cost)
            words = f"{word}, {precision}, canvas of 1024 px, 45 % tissue"
            yield Row.of(words, f"{seconds:.2f} s ({count['crops']:.0f} crops, {count['prompts']:.0f} points)")


def same_masks(asked: Asked) -> Iterator[Row]:
    """Masks whose logits and ratings are given, made on the CPU and on the device."""
    cpu, there = (masks(device)[0] for device in ("cpu", asked.device))
    words = f"{len(there)} masks, {len(cpu)} on the CPU: share without a twin"
    yield Row.below(words, without_twin(there, cpu), SAME_MASKS)


def without_twin(masks: list[MaskRecord], others: list[MaskRecord]) -> float:
    """The share of masks that have no equal one of the same prompt among the others, or the other way round."""
    overlaps = [max((bench_sam.iou(one.mask, twin.mask) for twin in near(others, one)), default=0.0) for one in masks]
    lost = sum(overlap < SAME_IOU for overlap in overlaps) + abs(len(masks) - len(others))
    return lost / max(len(others), 1)


def near(masks: list[MaskRecord], one: MaskRecord) -> Iterator[MaskRecord]:
    """Those of the same prompt."""
    return (other for other in masks if np.allclose(other.point, one.point, atol=0.01))


def masks(device: str, points: int = 8, at_once: int | None = None) -> tuple[list[MaskRecord], int]:
    """What MobileSAM's engine draws of stand-in logits, and how many prompts it asked at once in the end."""
    torch.manual_seed(0)
    settings = MaskSettings(
        points_per_side=points,
        pred_iou_thresh=bench_sam.THRESHOLD,
        stability_thresh=bench_sam.THRESHOLD,
        crop_layers=0,
        crop_points_downscale=1,
        prompts_at_once=at_once,
    )
    engine = MaskEngine(build_sam("vit_t").to(device), settings)
    engine.decoder = StandInDecoder(engine.decoder, Fields(device))
    return engine.generate(draw_canvas(1024, 0.45)[0]), engine._prompts.size


def encoders(asked: Asked) -> Iterator[Row]:
    """Features against the CPU's, and patches a second, by precision."""
    for backbone in ("squeezenet1_1",) if asked.quick else ("resnet50", "vit_b_16"):
        with TemporaryDirectory() as folder:
            cpu, there = (make_encoder(backbone, device, Path(folder)) for device in ("cpu", asked.device))
        few = np.random.default_rng(0).standard_normal((8, 3, 224, 224)).astype(np.float32)
        many = np.repeat(few, 1 if asked.quick else 32, axis=0)
        expected = torch.from_numpy(cpu.encode(few))
        for precision in ("float32", "bfloat16") if asked.device == "cpu" else ("float32", "bfloat16", "float16"):
            there.compute_in(precision)
            apart = distance(torch.from_numpy(there.encode(few)), expected)
            yield Row.below(f"{backbone}, {precision}: features", apart, CONVOLVED if precision == "float32" else HALF)
            seconds = timed(partial(there.encode, many), asked, times=5)
            yield Row.of(f"{backbone}, {precision}: {len(many)} at once", f"{len(many) / seconds:.0f} patches/s")


def make_encoder(backbone: str, device: str, folder: Path) -> TorchEncoder:
    """A torchvision encoder with the same random weights on any device."""
    path = folder / f"{backbone}.pth"
    if not path.is_file():
        torch.manual_seed(0)
        torch.save(torchvision.random_weights({"encoder_backbone": backbone}), path)
    return torchvision.build(weights=path, device=device, backbone=backbone, input_px=224)


def memory(asked: Asked) -> Iterator[Row]:
    """A batch that does not fit is halved until it does, and gives the same masks."""
    if asked.device == "cpu":
        yield Row.of("a batch that does not fit", "needs a GPU")
        return
    expected, _ = masks(asked.device, POINTS, at_once=16)
    room = torch.cuda.max_memory_reserved(asked.device) + LITTLE_BYTES
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(asked.device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, room / total), asked.device)
    found, at_once = masks(asked.device, POINTS, at_once=POINTS**2)
    words = f"{at_once} of {POINTS**2} prompts"
    yield Row.of("at once, once memory had run out", words, good=at_once < POINTS**2)
    yield Row.below(f"{len(found)} masks: share without a twin", without_twin(found, expected), SAME_MASKS)


def together(asked: Asked) -> Iterator[Row]:
    """Two processes on one device: what they do together against what one does."""
    words = [sys.executable, __file__, "rate", "--device", asked.device, *(["--quick"] if asked.quick else [])]
    alone = rate_of(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    found = [rate_of(one) for one in both]
    yield Row.of("one process that encodes", f"{alone:.0f} patches/s")
    yield Row.of("two of them", f"{sum(found):.0f} patches/s, {sum(found) / alone:.2f}x")


def rate_of(process: "subprocess.Popen[str]") -> float:
    """What a process that runs `rate` prints."""
    said = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"a process that encodes ended with {process.returncode}")
    return float(json.loads(said.splitlines()[-1])["measured"])


def rate(asked: Asked) -> Iterator[Row]:
    """Patches a second, for some seconds: of `together`."""
    with TemporaryDirectory() as folder:
        encoder = make_encoder("squeezenet1_1" if asked.quick else "resnet50", asked.device, Path(folder))
    batch = np.random.default_rng(0).standard_normal((4 if asked.quick else 64, 3, 224, 224)).astype(np.float32)
    encoder.encode(batch)
    begin, done = time.perf_counter(), 0
    while time.perf_counter() - begin < (1 if asked.quick else 8):
        encoder.encode(batch)
        done += len(batch)
    yield Row.of("rate", f"{done / (time.perf_counter() - begin):.2f}")


CHECKS: dict[str, Callable[[Asked], Iterator[Row]]] = {
    "models": models,
    "training": resume,
    "steps": steps,
    "sam": sam,
    "encoders": encoders,
    "memory": memory,
    "commands": commands,
    "together": together,
}


def main() -> None:
    """Runs one check."""
    parser = argparse.ArgumentParser()
    parser.add_argument("check")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--quick", action="store_true")
    parsed = parser.parse_args()
    asked = Asked(device=parsed.device, quick=parsed.quick)
    if asked.device.startswith("cuda"):
        torch.cuda.set_device(asked.device)
    known: dict[str, Any] = {**CHECKS, "rate": rate}
    for row in known[parsed.check](asked):
        print(row.as_json(), flush=True)


if __name__ == "__main__":
    main()
