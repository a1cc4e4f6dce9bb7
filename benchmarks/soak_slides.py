"""The cohort of a soak: tiny drawn slides, and what is wrong with each of them."""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import tifffile

SIDE_PX, TILE_PX = 384, 128
SHARE = 0.05  # of all slides, for each fault
GLASS, PINK = (243, 242, 244), (205, 140, 175)
PARAMS = """\
fail_over: 1.0
slide_memory_gib: 0.4
tissue_mpp: 4.0
tissue_median_um: 12.0
tissue_close_um: 12.0
tissue_min_area_um2: 5000.0
tissue_min_hole_um2: 5000.0
patch_px: 64
proposer: superpixels
sam_canvas_px: 128
superpixel_area_px: 300
encoder: texture
encoder_input_px: 32
"""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a share of the slides; `codes`: what they are set aside with in the end, none = they are done.

    `words` say it in the table. Faults whose `is_event` is set happen while commands run.
    """

    words: str
    codes: tuple[str, ...] = ()
    is_event: bool = False


FAULTS = {
    "cut": Fault("the file is cut", ("E_OPEN", "E_READ")),
    "empty": Fault("zero bytes", ("E_EMPTY",)),
    "zeroed": Fault("as many zero bytes as the slide had", ("E_OPEN",)),
    "html": Fault("wrong content, a web page", ("E_OPEN",)),
    "nompp": Fault("no mpp", ("E_MPP",)),
    "badname": Fault("a name that is not UTF-8", ("E_NAME",)),
    "glass": Fault("no tissue", ("E_NO_TISSUE",)),
    "tiles": Fault("damaged tiles", ("E_READ",)),
    "table": Fault("a wrong scene in slides.csv", ("E_SCENE",)),
    "drawing": Fault("a damaged drawing", ("E_EDIT",)),
    "flood": Fault("more memory than slide_memory_gib", ("E_MEMORY",)),
    "added": Fault("copied in during a run", is_event=True),
    "replaced": Fault("replaced during a run", is_event=True),
    "swapped": Fault("replaced and put back during a run", is_event=True),
    "removed": Fault("removed during a run", is_event=True),
    "bitstore": Fault("a bit flips in the store", is_event=True),
    "bitout": Fault("a bit flips in an out file", is_event=True),
    "bitbag": Fault("a bit flips in a bag", is_event=True),
}
PLAIN = "plain"


@dataclass(frozen=True)
class Cohort:
    """A project folder with drawn slides; `faults`: slide id -> its fault, or `PLAIN`."""

    project: Path
    faults: dict[str, str] = field(default_factory=dict)

    def path(self, slide: str) -> Path:
        """Where a slide's file is, or will be."""
        name = os.fsdecode(slide.encode() + b"-\xe9.tif") if self.faults[slide] == "badname" else f"{slide}.tif"
        return self.project / "data/slides" / name

    def of(self, fault: str) -> list[str]:
        """The slides with a fault."""
        return [slide for slide, found in self.faults.items() if found == fault]


def draw_cohort(project: Path, slides: int, left_out: Sequence[str]) -> Cohort:
    """Draws a cohort with all lasting faults; those that happen during runs are left to the storm."""
    each = max(1, round(SHARE * slides))
    kinds = [name for name in FAULTS if name not in left_out for _ in range(each)][:slides]
    kinds += [PLAIN] * (slides - len(kinds))
    cohort = Cohort(project, {f"{kind}-{number:04}": kind for number, kind in enumerate(kinds)})
    (project / "data/slides").mkdir(parents=True)
    (project / "data/edits").mkdir()
    (project / "params.yaml").write_text(PARAMS, encoding="utf-8")
    for slide, kind in cohort.faults.items():
        if kind != "added":
            cohort.path(slide).write_bytes(content(cohort, slide))
        if kind == "drawing":
            (project / f"data/edits/{slide}.geojson").write_text('{"type": "FeatureCollection", "fea', encoding="utf-8")
    write_table(cohort, broken=False)
    return cohort


def write_table(cohort: Cohort, *, broken: bool) -> None:
    """Writes data/slides.csv in one go; `broken`: with a row that no command accepts."""
    rows = [(slide, "", "7") for slide in cohort.of("table")]
    rows += [(next(iter(cohort.faults)), "about a half", "")] if broken else []
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("slide_id", "mpp", "scene"), *rows])
    target = cohort.project / "data/slides.csv"
    temporary = target.with_suffix(".new")
    temporary.write_text(text.getvalue(), encoding="utf-8")
    temporary.replace(target)


def content(cohort: Cohort, slide: str, *, other: bool = False) -> bytes:
    """A slide file's bytes; `other`: a different drawing."""
    kind = cohort.faults[slide]
    number = int(slide.rpartition("-")[2])
    whole = _tiff(_draw(number + 100_000 * other, tissue=kind != "glass"), mpp=None if kind == "nompp" else 1.0)
    if kind == "cut":
        return whole[: len(whole) // 3]
    if kind == "empty":
        return b""
    if kind == "zeroed":
        return bytes(len(whole))
    if kind == "html":
        return b"<!doctype html><title>404</title><p>No such slide" + b" " * number
    return _without_tiles(whole) if kind == "tiles" else whole


def _draw(seed: int, *, tissue: bool) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rgb = np.full((SIDE_PX, SIDE_PX, 3), GLASS, np.uint8)
    if not tissue:
        return rgb
    mask = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    center = [int(value) for value in rng.integers(SIDE_PX // 2 - 40, SIDE_PX // 2 + 40, 2)]
    axes = [int(value) for value in rng.integers(75, 125, 2)]
    cv2.ellipse(mask, center, axes, float(rng.uniform(0, 180)), 0, 360, 255, -1)
    grain = cv2.GaussianBlur(rng.normal(0, 1, (SIDE_PX, SIDE_PX)).astype(np.float32), (0, 0), 4)[..., None]
    return np.where(mask[..., None] > 0, np.clip(np.array(PINK) + 300 * grain, 0, 255), rgb).astype(np.uint8)


def _tiff(rgb: np.ndarray, *, mpp: float | None) -> bytes:
    resolution = {} if mpp is None else {"resolution": (10_000 / mpp, 10_000 / mpp), "resolutionunit": "CENTIMETER"}
    stream = io.BytesIO()
    tifffile.imwrite(
        stream, rgb, photometric="rgb", tile=(TILE_PX, TILE_PX), compression="jpeg", metadata=None, **resolution
    )
    return stream.getvalue()


def _without_tiles(whole: bytes) -> bytes:
    """The same file; no tile of it can be decoded."""
    damaged = bytearray(whole)
    with tifffile.TiffFile(io.BytesIO(whole)) as tiff:
        page = tiff.pages[0]
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            damaged[offset : offset + count] = b"\x55" * count
    return bytes(damaged)
