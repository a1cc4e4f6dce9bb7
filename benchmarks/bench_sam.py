"""SAM's automatic masks: the official generator against ours, on a canvas of 1024 px with 45 % tissue.

Weights are random, whose masks are noise. Both run their own decoder, then its mask logits and ratings give way to the
same fields: seeded ellipses around the prompt in three nested sizes, with edges as steep as SAM's. Filters, duplicates
and run lengths thus see what real masks would give them. Making the fields is not counted.

Every variant runs in a process of its own. Time is CPU time of one thread; with `--device cuda` it is wall time. All
points in float32 have to give the official masks in the official order.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from sam_stand_ins import Fields, StandInDecoder, draw_canvas, stand_in_officially
from segment_anything import SamAutomaticMaskGenerator, sam_model_registry
from segment_anything.build_sam import _build_sam

from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.regions.sam_engine.generator import MaskEngine, MaskSettings

CANVAS_PX, TISSUE_SHARE = 1024, 0.45
THRESHOLD = 0.6  # of predicted IoU and of stability, as SAM-MIL
SAME_IOU, MEMORY_SHARE = 0.99, 0.25  # a mask is the official one from here on; target for memory
TINY = {"encoder_embed_dim": 64, "encoder_depth": 2, "encoder_num_heads": 1, "encoder_global_attn_indexes": [1]}
MODELS: dict[str, Callable[..., Any]] = dict(sam_model_registry) | {"tiny": partial(_build_sam, **TINY)}


class Ours(NamedTuple):
    """A variant of our engine; `faster`: targets on a CPU and on a GPU."""

    tissue_only: bool
    precision: Any
    faster: tuple[float, float]


OURS = {
    "all points, float32": Ours(False, "float32", (2.5, 5)),
    "points on tissue, float32": Ours(True, "float32", (5, 5)),
    "points on tissue, bfloat16": Ours(True, "bfloat16", (10, 5)),
}


class Seen(NamedTuple):
    """A mask as both engines give it."""

    mask: RegionMask
    predicted_iou: float
    point: tuple[float, float]


def main() -> None:
    """Runs all variants, checks that ours gives the official masks, and prints a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=sorted(MODELS), default="vit_b")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--points", type=int, default=32, help="of a side")
    parser.add_argument("--crop-layers", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a tiny encoder and 64 points: a try, no measurement")
    parser.add_argument("--skip-official", action="store_true", help="ours only: no check, no ratio")
    parser.add_argument("--child", nargs=2, metavar=("VARIANT", "FILE"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.quick:
        asked.model, asked.points = "tiny", 8
    if asked.child:
        print(json.dumps(measure(asked, asked.child[0], Path(asked.child[1]))))
        return
    print(f"{asked.model}, {asked.points} x {asked.points} points, crop layers {asked.crop_layers}, {asked.device}")
    names = list(OURS) if asked.skip_official else ["official", *OURS]
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(names):
            figures[name] = in_child(name, Path(folder) / f"{number}.npz")
            if not asked.skip_official and number == 1:
                check(*(load(Path(folder) / f"{number}.npz") for number in (0, 1)))
            print(describe(name, figures, asked.device), flush=True)


def describe(name: str, figures: dict[str, dict[str, float]], device: str) -> str:
    """A row: seconds, ratio and memory with their targets, masks."""
    mine, base = figures[name], figures.get("official")
    text = f"  {name:28}{mine['seconds']:8.1f} s"
    if base and name in OURS:
        goal = OURS[name].faster[device != "cpu"]
        text += f" {base['seconds'] / mine['seconds']:5.1f}x faster (>= {goal:g})"
    text += f" {mine['peak_mb']:6.0f} MB"
    if base and name in OURS:
        text += f" (<= {MEMORY_SHARE * base['peak_mb']:.0f})"
    return text + f" {mine['masks']:.0f} masks of {mine['points']:.0f} points"


def in_child(name: str, file: Path) -> dict[str, float]:
    """The figures of a variant, run in a fresh process that leaves its masks in `file`."""
    command = [sys.executable, __file__, *sys.argv[1:], "--child", name, str(file)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(asked: argparse.Namespace, name: str, file: Path) -> dict[str, float]:
    """Seconds without those of the fields, and how far memory rises above the model."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    on_gpu = asked.device != "cpu"
    clock = gpu_clock if on_gpu else time.process_time
    model = MODELS[asked.model](checkpoint=None).to(asked.device)
    fields = Fields(asked.device, clock)
    image, tissue = draw_canvas(CANVAS_PX, TISSUE_SHARE)
    run = make_official(model, fields, asked) if name == "official" else make_ours(model, fields, asked, OURS[name])
    if on_gpu:
        run(image, tissue)  # a GPU's libraries are loaded and tuned on first use
    fields.seconds, fields.prompts, before = 0.0, 0, reset_peak(on_gpu)
    start = clock()
    records = run(image, tissue)
    seconds = clock() - start - fields.seconds
    peak = peak_mb(on_gpu) - before
    save(file, [as_seen(record) for record in records])
    return {"seconds": seconds, "peak_mb": peak, "masks": len(records), "points": fields.prompts}


Run = Callable[[NDArray[np.uint8], NDArray[np.bool_]], list[Any]]


def make_official(model: Any, fields: Fields, asked: argparse.Namespace) -> Run:
    """The official generator with SAM-MIL's parameters; it knows nothing of tissue."""
    stand_in_officially(model, fields)
    generator = SamAutomaticMaskGenerator(
        model,
        points_per_side=asked.points,
        pred_iou_thresh=THRESHOLD,
        stability_score_thresh=THRESHOLD,
        crop_n_layers=asked.crop_layers,
    )
    return lambda image, _: generator.generate(image)


def make_ours(model: Any, fields: Fields, asked: argparse.Namespace, variant: Ours) -> Run:
    """Our engine with the same parameters."""
    settings = MaskSettings(
        points_per_side=asked.points,
        pred_iou_thresh=THRESHOLD,
        stability_thresh=THRESHOLD,
        crop_layers=asked.crop_layers,
        crop_points_downscale=1,
        precision=variant.precision,
    )
    engine = MaskEngine(model, settings)
    engine.decoder = StandInDecoder(engine.decoder, fields)
    return lambda image, tissue: engine.generate(image, tissue if variant.tissue_only else None)


def as_seen(record: Any) -> Seen:
    """A record of either engine."""
    if not isinstance(record, dict):
        return Seen(record.mask, record.predicted_iou, record.point)
    x, y = record["point_coords"][0]
    return Seen(RegionMask.of(record["segmentation"]), record["predicted_iou"], (x, y))


def save(file: Path, masks: list[Seen]) -> None:
    """Masks as arrays."""
    np.savez(
        file,
        box=np.array([seen.mask.box for seen in masks]),
        runs=np.concatenate([seen.mask.runs for seen in masks]),
        count=np.array([len(seen.mask.runs) for seen in masks]),
        predicted_iou=np.array([seen.predicted_iou for seen in masks]),
        point=np.array([seen.point for seen in masks]),
    )


def load(file: Path) -> list[Seen]:
    """What `save` wrote."""
    with np.load(file) as kept:
        runs = np.split(kept["runs"], np.cumsum(kept["count"])[:-1])
        rows = zip(kept["box"].tolist(), runs, kept["predicted_iou"].tolist(), kept["point"].tolist(), strict=True)
        return [Seen(RegionMask(box=tuple(box), runs=run), iou, tuple(point)) for box, run, iou, point in rows]


def check(official: list[Seen], ours: list[Seen]) -> None:
    """Leaves unless both are the same masks, of the same prompts, in the same order."""
    if len(official) != len(ours):
        raise SystemExit(f"ours gives {len(ours)} masks, the official generator {len(official)}")
    lowest = 1.0
    for number, (theirs, mine) in enumerate(zip(official, ours, strict=True)):
        same_prompt = np.allclose(theirs.point, mine.point, atol=0.01)
        if not same_prompt or abs(theirs.predicted_iou - mine.predicted_iou) > 1e-4:
            raise SystemExit(f"mask {number} is of {mine.point}, the official one of {theirs.point}")
        lowest = min(lowest, iou(theirs.mask, mine.mask))
    if lowest < SAME_IOU:
        raise SystemExit(f"a mask overlaps the official one with an IoU of {lowest:.4f} only")
    print(f"  all {len(ours)} masks are the official ones in their order, lowest IoU {lowest:.4f}")


def iou(one: RegionMask, other: RegionMask) -> float:
    """Intersection over union of two masks."""
    window = (0, 0, CANVAS_PX, CANVAS_PX)
    a, b = one.within(window), other.within(window)
    return float((a & b).sum() / (a | b).sum())


def gpu_clock() -> float:
    """Wall time when the GPU has done what it was given."""
    torch.cuda.synchronize()
    return time.perf_counter()


def reset_peak(on_gpu: bool) -> float:
    """Forgets the peak of memory so far; MB in use now."""
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")
    return peak_mb(on_gpu)


def peak_mb(on_gpu: bool) -> float:
    """The most memory since the peak was last forgotten."""
    if on_gpu:
        return torch.cuda.max_memory_allocated() / 1e6
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1000


if __name__ == "__main__":
    main()
