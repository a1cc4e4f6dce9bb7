"""The commands of a whole project on a GPU and on the CPU, for `gpu.py`: their results side by side."""

import csv
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import yaml
from gpu_rows import Asked, Row

from sammil_cli.features.bag import read_bag
from sammil_cli.features.encoders import torchvision
from sammil_cli.regions.file import read_regions
from sammil_cli.regions.sam_models.build import build_sam
from sammil_cli.storage.files import sha256_file
from sammil_cli.storage.paths import BagPath, RegionsPath

FEATURES, PROBABILITIES = 1e-2, 5e-2
BACKBONE = "squeezenet1_1"
SETTINGS = {
    "demo_slides": 10,
    "demo_min_px": 1600,
    "demo_max_px": 2400,
    "tissue_min_area_um2": 20000.0,
    "folds": 2,
    "epochs": 6,
    "dropout": 0.0,  # its draws are a device's own
    "mask_strategy": "none",
    "pseudo_bags": 1,
    "proposer": "sam",
    "sam_model": "vit_t",
    "sam_points_per_side": 4,
    "sam_crop_layers": 0,
    "sam_pred_iou_thresh": 0.0,
    "sam_stability_thresh": 0.0,
    "encoder": "torchvision",
    "encoder_backbone": BACKBONE,
    "patch_px": 256,
}


def commands(asked: Asked) -> Iterator[Row]:
    """Runs the pipeline twice from the same patches; the second time every stage that can use the device does."""
    with TemporaryDirectory() as folder:
        cpu, there = Path(folder) / "cpu", Path(folder) / "device"
        set_up(cpu)
        for words in (["demo"], ["segment"], ["patch"]):
            call(cpu, *words)
        shutil.copytree(cpu, there)
        for stage in ("sam", "extract", "train", "evaluate", "visualize"):
            seconds = [call(cpu, stage, "--device", "cpu"), call(there, stage, "--device", asked.device)]
            yield Row.of(f"sammil {stage}", f"{seconds[1]:.1f} s; on the CPU {seconds[0]:.1f} s")
            yield from COMPARED.get(stage, nothing)(cpu, there)


def set_up(project: Path) -> None:
    """A demo project whose SAM and encoder have random weights."""
    call(project.parent, "init", project.name, "--preset", "demo", "--no-dvc")
    torch.manual_seed(0)
    encoder, sam = project / "encoder.pth", project / "sam.pth"
    torch.save(torchvision.random_weights({"encoder_backbone": BACKBONE}), encoder)
    torch.save(build_sam("vit_t").state_dict(), sam)
    params = project / "params.yaml"
    settings = yaml.safe_load(params.read_text(encoding="utf-8")) | SETTINGS
    settings |= {"encoder_weights": encoder.name, "sam_checkpoint": sam.name, "sam_checkpoint_sha256": sha256_file(sam)}
    params.write_text(yaml.safe_dump(settings), encoding="utf-8")


def call(folder: Path, *words: str) -> float:
    """Seconds of a command, which must end well."""
    begin = time.perf_counter()
    sammil = [sys.executable, str(Path(sys.executable).with_name("sammil"))]
    done = subprocess.run([*sammil, *words], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"sammil {' '.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return time.perf_counter() - begin


def nothing(cpu: Path, there: Path) -> Iterator[Row]:
    """Of commands that leave pictures and pages."""
    del cpu, there
    yield from ()


def regions(cpu: Path, there: Path) -> Iterator[Row]:
    """Random weights draw noise, so that single pixels decide: only the numbers are compared."""
    counts = [
        sum(len(read_regions(RegionsPath(path))) for path in (project / "artifacts/regions").glob("*.h5"))
        for project in (cpu, there)
    ]
    yield Row.below(f"{counts[1]} regions, {counts[0]} on the CPU: apart", abs(counts[1] - counts[0]) / counts[0], 0.1)


def features(cpu: Path, there: Path) -> Iterator[Row]:
    """Every patch feature of every bag."""
    both = []
    for project in (cpu, there):
        bags = sorted((project / "artifacts/bags").glob("*.h5"))
        both.append(np.concatenate([read_bag(BagPath(path)).features for path in bags]).astype(np.float64))
    yield Row.below(
        "features of all patches", float(np.linalg.norm(both[1] - both[0]) / np.linalg.norm(both[0])), FEATURES
    )
    for path in (cpu / "artifacts/bags").glob("*.h5"):  # so that training alone is compared from here on
        shutil.copy(path, there / "artifacts/bags" / path.name)


def probabilities(cpu: Path, there: Path) -> Iterator[Row]:
    """The largest difference of a test slide's probability."""
    found = []
    for project in (cpu, there):
        with (project / "runs/predictions.csv").open(encoding="utf-8") as stream:
            rows = sorted(csv.DictReader(stream), key=lambda row: row["slide_id"])
        found.append([float(value) for row in rows for name, value in row.items() if name.startswith("prob")])
    largest = float(np.abs(np.subtract(*found)).max())
    yield Row.below(f"{len(found[0])} probabilities: largest difference", largest, PROBABILITIES)


COMPARED = {"sam": regions, "extract": features, "train": probabilities}
