"""Feature files of torch (`.pt`): one tensor, or a table that holds features and, perhaps, coordinates."""

import io
import pickle
import pickletools
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import SlideError, limit_met
from sammil_cli.legacy.h5_file import MATRICES, PLACES, damaged, missing
from sammil_cli.storage.files import atomic_path
from sammil_cli.storage.lookalikes import TORCH_RAISES, no_torch_file

_GLANCE = 1 << 16  # bytes of a pickle that are looked at


def read_torch(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Features and, where the file holds a table with both, coordinates; torch runs nothing that the file asks for.

    Raises:
        SlideError: `E_LEGACY_MISSING`, `E_LEGACY_UNSAFE`, `E_LEGACY_DAMAGED`.
    """
    content = _load(path)
    if not isinstance(content, dict):
        return _array(path, content, "", floats=True), None
    features = [name for name in MATRICES if name in content]
    if len(features) != 1:
        held = ", ".join(str(key) for key in list(content)[:6]) or "nothing"
        wanted = "features more than once" if features else f"no features ({', '.join(MATRICES)})"
        raise damaged(path, f"it holds a {type(content).__name__} with {wanted}; it has {held}")
    places = next((name for name in PLACES if name in content), None)
    coords = None if places is None else _array(path, content[places], f"under {places!r} ", floats=False)
    return _array(path, content[features[0]], f"under {features[0]!r} ", floats=True), coords


def write_torch(path: Path, features: NDArray[np.floating[Any]]) -> None:
    """Writes one matrix as a float32 tensor, the only thing that SAM-MIL's loader reads; the same gives the same bytes.

    `torch.save` wraps a tensor in a pickle that names torch's own types and nothing else; `weights_only` reads it.
    """
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(features, np.float32))
    # Into memory: torch would put the temporary name into the file, and says of a full disk something else.
    content = io.BytesIO()
    torch.save(tensor, content)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def _load(path: Path) -> object:
    # Not at the top: the h5 form needs no torch, which takes seconds to load.
    import torch

    try:
        if other := no_torch_file(path):
            raise SlideError("E_LEGACY_DAMAGED", f"{path} cannot be read: it is {other.what}", remedy=other.remedy)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of old protocols just before it refuses them
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise missing(path) from None
    except pickle.UnpicklingError as error:
        if "GLOBAL" not in str(error):  # torch's word for a forbidden name
            raise damaged(path, "torch cannot read it") from None
        raise SlideError(
            "E_LEGACY_UNSAFE",
            f"{path} holds more than tensors, and what it holds could run code; nothing was run",
            remedy="write the features alone: torch.save(tensor, path)",
        ) from None
    except (*TORCH_RAISES, OSError) as error:
        if isinstance(error, OSError) and (met := limit_met(error)):
            raise met from None
        raise damaged(path, "it is cut or damaged") from None


def _array(path: Path, value: object, where: str, *, floats: bool) -> NDArray[Any]:
    import torch

    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, torch.Tensor) or (floats and not value.is_floating_point()):
        kind = f"{value.dtype} numbers" if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"
        wanted = "floating-point features" if floats else "numbers"
        raise damaged(path, f"{where}it holds {kind}, no tensor of {wanted}")
    if value.dtype == torch.bfloat16:  # numpy has no such type
        value = value.float()
    return np.asarray(value.detach().numpy())


def words_of(path: Path) -> set[str]:
    """The words in a torch file, such as a table's keys: its instructions are listed, none is run.

    Raises:
        OSError, ValueError, zipfile.BadZipFile: it cannot be looked into.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            name = next((name for name in archive.namelist() if name.endswith("data.pkl")), None)
            if name is None:
                return set()
            with archive.open(name) as stream:
                return _words(stream.read(_GLANCE))
    with path.open("rb") as stream:
        return _words(stream.read(_GLANCE))


def _words(head: bytes) -> set[str]:
    words: set[str] = set()
    stream = io.BytesIO(head)
    try:
        while stream.tell() < len(head):  # torch's older form is a stream of several pickles
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name.endswith("UNICODE"):
                    words.add(str(argument))
    except (ValueError, EOFError, OverflowError, IndexError):
        pass  # the glance ends in the middle of an instruction, or behind the pickles
    return words
