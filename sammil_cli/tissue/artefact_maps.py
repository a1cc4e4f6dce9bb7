"""Maps of artefacts over a whole slide, in memory and on disk."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammil_cli.storage.files import Record
from sammil_cli.storage.hdf5 import read_hdf5, write_hdf5
from sammil_cli.storage.paths import ArtefactsPath

Map = NDArray[np.uint8]  # (rows, columns) of cells, 0-255 for 0-1

NAMES = ("blank", "pen", "dark", "blur")


@dataclass(frozen=True, kw_only=True)
class ArtefactMaps:
    """Artefacts in cells of about 32 µm over the whole slide, the first cell's corner at level-0 (0, 0).

    `blank` (glass), `pen` and `dark` (black: dirt, folds that let no light through, black ink) are shares of a cell's
    area. `blur` is 0 where a picture is as sharp as it can be, 1 where it is flat, of what is not blank.
    """

    blank: Map
    pen: Map
    dark: Map
    blur: Map
    cell_px0: tuple[float, float]  # level-0 pixels per cell in x and y
    mpp: float  # µm per pixel of the picture that was measured


def write_artefacts(path: ArtefactsPath, maps: ArtefactMaps, provenance: Record) -> None:
    """Writes the four maps, compressed, and where their cells lie."""
    arrays = {name: getattr(maps, name) for name in NAMES}
    facts = {"slide_id": path.stem, "cell_px0": maps.cell_px0, "mpp": maps.mpp}
    write_hdf5(path, "artefacts", arrays, facts, provenance)


def read_artefacts(path: ArtefactsPath) -> ArtefactMaps:
    """Reads what `write_artefacts` wrote; `InputError` where it is something else."""
    arrays, facts = read_hdf5(path, "artefacts")
    x, y = (float(v) for v in facts["cell_px0"])
    return ArtefactMaps(**{name: arrays[name] for name in NAMES}, cell_px0=(x, y), mpp=float(facts["mpp"]))
