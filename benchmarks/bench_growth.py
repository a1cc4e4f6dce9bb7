"""What a large cohort costs: slides are found, and commands with nothing to do end, in time; a slide costs the same in
a cohort of 100 as in one of thousands.

The slides are one tiny picture under many names, so that what is measured is everything but pixels. Processor time,
with all processes that a command starts. The baseline of finding slides is `os.walk` over the same folder; that of a
slide in the large cohort is a slide in the small one.
"""

import argparse
import os
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import tifffile
from bench_start import cpu_seconds, verdict

from sammil_cli.slides.files import find_slides

FIND_SECONDS, NOTHING_SECONDS, GROWTH = 0.5, 5.0, 1.15
SETTINGS = "tissue_min_area_um2: 1000.0\nproposer: superpixels\nencoder: texture\npatch_px: 32\npatch_mpp: 2.0\n"
SLIDE_CLASS = b"1.2.840.10008.5.1.4.1.1.77.1.6"


def main() -> None:
    """Makes the cohorts, and times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--many", type=int, default=5000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        find(Path(folder), asked.many)
        grow(Path(folder), asked.few, asked.many)


def find(folder: Path, number: int) -> None:
    """Times `find_slides` on four ways to lay out a cohort."""
    layouts: dict[str, Callable[[Path, int], None]] = {
        "in one folder": lambda root, at: write(root / f"s{at:05d}.tif", b"x"),
        "a folder each": lambda root, at: write(root / f"s{at:05d}" / f"s{at:05d}.tif", b"x"),
        "DICOM in one folder": lambda root, at: write(root / f"s{at:05d}.dcm", dicom_head(at)),
        "DICOM, a folder each": write_levels,
    }
    for name, lay in layouts.items():
        root = folder / name
        for at in range(number):
            lay(root, at)
        walked = seconds_of(partial(lambda root: [*os.walk(root)], root))
        found = seconds_of(partial(find_slides, root))
        met = verdict(found, FIND_SECONDS * number / 5000)
        print(
            f"find_slides, {number} slides, {name}: {found:.2f} CPU s, {found / walked:.1f}x os.walk "
            f"(target {FIND_SECONDS * number / 5000:.2g} s: {met})"
        )


def grow(folder: Path, few: int, many: int) -> None:
    """Times `segment` and `patch` a slide, and what they, `status` and `check` take when nothing is to be done."""
    sammil = [sys.executable, str(Path(sys.executable).with_name("sammil"))]
    each: dict[tuple[str, int], float] = {}
    for number in (few, many):
        project = folder / f"cohort of {number}"
        write_cohort(project, number)
        for stage in ("segment", "patch"):
            words = [*sammil, stage, "--workers", "1"]
            done = cpu_seconds(words, str(project))
            again = cpu_seconds(words, str(project))
            each[stage, number] = (done - again) / number
            met = met_of(stage, again, number)
            print(f"{stage}, {number} slides: {done:.1f} CPU s; {again:.1f} with nothing to do{met}")
    for stage in ("segment", "patch"):
        share = each[stage, many] / each[stage, few]
        print(
            f"{stage}: {each[stage, many] * 1e3:.1f} ms a slide of {many}, {share:.2f}x one of {few} "
            f"(target {GROWTH:g}x: {verdict(share, GROWTH)})"
        )
    for command in ("status", "check"):
        taken = cpu_seconds([*sammil, command], str(project), may_fail=True)  # `check` finds one slide under many names
        print(f"{command}, {many} slides: {taken:.1f} CPU s{met_of(command, taken, many)}")


def met_of(command: str, seconds: float, number: int) -> str:
    """The target of a command with nothing to do, in words; it is for 5000 slides, and none is set for `patch`."""
    if command == "patch" or number < 5000:
        return ""
    return f" (target {NOTHING_SECONDS:g} s: {verdict(seconds, NOTHING_SECONDS)})"


def write_cohort(project: Path, number: int) -> None:
    """A project of one drawn slide under many names, with labels."""
    slides = project / "data/slides"
    slides.mkdir(parents=True)
    picture = np.full((256, 256, 3), 245, np.uint8)
    picture[60:200, 50:190] = (190, 110, 170)
    picture[60:200, 50:190] += np.random.default_rng(0).integers(0, 20, (140, 140, 3), np.uint8)
    first = slides / "slide_00000.tif"
    per_cm = (1e4 / 2.0, 1e4 / 2.0)  # 2 µm a pixel
    tifffile.imwrite(
        first, picture, tile=(256, 256), photometric="rgb", compression="deflate", resolution=per_cm, resolutionunit=3
    )
    for at in range(1, number):
        os.link(first, slides / f"slide_{at:05d}.tif")
    rows = (f"slide_{at:05d},{'tumour' if at % 2 else 'normal'},p{at:05d}" for at in range(number))
    (project / "data/labels.csv").write_text("\n".join(["slide_id,label,patient_id", *rows]), encoding="utf-8")
    (project / "params.yaml").write_text(SETTINGS, encoding="utf-8")


def dicom_head(series: int) -> bytes:
    """As much of a DICOM slide as is read to find it."""
    values = [
        (0x0002, 0x0002, b"UI", SLIDE_CLASS),
        (0x0002, 0x0010, b"UI", b"1.2.840.10008.1.2.1"),
        (0x0008, 0x0008, b"CS", b"ORIGINAL\\PRIMARY\\VOLUME\\NONE"),
        (0x0008, 0x0016, b"UI", SLIDE_CLASS),
        (0x0008, 0x0060, b"CS", b"SM"),
        (0x0020, 0x000E, b"UI", f"1.2.3.{series}".encode()),
        (0x0028, 0x0010, b"US", b"\x00\x01"),
    ]
    head = bytes(128) + b"DICM"
    for group, element, kind, value in values:
        padded = value + b"\0" * (len(value) % 2)
        head += struct.pack("<HH", group, element) + kind + struct.pack("<H", len(padded)) + padded
    return head


def write_levels(root: Path, at: int) -> None:
    """A DICOM slide of two files."""
    for level in range(2):
        write(root / f"s{at:05d}" / f"level_{level}.dcm", dicom_head(at))


def write(path: Path, content: bytes) -> None:
    """A file, and the folder that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def seconds_of(call: Callable[[], object]) -> float:
    """Processor time of a call, the first one, as in a command."""
    before = time.process_time()
    call()
    return time.process_time() - before


if __name__ == "__main__":
    main()
