"""What a run costs before it computes anything: processor time and memory of whole commands on a tiny cohort.

Each command runs in a process of its own, with all processes that it starts. The baseline is `import torch` in a bare
interpreter: what no trainer in this language can do without. The first sign of a command is what a user sees first of
it at a terminal, by the clock.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from sammil_cli.features.bag import EncoderFacts, FeatureBag, write_bag
from sammil_cli.regions.membership import Membership
from sammil_cli.storage.paths import BagPath

PATCHES, DIM = 16, 32
BASE = "import torch"
NOTHING = "sammil evaluate, nothing trained"
SHARES = {"sammil train": 2.2, NOTHING: 1.25}  # times the processor time of the baseline, at most
DOCTOR_SECONDS, SIGN_SECONDS = 3.0, 1.0  # by the clock, on an idle machine
ENCODER = EncoderFacts(name="texture", weights_sha256="", dim=DIM, patch_px=64, patch_mpp=1.0, patch_px_level0=64)
SETTINGS = "folds: 2\nepochs: 2\nmin_epochs: 0\ngroup_features: false\nmodel: abmil\n"


def main() -> None:
    """Times the commands in turn, several times, and prints the smallest of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bags", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    sammil = [sys.executable, str(Path(sys.executable).with_name("sammil"))]
    commands = {
        BASE: [sys.executable, "-c", BASE],
        NOTHING: [*sammil, "evaluate", "--device", "cpu"],
        "sammil train": [*sammil, "train", "--device", "cpu", "--workers", "1"],
        "sammil evaluate": [*sammil, "evaluate", "--device", "cpu"],
        "sammil doctor": [*sammil, "doctor"],
    }
    cpu: dict[str, list[float]] = {name: [] for name in commands}
    clock: dict[str, list[float]] = {name: [] for name in commands}
    signs: dict[str, list[float]] = {name: [] for name in ("train", "evaluate", "sam")}
    for _ in range(asked.repeats):
        with tempfile.TemporaryDirectory() as folder:
            write_project(Path(folder), asked.bags)
            for name, words in commands.items():
                begun = time.perf_counter()
                cpu[name].append(cpu_seconds(words, folder, may_fail=name in ("sammil doctor", NOTHING)))
                clock[name].append(time.perf_counter() - begun)
            for name, found in signs.items():
                found.append(first_sign([*sammil, name], folder))
    base = min(cpu[BASE])
    for name, values in cpu.items():
        share = min(values) / base
        line = f"{name}: {min(values):.2f} CPU s, {share:.2f}x `{BASE}`; {min(clock[name]):.2f} s by the clock"
        if name in SHARES:
            line += f" (target {SHARES[name]:g}x: {verdict(share, SHARES[name])})"
        if name == "sammil doctor":
            line += f" (target {DOCTOR_SECONDS:g} s: {verdict(min(clock[name]), DOCTOR_SECONDS)})"
        print(line)
    for name, found in signs.items():
        met = verdict(min(found), SIGN_SECONDS)
        print(f"first sign of sammil {name}: {min(found):.2f} s (target {SIGN_SECONDS:g} s: {met})")


def verdict(found: float, target: float) -> str:
    """Whether a target is met."""
    return "met" if found <= target else "missed"


def first_sign(words: list[str], folder: str) -> float:
    """Seconds until a command writes anything to the terminal that is its stderr."""
    ours, its = os.openpty()
    begun = time.perf_counter()
    command = subprocess.Popen(words, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=its)
    os.close(its)
    os.read(ours, 1)
    seconds = time.perf_counter() - begun
    command.terminate()
    with contextlib.suppress(OSError):  # the other end is closed
        while os.read(ours, 1 << 12):
            pass
    os.close(ours)
    command.wait()
    return seconds


def write_project(folder: Path, bags: int) -> None:
    """Bags of two classes that differ a little, and their labels."""
    (folder / "artifacts/bags").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "params.yaml").write_text(SETTINGS, encoding="utf-8")
    draw = np.random.default_rng(0)
    rows = ["slide_id,label"]
    for number in range(bags):
        slide, label = f"slide_{number:03d}", number % 2
        bag = FeatureBag(
            slide_id=slide,
            features=(draw.normal(size=(PATCHES, DIM)) + label / 2).astype(np.float32),
            xy=np.argwhere(np.ones((4, PATCHES // 4))).astype(np.int32) * ENCODER.patch_px_level0,
            region=np.full(PATCHES, -1, np.int32),
            region_area=np.zeros(0, np.int64),
            region_area_um2=np.zeros(0),
            group_features=np.zeros((0, DIM), np.float32),
            group_region=np.zeros(0, np.int32),
            members=Membership(start=np.zeros(1, np.int64), patch=np.zeros(0, np.int32)),
            encoder=ENCODER,
        )
        write_bag(BagPath(folder / "artifacts/bags" / f"{slide}.h5"), bag, {})
        rows.append(f"{slide},{'tumour' if label else 'normal'}")
    (folder / "data/labels.csv").write_text("\n".join(rows), encoding="utf-8")


def cpu_seconds(words: list[str], folder: str, *, may_fail: bool = False) -> float:
    """Of a command and all processes that it waits for, user and system."""
    before = os.times()
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode and not may_fail:
        raise SystemExit(f"{' '.join(words)}: {done.stderr or done.stdout}")
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    main()
