"""Encoders of patches and of SAM's pictures, by OpenVINO against torch, in one run.

Random weights of the published sizes. Each network is converted first, and what it gives is compared; then both run in
turn on the same pictures. Prints CPU seconds per patch or picture of one thread, their ratio, the largest difference as
a share of the largest number, and what converting and loading took. Needs the extra `openvino`. SAM's ViT-B
(`--only vit_b`) takes 5 GB and some minutes.
"""

import argparse
import os
import resource
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from numpy.typing import NDArray

from sammil_cli.backends import kept_networks
from sammil_cli.features.encoders.resnet50 import truncated
from sammil_cli.features.torch_encoder import TorchEncoder
from sammil_cli.regions.sam_models.build import build_sam
from sammil_cli.regions.sam_models.embed import Embedder

Pictures = NDArray[np.float32]
Run = Callable[[Pictures], NDArray[np.float32]]
PATCHES, PATCH_PX, SAM_PX = 8, 224, 1024
USUAL = ("resnet50", "vit_small", "vit_t")


def resnet50() -> torch.nn.Module:
    """Up to layer3, as sammil uses it."""
    return truncated(torchvision.models.resnet50(weights=None).state_dict(), Path("random"))


def vit_small() -> torch.nn.Module:
    """ViT-S/16, as many encoders of pathology are."""
    return timm.create_model("vit_small_patch16_224", pretrained=False, num_classes=0)


ENCODERS = {"resnet50": resnet50, "vit_small": vit_small}


def main() -> None:
    """Converts, compares and times each network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=[*USUAL, "vit_b"], default=USUAL)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        kept_networks.kept_folder = lambda: Path(name)  # each run converts anew
        for word in asked.only:
            torch.manual_seed(0)
            print_network(word, *(encoder(word) if word in ENCODERS else sam(word)), asked.repeats)
            print(f"    highest memory so far {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")


def encoder(word: str) -> tuple[Run, Callable[[], Run], Pictures]:
    """By torch, what makes the one by OpenVINO, and patches."""
    patches = np.random.default_rng(0).standard_normal((PATCHES, 3, PATCH_PX, PATCH_PX), dtype=np.float32)
    module = ENCODERS[word]()
    make = partial(TorchEncoder, module, name=word, dim=0, input_px=PATCH_PX, device="cpu", sha256="")

    def other() -> Run:
        made = make()
        made.run_by("openvino")
        return made.encode

    return make().encode, other, patches


def sam(word: str) -> tuple[Run, Callable[[], Run], Pictures]:
    """The same, of SAM's image encoder by our own engine in torch."""
    model = build_sam(word)
    picture = np.random.default_rng(0).standard_normal((1, 3, SAM_PX, SAM_PX), dtype=np.float32)

    def run(embedder: Embedder, pixels: Pictures) -> NDArray[np.float32]:
        return embedder(torch.from_numpy(pixels)).numpy()

    return partial(run, Embedder(model)), lambda: partial(run, Embedder(model, backend="openvino")), picture


def print_network(word: str, by_torch: Run, other: Callable[[], Run], pictures: Pictures, repeats: int) -> None:
    """Both in turn."""
    converting = cpu(lambda: other()(pictures))
    by_openvino = other()
    loading = cpu(lambda: by_openvino(pictures))
    expected, found = by_torch(pictures), by_openvino(pictures)
    apart = np.abs(found - expected).max() / np.abs(expected).max()
    if not apart < 1e-4:
        raise SystemExit(f"{word}: {apart:.1g} apart")
    pairs = [(cpu(lambda: by_torch(pictures)), cpu(lambda: by_openvino(pictures))) for _ in range(repeats)]
    slow, fast = (statistics.median(times) / len(pictures) for times in zip(*pairs, strict=True))
    ratio = statistics.median(one / two for one, two in pairs)
    print(
        f"{word}: torch {slow:.4f} s, OpenVINO {fast:.4f} s, {ratio:.2f}x; apart {apart:.1e}; "
        f"converting {converting:.0f} s, once; loading {loading - fast * len(pictures):.1f} s"
    )


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds, user and system."""
    before = os.times()
    work()
    after = os.times()
    return after.user + after.system - before.user - before.system


if __name__ == "__main__":
    main()
