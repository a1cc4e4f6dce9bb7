"""Slide embeddings as other tools export them: one vector for a slide, an HDF5 file each.

TRIDENT writes `slide_features_titan/<slide>.h5` (also of PRISM, FEATHER, …) with the vector in `features`, beside the
corners of the patches that it was made of; AtlasPatch has it as `slide_features/<encoder>`.
"""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import InputError, SlideError
from sammil_cli.legacy.h5_file import MATRICES, damaged, layout_of_legacy, own_arrays, read_h5

_NAMES = (*MATRICES, "slide_embeddings", "slide_embedding", "slide_features")
_OTHERS = "name the folder of slide embeddings (TRIDENT: slide_features_…); bags of patches are for --bags"


def vector_paths(folder: Path) -> dict[str, Path]:
    """The files of a folder of slide embeddings, by slide id.

    Raises:
        InputError: it holds no such file.
    """
    paths = {path.stem: path for path in sorted(folder.glob("*.h5"))}
    if not paths:
        raise InputError(f"there is no slide embedding (.h5) in {folder}", remedy=_OTHERS)
    return paths


def read_slide_vector(path: Path) -> NDArray[np.float64]:
    """The embedding (d,) of one slide.

    Raises:
        SlideError: `E_LEGACY_MISSING`, no file, or several embeddings in it · `E_LEGACY_DAMAGED`, it cannot be read, or
            holds features of patches instead · `E_NAN`.
    """
    layout = layout_of_legacy(path)
    held = own_arrays(layout)
    shapes = {name: layout.arrays[title].shape for name, title in held.items()}
    named = [name for name in shapes if name.partition("/")[0] in _NAMES]
    found = [name for name in named if _is_vector(shapes[name])]
    if len(found) > 1:
        raise SlideError(
            "E_LEGACY_MISSING",
            f"{path} holds slide embeddings of {', '.join(found)}, and which is meant is not said",
            remedy="write the one that is meant into a file of its own",
        )
    if not found:
        listed = ", ".join(f"{name} {shapes[name]}" for name in named or shapes) or "nothing"
        raise SlideError("E_LEGACY_DAMAGED", f"{path} holds no vector of the slide; it has {listed}", remedy=_OTHERS)
    arrays, _, _ = read_h5(path, (found[0],))
    try:
        vector = np.asarray(arrays[found[0]], np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise damaged(path, str(error)) from None
    if not np.isfinite(vector).all():
        raise SlideError(
            "E_NAN", f"the embedding in {path} is NaN or infinite", remedy="export it again", set_aside=False
        )
    return vector


def _is_vector(shape: tuple[int, ...]) -> bool:
    """(d,), or (1, d) as some exports have it."""
    return len(shape) > 0 and shape[-1] > 1 and math.prod(shape[:-1]) == 1


def read_slide_vectors(folder: Path, slides: list[str]) -> dict[str, NDArray[np.float64]]:
    """The embeddings (d,) of slides.

    Raises:
        SlideError: see `read_slide_vector`. InputError: they have different lengths.
    """
    vectors = {slide: read_slide_vector(folder / f"{slide}.h5") for slide in slides}
    first, *others = slides
    for slide in others:
        if len(vectors[slide]) != len(vectors[first]):
            raise InputError(
                f"{folder}: the embedding of {slide!r} has {len(vectors[slide])} numbers, that of {first!r} "
                f"{len(vectors[first])}",
                remedy="one folder for each slide encoder",
            )
    return vectors
