"""New HDF5 files, written for the library, not by it: on a full disk it leaves files half open, and then crashes."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import h5py

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


@contextmanager
def new_hdf5(path: Path, *, libver: str | None = None) -> Iterator[h5py.File]:
    """A file to be filled, in place of `path`, which is there and empty.

    Raises:
        OSError: it could not be written, with the system's own number. The file is not whole then.
    """
    with path.open("rb+", buffering=0) as stream:
        disk = _Disk(cast("BinaryIO", stream))
        aligned = {"alignment_threshold": 1, "alignment_interval": 64}  # so arrays can be mapped
        try:
            with h5py.File(disk, "w", libver=libver, locking=False, **aligned) as file:
                yield file
        finally:
            if disk.error is not None:
                raise OSError(disk.error.errno, disk.error.strerror, str(path))


class _Disk(io.RawIOBase):
    """What HDF5 takes for the disk. After the first `error` of the real one it keeps nothing, and complains no more."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, data: "ReadableBuffer") -> int:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view) and self.error is None:
            try:
                done += self._stream.write(view[done:])
            except OSError as error:
                self.error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return self._stream.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        data = self._stream.read(len(view))
        if self.error is not None:
            data = data.ljust(len(view), b"\0")
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()
