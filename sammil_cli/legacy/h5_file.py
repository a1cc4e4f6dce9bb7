"""HDF5 files of older tools: data sets without following links, whatever the tools call them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import SlideError, limit_met
from sammil_cli.storage.hdf5_layout import NO_NUMBERS, Layout
from sammil_cli.storage.hdf5_process import UnreadableError, look_into
from sammil_cli.storage.lookalikes import lookalike
from sammil_cli.storage.regular_file import is_endless

MATRICES = ("features", "feats", "embeddings")  # CLAM and TRIDENT; STAMP; HEST and others
PLACES = ("coords", "coordinates")

_UM = ("um", "µm", "μm", "micron", "microns", "micrometer", "micrometers")
_PIXELS = ("px", "pixel", "pixels")
_WRITE_AGAIN = "copy or write the file again"
_EXPANSION = 1000  # times its file: gzip reaches 1000 on zeros
_UNFINISHED = "__tmp_"  # what AtlasPatch calls features while it writes them


def read_h5(
    path: Path, names: tuple[str, ...], *, rows: NDArray[np.int64] | None = None
) -> tuple[dict[str, NDArray[Any]], dict[str, Any], dict[str, tuple[int, ...]]]:
    """Some data sets (or some `rows` of each), the attributes of the file and of what it names, every set's shape.

    A data set in a group is called `group/name`; coordinates are `coords`, whatever of `PLACES` the file calls them.
    Links to other files are not followed.

    Raises:
        SlideError: `E_LEGACY_MISSING`, `E_LEGACY_DAMAGED`.
    """
    layout = layout_of_legacy(path)
    held = own_arrays(layout)
    if empty := [name for name in (*MATRICES, *PLACES) if layout.odd.get(name) == NO_NUMBERS]:
        raise damaged(path, f"its {empty[0]} are {NO_NUMBERS}")
    if lacking := [name for name in names if name not in held]:
        raise damaged(path, f"it has no data set {lacking[0]!r}; it has {', '.join(held) or 'none'}")
    facts = dict[str, object](layout.facts)
    for name in ("imgs", *MATRICES, "coords"):
        facts |= layout.array_facts.get(held[name], {}) if name in held else {}
    shapes = {name: layout.arrays[title].shape for name, title in held.items()}
    for name in names:  # a few bytes could ask for all memory
        if (nbytes := layout.arrays[held[name]].nbytes) > _EXPANSION * max(path.stat().st_size, 1 << 20):
            raise damaged(path, f"its {name} of shape {shapes[name]} would be {nbytes >> 20} MiB")
    try:
        with h5py.File(path, "r", locking=False) as file:
            arrays = {name: file[held[name]][() if rows is None else rows] for name in names}
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, OverflowError, MemoryError) as error:
        if isinstance(error, OSError) and (met := limit_met(error)):
            raise met from None
        raise damaged(path, str(error) or type(error).__name__) from None
    # As h5py gives them: one number may stand in a list.
    return (
        arrays,
        {name: np.array(value) if isinstance(value, list) else value for name, value in facts.items()},
        shapes,
    )


def layout_of_legacy(path: Path) -> Layout:
    """What a file holds, without its numbers; links to other files, and what takes its numbers from them, are `odd`.

    Raises:
        SlideError: `E_LEGACY_MISSING`, `E_LEGACY_DAMAGED`. MissingError: the disk failed, see `errors.limit_met`.
    """
    if not path.exists():
        raise missing(path)
    if is_endless(path):
        raise damaged(path, "it is no file but a pipe, a socket or a device")
    try:
        return look_into(path)
    except UnreadableError as error:
        if met := limit_met(error):  # a disk that fails, say: the file may be whole
            raise met from None
        other = lookalike(path) if path.is_file() else None
        if other:
            raise SlideError(
                "E_LEGACY_DAMAGED", f"{path} cannot be read: it is {other.what}", remedy=other.remedy
            ) from None
        raise damaged(path, str(error)) from None


def own_arrays(layout: Layout) -> dict[str, str]:
    """The data sets of a file and of the groups in it: what they are called here -> in the file."""
    held = {name: name for name in layout.arrays}
    for name in PLACES[1:]:
        if name in held and "coords" not in held:
            held["coords"] = held.pop(name)
    return held


def feature_sets(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """What holds patches' features: its name (in a group, AtlasPatch's, that of the encoder) -> its data set."""
    found = {}
    for path, shape in shapes.items():
        outer, _, inner = path.partition("/")
        if outer in MATRICES and len(shape) != 1 and not inner.startswith(_UNFINISHED):
            found[inner or outer] = path
    return found


def features_of(path: Path, shapes: Mapping[str, tuple[int, ...]], encoder: str | None) -> str:
    """The data set of the features; of several that of the `encoder`.

    Raises:
        SlideError: `E_LEGACY_DAMAGED`, no such matrix · `E_LEGACY_MISSING`, several, and none was named.
    """
    # A vector is said by its shape.
    found = feature_sets(shapes) or {name: name for name in MATRICES if name in shapes}
    if encoder in found:
        return found[str(encoder)]
    if len(found) > 1:
        raise SlideError(
            "E_LEGACY_MISSING",
            f"{path} holds features of {', '.join(found)}, and which are meant is not said",
            remedy=f"name one: --encoder-name {next(iter(found))}",
        )
    if not found:
        named = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise damaged(path, f"it has no data set 'features' (nor {', '.join(MATRICES[1:])}); it has {named or 'none'}")
    return next(iter(found.values()))


def um_per_unit(path: Path, facts: Mapping[str, object]) -> float | None:
    """µm per unit of the coordinates, None = they are pixels: what the attribute `unit` says, or STAMP's tile size.

    Raises:
        SlideError: `E_LEGACY_DAMAGED`, another unit.
    """
    unit = text(facts.get("unit"))
    if unit is None:
        return 1.0 if "tile_size_um" in facts else None
    if unit.lower() in _UM:
        return 1.0
    if unit.lower() in _PIXELS:
        return None
    raise SlideError(
        "E_LEGACY_DAMAGED",
        f"{path} says that its coordinates are in {unit!r}, which is neither µm nor pixels",
        remedy="set the attribute `unit` to um or px, or convert without coordinates: --no-coords",
    )


def text(value: object) -> str | None:
    """An attribute as text, where it is some."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None


def missing(path: Path) -> SlideError:
    """The error of a file that is not there."""
    return SlideError("E_LEGACY_MISSING", f"{path} does not exist", remedy="bring it back, or leave the slide out")


def damaged(path: Path, reason: str) -> SlideError:
    """The error of a file that is cut, or laid out otherwise."""
    return SlideError("E_LEGACY_DAMAGED", f"{path} cannot be read: {reason}", remedy=_WRITE_AGAIN)
