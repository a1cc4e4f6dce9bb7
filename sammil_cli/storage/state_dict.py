"""State dicts of older tools and of publishers: tensors are read, code is never run."""

import pickle
from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from sammil_cli.errors import MissingError, limit_met
from sammil_cli.storage.lookalikes import TORCH_RAISES, lookalike, no_torch_file

_REMEDY = "give a .safetensors or .pth state dict"


class _Beside:
    """Stands for what checkpoints of training hold beside tensors, such as options and learning rates: holds nothing.

    It is made in place of the classes of `_BESIDE`, so that none of their code runs, either.
    """

    def __new__(cls, *args: object, **options: object) -> "_Beside":
        """Any arguments will do."""
        del args, options
        return super().__new__(cls)

    def __init__(self, *args: object, **options: object) -> None:
        """See `__new__`."""

    def __setstate__(self, state: object) -> None:
        """Nothing is kept."""


_BESIDE = ("argparse.Namespace", "numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")


def load_state(path: Path, *, if_code: str = "ask its author for a .safetensors file") -> dict[str, torch.Tensor]:
    """Reads a state dict from a safetensors or a torch file, never running code from it.

    Tensors of a table inside the table go by both names: `classifier.fc.weight`.

    Files of torch's present form are mapped, as safetensors are: weights take memory when they are first used, and
    processes share it. Whoever changes them makes copies of their own.

    Args:
        if_code: what to do about a file that holds more than tensors.

    Raises:
        MissingError: the file is no state dict of tensors; the message says what it is, as far as that shows.
    """
    safe = path.suffix.lower() == ".safetensors"
    try:
        if other := lookalike(path) if safe else no_torch_file(path):
            raise MissingError(f"{path} is no weight file: it is {other.what}", remedy=other.remedy)
        content = load_file(path) if safe else _load_torch(path)
    except (*TORCH_RAISES, SafetensorError):
        raise MissingError(
            f"{path} is no weight file: it is cut, damaged or of another form", remedy=f"copy it again, or {_REMEDY}"
        ) from None
    except OSError as error:
        if met := limit_met(error):
            raise met from None
        raise MissingError(f"{path} is no weight file: {error}", remedy=_REMEDY) from None
    except pickle.UnpicklingError as error:  # what torch raises for anything that is not plain tensors
        if "GLOBAL" not in str(error):  # its word for a forbidden name
            raise MissingError(f"{path} is no weight file: it is cut or damaged", remedy="copy it again") from None
        raise MissingError(
            f"{path} holds more than tensors and was not loaded, since loading it would run its code", remedy=if_code
        ) from None
    if isinstance(content, torch.Tensor):
        shape = " x ".join(map(str, content.shape))
        raise MissingError(
            f"{path} is no weight file: it holds one tensor ({shape}) without a name, as files of features do",
            remedy="for features give the folder of a run",
        )
    if not isinstance(content, dict):
        raise MissingError(f"{path} is no weight file: it holds a {type(content).__name__}", remedy=_REMEDY)
    return _tensors(content.get("state_dict", content.get("model", content)))


def _load_torch(path: Path) -> object:
    with torch.serialization.safe_globals([(_Beside, name) for name in _BESIDE]):
        content: object = torch.load(path, map_location="cpu", weights_only=True, mmap=_can_be_mapped(path))
    return content


def _can_be_mapped(path: Path) -> bool:
    """Whether it is an archive of parts that lie there as they are: torch would take packed ones for numbers, too."""
    try:
        with ZipFile(path) as archive:
            return all(part.compress_type == ZIP_STORED for part in archive.infolist())
    except BadZipFile:
        return False


def _tensors(table: object) -> dict[str, torch.Tensor]:
    """The tensors of a table, and of tables in it."""
    if not isinstance(table, dict):
        return {}
    state = {key: value for key, value in table.items() if isinstance(value, torch.Tensor)}
    for outer, inner in table.items():
        if isinstance(inner, dict):
            state |= {f"{outer}.{key}": value for key, value in inner.items() if isinstance(value, torch.Tensor)}
    return state
