"""How long the published encoders take: one thread, patches of each encoder's own side, weights drawn at random.

Encoders that are one network under several names are measured once. Prints seconds for 1000 patches, preparation
included, beside those of ResNet-50 as the paper cuts it, and writes `encoder_seconds.json`, of which the table in
docs/encoders.md is made (`make project-files`). The largest take 5 GB of memory.
"""

import argparse
import json
import os
import platform
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"  # read when numpy and torch are imported

import numpy as np
import torch

from sammil_cli.features.encoder import Encoder
from sammil_cli.features.encoder_details import EncoderDetails
from sammil_cli.features.encoder_row import FOLDER, EncoderRow, encoder_row
from sammil_cli.features.encoders.resnet50 import DIM, truncated
from sammil_cli.features.published_network import build_network
from sammil_cli.features.published_torch_encoder import PublishedEncoder
from sammil_cli.features.torch_encoder import TorchEncoder
from sammil_cli.regions.light_torchvision import import_torchvision

OUT = Path(__file__).with_name("encoder_seconds.json")
BATCH = 4
LARGE = 200e6  # parameters; of larger networks a patch takes seconds


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="CPU seconds that each network is given, at least")
    parser.add_argument("words", nargs="*", help="Only these encoders; nothing is written then.")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    base = seconds_of(resnet50(), 224, asked.seconds)
    print(f"resnet50: {1000 * base:.0f} s for 1000 patches")
    rows = [encoder_row(path.stem) for path in sorted(FOLDER.glob("*.json"))]
    known: dict[str, float] = {}  # by what is computed
    found = {"resnet50": round(1000 * base, 1)}
    for row in rows:
        if asked.words and row.word not in asked.words:
            continue
        call, seen = row.network, (row.patch_px, row.preparation.resize_px, row.preparation.input_px)
        key = repr((call.name, sorted(call.options.items()), call.head, row.pooling, seen))
        if key not in known:
            batch = 1 if row.parameters.count > LARGE else BATCH
            known[key] = seconds_of(encoder_of(row), row.patch_px, asked.seconds, batch)
        found[row.word] = float(f"{1000 * known[key]:.3g}")
        print(f"{row.word}: {found[row.word]:g} s for 1000 patches, {known[key] / base:.2f}x resnet50", flush=True)
    if not asked.words:
        text = json.dumps({"processor": processor(), "seconds": dict(sorted(found.items()))}, indent=2)
        OUT.write_text(text + "\n", encoding="utf-8")


def encoder_of(row: EncoderRow) -> Encoder:
    """The encoder of a row around weights drawn at random, in place, so that they are held once."""
    built = build_network(row)
    if {name for name, _ in built.network.named_buffers()} - set(built.network.state_dict()):
        built = build_network(row, device="cpu")  # with tables that no file holds
    else:
        built.network.to_empty(device="cpu")
    for name, value in built.network.state_dict().items():
        if value.is_floating_point():
            value.fill_(1.0) if name.endswith("running_var") else value.normal_(0.0, 0.02)
    return PublishedEncoder(
        built, row.preparation, name=row.word, dim=row.dim, device="cpu", sha256="", known=EncoderDetails()
    )


def resnet50() -> Encoder:
    """As `encoder: resnet50` cuts it."""
    state = import_torchvision().models.resnet50(weights=None).state_dict()
    return TorchEncoder(truncated(state, Path()), name="resnet50", dim=DIM, input_px=224, device="cpu", sha256="")


def seconds_of(encoder: Encoder, side_px: int, least: float, batch: int = BATCH) -> float:
    """CPU seconds a patch: the median of batches."""
    draw = np.random.default_rng(0)
    patches = draw.integers(0, 256, (batch, side_px, side_px, 3), np.uint8)
    times: list[float] = []
    while sum(times) < least or len(times) < 2:
        begun = sum(os.times()[:2])
        encoder.encode(np.stack([encoder.prepare(patch) for patch in patches]))
        times.append((sum(os.times()[:2]) - begun) / batch)
    return float(np.median(times[1:] or times))  # the first one warms up


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


if __name__ == "__main__":
    main()
