"""What hangs or crashes the HDF5 library costs its own file only: a process with limits looks first."""

import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
from h5_files import READ, WRITE, as_first_version, bag
from processes_seen import gone

from sammil_cli.errors import InputError
from sammil_cli.features.bag import write_bag
from sammil_cli.storage import hdf5_process
from sammil_cli.storage.origin import read_record

every_kind = pytest.mark.parametrize("kind", list(WRITE))


def hanging(path: Path) -> None:
    """A bag with zeros in the heap of its texts, in which HDF5 looks for an object of length 0 for ever."""
    write_bag(path, bag(path.stem), {})
    data = bytearray(path.read_bytes())
    heap = data.index(b"GCOL")
    data[heap + 64 : heap + 576] = bytes(512)
    path.write_bytes(data)


def test_a_file_that_hangs_the_library_costs_itself_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_process, "CPU_SECONDS", 0.5)
    hanging(tmp_path / "a.h5")
    WRITE["bag"](tmp_path / "b.h5")
    with pytest.raises(InputError, match=r"did not come to an end within 0\.5 s") as caught:
        READ["bag"](tmp_path / "a.h5")
    assert caught.value.code == "E_DAMAGED"
    assert READ["bag"](tmp_path / "b.h5").slide_id == "b"


def test_its_record_cannot_be_read_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_process, "CPU_SECONDS", 0.5)
    hanging(tmp_path / "a.h5")
    assert read_record(tmp_path / "a.h5", ".h5") is None
    WRITE["bag"](tmp_path / "c.h5")
    assert (read_record(tmp_path / "c.h5", ".h5") or {})["stage"] == "test"


def test_a_file_that_crashes_the_library_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    WRITE["bag"](tmp_path / "a.h5")
    hdf5_process.look_into(tmp_path / "a.h5")
    os.kill(hdf5_process._helpers[0]._process.pid, signal.SIGKILL)
    assert READ["bag"](tmp_path / "a.h5").slide_id == "a"  # somebody else ended it: another one is started

    def crash(helper: hdf5_process._Helper, path: Path) -> None:
        os.kill(helper._process.pid, signal.SIGSEGV)
        raise EOFError

    monkeypatch.setattr(hdf5_process._Helper, "ask", crash)
    WRITE["bag"](tmp_path / "b.h5")
    with pytest.raises(InputError, match=r"the HDF5 library crashed \(SIGSEGV\)") as caught:
        READ["bag"](tmp_path / "b.h5")
    assert caught.value.code == "E_DAMAGED"
    monkeypatch.undo()
    assert READ["bag"](tmp_path / "b.h5").slide_id == "b"


def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    WRITE["bag"](tmp_path / "a.h5")
    code = (
        "import sys, os, pathlib; from sammil_cli.storage import hdf5_process as p; "
        "p.look_into(pathlib.Path(sys.argv[1])); print(p._helpers[0]._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    said = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.h5")], capture_output=True, text=True)
    assert gone([int(said.stdout)])


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.h5")
    (tmp_path / "b.h5").mkdir()
    for name in ("a.h5", "b.h5"):
        with pytest.raises(InputError, match="it is no file") as caught:
            READ["bag"](tmp_path / name)
        assert caught.value.code == "E_DAMAGED"


def test_a_place_in_the_file_may_not_lie_outside_of_it(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    WRITE["bag"](path)
    as_first_version(path)
    with h5py.File(path) as file:
        offset, nbytes = file["features"].id.get_offset(), file["features"].nbytes
    data = path.read_bytes()
    place = struct.pack("<QQ", offset, nbytes)
    assert data.count(place) == 1
    path.write_bytes(data.replace(place, struct.pack("<QQ", len(data) - 8, nbytes)))
    with pytest.raises(InputError) as caught:  # the library's own checksum, or the end of the file
        READ["bag"](path)
    assert caught.value.code == "E_DAMAGED"
