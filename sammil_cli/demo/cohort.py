"""The demo cohort as a whole: which patient has which slides and label, and the files written for them."""

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from sammil_cli.demo.layout import Layout, draw_layout
from sammil_cli.demo.paint import paint
from sammil_cli.demo.stain import Stain
from sammil_cli.storage.files import atomic_path, write_csv, write_text

MPP = 0.5
DOWNSAMPLES = (1, 4, 16)
TILE_PX = 256
LABELS = ("normal", "tumour")
PATIENTS_PER_SLIDE = 5 / 6  # of 24 slides, 4 patients have two


@dataclass(frozen=True, kw_only=True)
class DemoSlide:
    """One row of the cohort."""

    index: int
    seed: int
    patient_id: str
    tumour: bool
    pen: bool
    fold: bool
    size_px: tuple[int, int]  # the range a side is drawn from
    difficulty: float

    @property
    def slide_id(self) -> str:
        """Says nothing about the label."""
        return f"demo_{self.index + 1:03d}"

    @property
    def label(self) -> str:
        """`normal` or `tumour`."""
        return LABELS[self.tumour]


def draw_cohort(
    out: Path,
    *,
    slides: int,
    seed: int,
    size_px: tuple[int, int],
    difficulty: float,
    workers: int,
    progress: Callable[[str], None],
) -> None:
    """Write `out`/slides/*.tif, `out`/lesions/*.geojson and `out`/labels.csv; the same bytes for the same arguments.

    `size_px` is the range of a slide's sides in level-0 pixels. `difficulty` 0..1: see `Habit.harder`; lesions become
    smaller, too. `workers` processes draw (1: this one) and never
    change the result. `progress` is called with the id of each slide that is done.
    """
    if slides < 2:
        raise ValueError(f"a cohort of two classes needs at least 2 slides, not {slides}")
    if not 512 <= size_px[0] < size_px[1]:
        raise ValueError(f"size_px must be a range of at least 512 px, not {size_px}")
    if not 0 <= difficulty <= 1:
        raise ValueError(f"difficulty must be between 0 and 1, not {difficulty}")
    rows = plan(slides=slides, seed=seed, size_px=size_px, difficulty=difficulty)
    if workers <= 1:
        for row in rows:
            progress(draw_slide(row, out))
    else:
        # Spawned, not forked: the caller may already run threads, and a fork would copy their locks.
        with ProcessPoolExecutor(min(workers, slides), mp_context=get_context("spawn")) as pool:
            futures = [pool.submit(draw_slide, row, out) for row in rows]
            try:
                for future in as_completed(futures):
                    progress(future.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    listed = [(row.slide_id, row.label, row.patient_id) for row in rows]
    write_csv(out / "labels.csv", ("slide_id", "label", "patient_id"), listed)


def plan(*, slides: int, seed: int, size_px: tuple[int, int], difficulty: float = 0.0) -> list[DemoSlide]:
    """The table of the cohort: half of the slides tumour, some patients with two slides of one label."""
    rng = np.random.default_rng([seed, 2**31])
    patients = max(2, round(slides * PATIENTS_PER_SLIDE))
    double = slides - patients
    owner = [patient for patient in range(patients) for _ in range(2 if patient < double else 1)]
    # Patients with two slides take turns, then single ones fill up to one half.
    tumour_patients = {patient for patient in range(double) if patient % 2}
    for patient in range(double, patients):
        if sum(p in tumour_patients for p in owner) < slides // 2:
            tumour_patients.add(patient)
    names = rng.permutation(patients)
    order = rng.permutation(slides)
    tumour = [owner[i] in tumour_patients for i in order]
    # One pen mark and one fold of each class at least, so that neither gives the label away.
    pens = {tumour.index(True), tumour.index(False)} if slides >= 8 else {int(rng.integers(slides))}
    folds = set(rng.permutation(np.flatnonzero(tumour))[: max(1, slides // 8)].tolist())
    folds |= set(rng.permutation(np.flatnonzero(~np.array(tumour)))[: max(1, slides // 8)].tolist())
    return [
        DemoSlide(
            index=index,
            seed=seed,
            patient_id=f"P{names[owner[i]] + 1:02d}",
            tumour=tumour[index],
            pen=index in pens,
            fold=index in folds,
            size_px=size_px,
            difficulty=difficulty,
        )
        for index, i in enumerate(order)
    ]


def draw_slide(row: DemoSlide, out: Path) -> str:
    """Draw and write one slide and its lesions; returns its id."""
    rng = np.random.default_rng(np.random.SeedSequence([row.seed, row.index]))
    low, high = row.size_px
    # Multiples of 16, so that every level's downsample is exact.
    sides = rng.choice(np.arange(-(-low // 16), high // 16 + 1), 2, replace=False) * 16
    width, height = (int(side) for side in sides)
    layout = draw_layout(rng, width_px=width, height_px=height, tumour=row.tumour, difficulty=row.difficulty)
    rgb = paint(layout, Stain.draw(rng), rng, pen=row.pen, fold=row.fold)
    _write_pyramid(out / "slides" / f"{row.slide_id}.tif", rgb)
    write_text(out / "lesions" / f"{row.slide_id}.geojson", json.dumps(lesion_collection(layout)) + "\n")
    return row.slide_id


def lesion_collection(layout: Layout) -> dict[str, object]:
    """The lesions as QuPath reads them: polygons in level-0 pixels, class `Tumor`."""
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [polygon.round(2).tolist()]},
                "properties": {"objectType": "annotation", "classification": {"name": "Tumor", "color": [200, 0, 0]}},
            }
            for polygon in layout.lesions
        ],
    }


def _write_pyramid(path: Path, rgb: NDArray[np.uint8]) -> None:
    """A tiled JPEG pyramid that OpenSlide's generic-tiff driver opens, mpp in the resolution tags."""
    height, width = rgb.shape[:2]
    with atomic_path(path) as temporary, tifffile.TiffWriter(temporary, bigtiff=False) as tiff:
        for downsample in DOWNSAMPLES:
            level = rgb
            if downsample > 1:
                size = (width // downsample, height // downsample)
                level = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
            per_cm = 10_000 / (MPP * downsample)
            tiff.write(
                level,
                photometric="rgb",
                tile=(TILE_PX, TILE_PX),
                compression="jpeg",
                compressionargs={"level": 85},
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                subfiletype=int(downsample > 1),
                software="sammil demo",
                metadata=None,
                maxworkers=1,
            )
