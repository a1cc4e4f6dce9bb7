"""Files that are not what their names say: a web page saved as weights, a program in place of numbers."""

import struct
import zipfile
from pathlib import Path
from typing import NamedTuple

_HEAD = 512
_AGAIN = "download it again; its address may ask for a login, or lead to a page about the file"
# How a file begins, what it is then, and what to do.
_BEGINNINGS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "fetch the file: git lfs pull"),
    (b"<!doctype html", "a web page", _AGAIN),
    (b"<html", "a web page", _AGAIN),
    (b"<?xml", "an XML file", _AGAIN),
    (b"%pdf", "a PDF document", _AGAIN),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"\x93numpy", "a NumPy array", "name it .npy"),
)
# What torch.load raises for damaged files, beside UnpicklingError and OSError: it takes their pickle at its word.
TORCH_RAISES = (
    *(RuntimeError, EOFError, struct.error, ValueError, TypeError, LookupError, AttributeError),
    *(AssertionError, ArithmeticError, MemoryError),
)
_HDF5 = b"\x89HDF\r\n\x1a\n"


class Lookalike(NamedTuple):
    """What a file is instead (`a web page`), and what to do about it."""

    what: str
    remedy: str


def lookalike(path: Path) -> Lookalike | None:
    """Tells a file that is neither HDF5 nor torch's by its first bytes; None where it may be. Runs nothing of it.

    Raises:
        OSError: it cannot be opened.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    if not head.strip(b"\0"):
        what = "filled with zeros, as a broken copy leaves it" if head else "empty"
        return Lookalike(what, "copy or download it again")
    begins = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((Lookalike(what, remedy) for start, what, remedy in _BEGINNINGS if begins.startswith(start)), None)


def no_torch_file(path: Path) -> Lookalike | None:
    """As `lookalike`, for a file that should hold tensors as `torch.save` writes them: a zip archive, or a pickle.

    Raises:
        OSError: it cannot be opened.
    """
    if other := lookalike(path):
        return other
    with path.open("rb") as stream:
        head = stream.read(9)
    if head.startswith(_HDF5):
        return Lookalike("an HDF5 file", "name it .h5")
    if head[8:] == b"{":  # behind the length of its header
        return Lookalike("a safetensors file", "name it .safetensors")
    if head.startswith(b"PK"):
        return _no_torch_zip(path)
    if not head.startswith(b"\x80"):  # how a pickle of torch's older form begins
        return Lookalike("no file that torch wrote", "give a state dict, as .safetensors or .pth")
    return None


def _no_torch_zip(path: Path) -> Lookalike | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return Lookalike("cut or damaged", "copy or download it again")
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        return Lookalike(
            "a TorchScript program, whose code was not run",
            "ask its author for the tensors alone: torch.save(model.state_dict(), path)",
        )
    if not any(name.endswith("data.pkl") for name in names):
        shown = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
        return Lookalike(f"a zip archive that torch did not write ({shown or 'empty'})", "unpack it first")
    return None
