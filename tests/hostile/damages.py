"""What can be wrong with a file, whatever it holds: each takes the path of a good one and damages it in place."""

import json
import os
import random
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import good_files as good
import h5py
import numpy as np
from sealing import seal

Damage = Callable[[Path], None]
WEB_PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>403 Forbidden</body></html>"


def missing(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def write(content: str | bytes, path: Path) -> None:
    path.write_bytes(content.encode() if isinstance(content, str) else content)


empty = partial(write, b"")
zeros = partial(write, bytes(4096))
a_web_page = partial(write, WEB_PAGE)
a_picture = partial(write, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xff")
deep_brackets = partial(write, b"[" * 100_000 + b"]" * 100_000)


def png_of(side: int, depth: int = 8) -> bytes:
    """A PNG whose head claims these pixels, and which holds a few bytes of them."""
    head = struct.pack(">IIBBBBB", side, side, depth, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for kind, value in ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 1000))):
        data += struct.pack(">I", len(value)) + kind + value + struct.pack(">I", zlib.crc32(kind + value))
    return data


def half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def zeroed_block(path: Path) -> None:
    """512 bytes, or a third of a small file: those that held most."""
    data = path.read_bytes()
    length = min(512, len(data) // 3)
    at = min(range(0, len(data) - length + 1, length), key=lambda at: data.count(0, at, at + length))
    path.write_bytes(data[:at] + bytes(length) + data[at + length :])


def flipped_bits(path: Path) -> None:
    """One bit in each of 16 parts of the file, drawn from a seed."""
    data, rng = bytearray(path.read_bytes()), random.Random(1)
    for part in range(16):
        at = rng.randrange(part * len(data) // 16, max(part * len(data) // 16 + 1, (part + 1) * len(data) // 16))
        data[at] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(data))


def no_permission(path: Path) -> None:
    path.chmod(0)


def link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def link_to_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("gone")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def endless_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def replace(old: str, new: str, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, old
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def other_pickle(change: Callable[[bytes], bytes], path: Path) -> None:
    """Changes the pickle in a file of torch."""
    with zipfile.ZipFile(path) as archive:
        members = {info: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for info, content in members.items():
            archive.writestr(info, change(content) if info.filename.endswith("data.pkl") else content)


def without_bytes(start: int, end: int, path: Path) -> None:
    """Takes bytes out of the pickle in a file of torch."""
    other_pickle(lambda content: content[:start] + content[end:], path)


def number_for_storage(path: Path) -> None:
    """The pickle in a file of torch refers to a number, where a storage belongs."""
    other_pickle(lambda _: b"\x80\x02K\x01Q.", path)


def rewrite(old: str, new: str, path: Path) -> None:
    """As `replace`, with a sum that fits."""
    replace(old, new, path)
    seal(path)


def in_a_list(name: str, path: Path) -> None:
    """A member of a JSON object within a list of its own, with a sum that fits."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content[name] = [content[name]]
    path.write_text(json.dumps(content), encoding="utf-8")
    seal(path)


def edited_numbers(name: str, path: Path) -> None:
    """Another number in an array, in a file whose sums stay as they are."""
    with h5py.File(path, "r+") as file:
        values = file[name][()]
        values.flat[0] = values.flat[-1]
        file[name][...] = values


def edited_attribute(name: str, value: object, path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs[name] = value


def latin_1(path: Path) -> None:
    path.write_bytes(path.read_bytes() + "ä\n".encode("latin-1"))


def utf_16(path: Path) -> None:
    path.write_bytes(path.read_bytes().decode().encode("utf-16"))


def other_kind(make: Callable[[Path], None], path: Path) -> None:
    """A good file of another kind under this name."""
    make(path)


def another_slides(make: Callable[[Path], None], path: Path) -> None:
    """The good file of `slide_02` under the name of this one."""
    other = path.with_name(path.name.replace("slide_01", "slide_02"))
    make(other)
    other.replace(path)


# ------------------------------------------------------------------------------------------------------ HDF5
# Sums are made to fit: it is the schema that has to see these.


def attribute(name: str, value: object, path: Path) -> None:
    """Another value of an attribute; None takes it off."""
    with h5py.File(path, "r+") as file:
        del file.attrs[name]
        if value is not None:
            file.attrs[name] = value
    seal(path)


def array(name: str, value: object, path: Path) -> None:
    """Another array, or a link; None takes it out; a function makes it of the old one."""
    with h5py.File(path, "r+") as file:
        old = file[name][()]
        del file[name]
        if value is not None:
            file[name] = value(old) if callable(value) else value
    seal(path)


def number(name: str, value: float, path: Path) -> None:
    """The first number of an array."""
    with h5py.File(path, "r+") as file:
        file[name][(0,) * file[name].ndim] = value
    seal(path)


def huge_claim(name: str, path: Path) -> None:
    """An array of 2^40 rows, of which none is in the file."""
    with h5py.File(path, "r+") as file:
        old = file[name]
        shape, dtype = old.shape[1:], old.dtype
        del file[name]
        file.create_dataset(name, (1 << 40, *shape), dtype, chunks=(1024, *shape))
    seal(path)


def gzip_bomb(name: str, path: Path) -> None:
    """4 GiB of zeros, some megabytes as chunks that repeat."""
    with h5py.File(path, "r+") as file:
        dtype = file[name].dtype
        del file[name]
        file.create_dataset(name, (1 << 32,), dtype, chunks=(1 << 24,), compression="gzip")[: 1 << 24] = 0
    seal(path)


def external_link(name: str, path: Path) -> None:
    other = path.with_name("secret.h5")
    shutil.copy(path, other)
    array(name, h5py.ExternalLink(other.name, f"/{name}"), path)


def external_storage(name: str, path: Path) -> None:
    """Numbers that lie in a raw file beside."""
    with h5py.File(path, "r+") as file:
        old = file[name][()]
        path.with_name("secret.raw").write_bytes(old.tobytes())
        del file[name]
        raw = [("secret.raw", 0, old.nbytes)]
        file.create_dataset(name, old.shape, old.dtype, external=raw)
    seal(path)


def virtual(name: str, path: Path) -> None:
    """An array whose numbers are another file's."""
    other = path.with_name("secret.h5")
    shutil.copy(path, other)
    with h5py.File(path, "r+") as file:
        old = file[name]
        layout = h5py.VirtualLayout(old.shape, old.dtype)
        layout[...] = h5py.VirtualSource(other.name, name, old.shape)
        del file[name]
        file.create_virtual_dataset(name, layout)
    seal(path)


def link_in_a_circle(name: str, path: Path) -> None:
    array(name, h5py.SoftLink(f"/{name}"), path)


def a_group(name: str, path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]
        file.create_group(name)
    seal(path)


def as_text(old: np.ndarray) -> np.ndarray:
    return np.full(old.shape, b"text", "S4")


def as_complex(old: np.ndarray) -> np.ndarray:
    return old.astype(np.complex64)


def without_a_row(old: np.ndarray) -> np.ndarray:
    return old[:-1]


def no_rows(old: np.ndarray) -> np.ndarray:
    return old[:0]


def nothing_in_it(old: np.ndarray) -> h5py.Empty:
    return h5py.Empty(old.dtype)


def falling(old: np.ndarray) -> np.ndarray:
    return old[::-1].copy()


SEALING = (rewrite, attribute, array, number, huge_claim, gzip_bomb, external_storage, virtual, a_group)
PATCHES, BAG, TISSUE, RECORD = (
    partial(other_kind, make) for make in (good.patches, good.bag, good.tissue, good.record)
)
