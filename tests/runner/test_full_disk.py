"""A disk that is full, and other limits of the system: words for each, nothing half-written, and it goes on afterwards.

Whatever meets a limit here does so in a process of its own.
"""

import csv
import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from slide_maker import draw_asymmetric, write_pyramid

from sammil_cli.errors import MissingError, SlideError, limit_met
from sammil_cli.project.process_list import ProcessList, Row
from sammil_cli.runner.worker import trouble_of
from sammil_cli.storage import hdf5
from sammil_cli.storage.claims import Claims
from sammil_cli.storage.hdf5_to_disk import new_hdf5
from sammil_cli.storage.store import ResultStore

CALL = "import sys; sys.argv = ['sammil', *sys.argv[1:]]; from sammil_cli.cli.app import main; main()"
# Python itself, where it cannot write all of a module's bytecode, keeps half of it.
ENVIRONMENT = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}

LIMITS = [
    (errno.ENOSPC, "E_DISK", "the disk is full", "free some space"),
    (errno.EDQUOT, "E_DISK", "your quota on this disk is used up", "quota -s"),
    (errno.EFBIG, "E_DISK", "a file grew larger than is allowed here", "ulimit -f"),
    (errno.EIO, "E_DISK", "the disk, or the way to it, failed", "dmesg"),
    (errno.ESTALE, "E_DISK", "the file server has lost sight of a file", "mount the disk again"),
    (errno.EMFILE, "E_FILES", "no more files may be opened at once", "ulimit -n"),
    (errno.ENFILE, "E_FILES", "this machine may open no more files", "end other programs"),
    (errno.ENAMETOOLONG, "E_NAME", "a name is longer than the file system allows", "a shorter one"),
    (errno.ENOMEM, "E_MEMORY", "not enough memory", "ulimit -v"),
]


def as_system(number: int) -> Exception:
    return OSError(number, os.strerror(number), "/data/a.h5")


def as_hdf5(number: int) -> Exception:
    return RuntimeError(f"Can't decrement id ref count (file write failed, errno = {number}, error message = 'x')")


def as_rust(number: int) -> Exception:
    return ValueError(f"Error while serializing: I/O error: x (os error {number})")


def as_cause(number: int) -> Exception:
    try:
        try:
            raise as_system(number)
        except OSError as error:
            raise RuntimeError("the library gave up") from error
    except RuntimeError as error:
        return error


@pytest.mark.parametrize("made", [as_system, as_hdf5, as_rust, as_cause], ids=lambda made: made.__name__)
@pytest.mark.parametrize(("number", "code", "words", "fix"), LIMITS, ids=[errno.errorcode[row[0]] for row in LIMITS])
def test_a_limit_of_the_system_is_no_bug_whoever_passes_it_on(
    made: Callable[[int], Exception], number: int, code: str, words: str, fix: str
) -> None:
    error = trouble_of(made(number))
    assert (error.code, error.set_aside) == (code, False)
    assert error.message.startswith(words)
    assert fix in error.remedy


def test_a_read_only_disk_is_told_in_a_worker(tmp_path: Path) -> None:
    error = trouble_of(OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / "a.h5")))
    assert (error.code, error.message) == ("E_DENIED", f"Read-only file system: {tmp_path / 'a.h5'}")
    assert "without :ro" in error.remedy


def test_other_errors_stay_what_they_are() -> None:
    for error in (ValueError("errno of nothing"), KeyError("a"), OSError("a library's own words")):
        assert limit_met(error) is None
    with pytest.raises(ValueError, match="of ours") as caught:
        raise ValueError("a mistake of ours")
    assert trouble_of(caught.value).code == "E_BUG"
    assert limit_met(MissingError("No space left: [Errno 28]", remedy="")) is None  # it has its words already


def test_a_file_that_cannot_be_read_for_want_of_a_limit_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.h5"
    path.touch()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(MissingError) as caught:
        hdf5.read_hdf5(path, "patches")
    assert caught.value.code == "E_FILES"
    assert "delete" not in caught.value.remedy


# ---------------------------------------------------------------------------------------------- each writer

WRITERS = """
import errno, os, sys
from pathlib import Path
import numpy as np
import resource
import torch
from sammil_cli.legacy.torch_file import write_torch
from sammil_cli.legacy.writers import _write
from sammil_cli.demo.cohort import _write_pyramid
from sammil_cli.storage.picture_file import write_picture
from sammil_cli.storage.files import atomic_path, write_csv, write_json, write_text
from sammil_cli.storage.hdf5 import read_hdf5, write_hdf5
from sammil_cli.storage.hdf5_to_disk import new_hdf5
from sammil_cli.training.checkpoint import Checkpoint, write_checkpoint

noise = np.random.default_rng(0).integers(0, 255, (512, 512, 3), np.uint8)
state = {"w": torch.from_numpy(noise)}
checkpoint = Checkpoint(tensors=state, best=state, best_epoch=0, history=[], probabilities=[])
xy = np.stack(np.divmod(np.arange(40_000, dtype=np.int32), 500), 1)
facts = {"slide_id": "a", "slide_mpp": 0.5, "slide_size_px": (40_000, 40_000), "bounds_px": (0, 0, 40_000, 40_000)}
facts |= {"patch_px": 64, "patch_mpp": 0.5, "patch_px_level0": 64, "step_px_level0": None}

def write_raw(path, **options):
    with atomic_path(path) as temporary, new_hdf5(temporary, libver="v110") as file:
        file.create_dataset("x", data=noise[:64], **options)
        file.create_dataset("y", data=noise, **options)
        file.attrs["long"] = "x" * 60_000

writers = {
    "a.h5": lambda path: write_hdf5(path, "patches", {"xy": xy}, facts, {}),
    "chunked.h5": lambda path: write_raw(path, compression="gzip"),
    "facts.h5": lambda path: write_raw(path),
    "old.h5": lambda path: _write(path, {"x": noise}, {"x": {"a": 1}}),
    "a.png": lambda path: write_picture(path, noise),
    "a.jpg": lambda path: write_picture(path, noise),
    "a.pt": lambda path: write_torch(path, noise[..., 0]),
    "a.safetensors": lambda path: write_checkpoint(path, checkpoint),
    "a.tif": lambda path: _write_pyramid(path, noise),
    "a.txt": lambda path: write_text(path, "x" * 200_000),
    "a.json": lambda path: write_json(path, ["x" * 200_000]),
    "a.csv": lambda path: write_csv(path, ("a",), [("x" * 200_000,)]),
}
folder = Path(sys.argv[1])
for limit in (0, 1000, 40_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for name, write in writers.items():
        for attempt in range(2):
            try:
                write(folder / name)
            except OSError as error:
                print(limit, name, errno.errorcode[error.errno])
            else:
                print(limit, name, "was written")
print("left:", os.listdir(folder))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for name, write in writers.items():
    write(folder / name)
assert (read_hdf5(folder / "a.h5", "patches")[0]["xy"] == xy).all()
print("then:", len(os.listdir(folder)) - len(writers))
"""


@pytest.mark.slow
def test_every_writer_says_that_a_file_cannot_grow_and_leaves_nothing(tmp_path: Path) -> None:
    """HDF5, when it writes itself, ends this process with SIGSEGV; OpenCV says nothing, torch something else."""
    words = [sys.executable, "-c", WRITERS, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        said, complaints = process.communicate(timeout=120)
    assert (process.returncode, complaints) == (0, "")
    lines = said.splitlines()
    assert lines[-2:] == ["left: []", "then: 0"]
    assert len(lines) == 2 + 3 * 2 * 12
    assert [line for line in lines[:-2] if not line.endswith(" EFBIG")] == []


def test_an_hdf5_file_is_as_the_library_would_write_it(tmp_path: Path) -> None:
    arrays = {"features": np.arange(3000.0, dtype=np.float16).reshape(-1, 3), "where": np.arange(14, dtype=np.int32)}
    for path in (tmp_path / "a.h5", tmp_path / "b.h5"):
        path.touch()
        with new_hdf5(path, libver="v110") as file:
            for name, array in arrays.items():
                file.create_dataset(name, data=array, track_times=False)
            file.attrs["kind"] = "bag"
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    with h5py.File(tmp_path / "a.h5", "r", locking=False) as file:
        assert dict(file.attrs) == {"kind": "bag"}
        for name, array in arrays.items():
            assert file[name].dtype == array.dtype
            assert (file[name][()] == array).all()
            assert file[name].id.get_offset() % 64 == 0  # so that it can be mapped


def test_an_error_of_the_block_is_not_hidden(tmp_path: Path) -> None:
    (tmp_path / "a.h5").touch()
    with pytest.raises(KeyError), new_hdf5(tmp_path / "a.h5"):
        raise KeyError("ours")


# ---------------------------------------------------------------------------------------------- the store, the list


def test_a_claim_that_cannot_be_written_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Claims(tmp_path) as claims:
        monkeypatch.setattr("sammil_cli.storage.claims.json.dump", full)
        with pytest.raises(OSError, match="No space"):
            claims.take("key")
        monkeypatch.undo()
        assert claims.take("key")  # nobody waits a minute for a claim that says nothing


def test_a_store_that_is_full_says_so_and_forgets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ResultStore(tmp_path)
    folder = store.workspace()
    (folder / "a.txt").write_text("a")
    real = Path.rename

    def full(path: Path, target: Path) -> Path:
        if path == folder:
            raise OSError(errno.EDQUOT, "Disk quota exceeded", str(path))
        return real(path, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="quota"):
        store.put("name", folder)
    assert (folder / "a.txt").read_text() == "a"


def test_a_list_that_cannot_be_written_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    listing = ProcessList(tmp_path / "segment.csv", None, ResultStore(tmp_path / "store"))
    monkeypatch.setattr("sammil_cli.project.process_list.write_csv", full)
    monkeypatch.setattr("sammil_cli.project.process_list._WRITE_SECONDS", -1.0)
    listing.add(Row(slide_id="a", status="done"))  # it would write now, and the run goes on
    listing.add(Row(slide_id="b", status="failed", code="E_DISK", message="the disk is full", remedy="free some"))
    with pytest.raises(OSError, match="No space"):
        listing.close("segment", tmp_path / "out")
    said = capsys.readouterr().out
    assert "failed: b  E_DISK  the disk is full" in said
    assert "segment: 1 done, 1 failed" in said


# ---------------------------------------------------------------------------------------------- whole commands


def sammil(folder: Path, *words: str, **limits: int) -> subprocess.CompletedProcess[str]:
    """Runs a command in a folder, with limits by their names in `resource`."""

    def limit() -> None:
        for name, value in limits.items():
            resource.setrlimit(getattr(resource, name), (value, value))

    command = [sys.executable, "-c", CALL, *words]
    return subprocess.run(
        command, cwd=folder, preexec_fn=limit, capture_output=True, text=True, check=False, timeout=120, env=ENVIRONMENT
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two slides, and nothing else."""
    return slides_in(tmp_path / "project")


def slides_in(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "params.yaml").write_text("tissue_min_area_um2: 1000.0\n", encoding="utf-8")
    for name in ("one", "two"):
        write_pyramid(folder / "data" / "slides" / f"{name}.tif", draw_asymmetric(), mpp=2.0)
    return folder


def listed(folder: Path) -> dict[str, tuple[str, str]]:
    with (folder / "artifacts/process_lists/segment.csv").open(encoding="utf-8", newline="") as stream:
        return {row["slide_id"]: (row["status"], row["code"]) for row in csv.DictReader(stream)}


def half_written(folder: Path) -> list[Path]:
    """What is left of writing: temporary files, and results without their companions."""
    left = [path for path in folder.rglob("*") if path.name.startswith((".tmp-", ".work-"))]
    tissue = [path.name for path in (folder / "artifacts/tissue").glob("*")]
    assert sorted(tissue) in ([], ["one.geojson", "one.h5", "one.jpg", "two.geojson", "two.h5", "two.jpg"])
    return left


DONE = {"one": ("done", ""), "two": ("done", "")}


@pytest.mark.slow
def test_a_file_that_may_not_grow_costs_each_slide_and_the_next_run_does_them(project: Path) -> None:
    answer = sammil(project, "segment", RLIMIT_FSIZE=20_000)
    assert answer.returncode == 1, answer.stderr
    assert listed(project) == {"one": ("failed", "E_DISK"), "two": ("failed", "E_DISK")}
    assert "Traceback" not in answer.stderr + answer.stdout
    assert "ulimit -f" in answer.stdout
    assert half_written(project) == []
    answer = sammil(project, "segment")
    assert answer.returncode == 0, answer.stdout
    assert listed(project) == DONE
    assert half_written(project) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """8 MB, of the test's own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    words = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    mounted = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=60)


def fill(folder: Path, *, but: int) -> Path:
    """A file that fills the disk but for a number of bytes."""
    path = folder / "fill"
    free = os.statvfs(folder)
    with path.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, max(4096, free.f_bavail * free.f_bsize - but))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("room", "code"), [pytest.param(0, 3, marks=pytest.mark.stress), (300_000, 1)])
def test_a_full_disk_ends_a_run_in_words_and_it_goes_on_when_there_is_room(
    small_disk: Path, room: int, code: int
) -> None:
    project = slides_in(small_disk / "project")
    (project / "artifacts/process_lists").mkdir(parents=True)
    filled = fill(small_disk, but=room)
    answer = sammil(project, "segment")
    assert answer.returncode == code, answer.stderr
    assert "E_DISK" in answer.stdout + answer.stderr
    assert "the disk is full" in answer.stdout + answer.stderr
    assert "free some space" in answer.stdout + answer.stderr
    assert "Traceback" not in answer.stderr
    assert half_written(project) == []
    if code == 1:
        assert listed(project) == {"one": ("failed", "E_DISK"), "two": ("failed", "E_DISK")}
    filled.unlink()
    assert sammil(project, "segment").returncode == 0
    assert listed(project) == DONE
    assert half_written(project) == []


def test_a_disk_that_became_read_only_is_told(small_disk: Path) -> None:
    project = slides_in(small_disk / "project")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True, timeout=60)
    answer = sammil(project, "segment")
    assert answer.returncode == 3
    assert "error: E_DENIED: Read-only file system: " in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.slow
def test_too_few_open_files_are_told(project: Path) -> None:
    answer = sammil(project, "segment", "--workers", "1", RLIMIT_NOFILE=13)
    assert answer.returncode in (1, 3), answer.stderr
    assert "E_FILES" in answer.stdout + answer.stderr
    assert "ulimit -n" in answer.stdout + answer.stderr
    assert "Traceback" not in answer.stderr
    assert sammil(project, "segment").returncode == 0


@pytest.mark.slow
def test_a_memory_limit_that_not_even_libraries_fit_into_is_told(project: Path) -> None:
    answer = sammil(project, "segment", "-S", "slide_memory_gib=0.01")
    assert answer.returncode == 1
    assert listed(project) == {"one": ("failed", "E_MEMORY"), "two": ("failed", "E_MEMORY")}
    assert "raise slide_memory_gib" in answer.stdout
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("mebibytes", [300, 600, 999])
def test_too_little_address_space_is_told_before_a_library_crashes(project: Path, mebibytes: int) -> None:
    answer = sammil(project, "segment", RLIMIT_AS=mebibytes << 20)
    assert answer.returncode == 3
    assert answer.stderr.startswith(f"error: E_MEMORY: this process may use {mebibytes} MiB of address space")
    assert "Traceback" not in answer.stderr


def test_a_library_that_finds_no_memory_is_told() -> None:
    for error in (
        MemoryError(),
        ImportError("x.so: failed to map segment from shared object"),
        RuntimeError("can't start new thread"),
    ):
        met = limit_met(error)
        assert met is not None
        assert (met.code, met.exit_code) == ("E_MEMORY", 3)


def test_a_worker_passes_it_on_as_an_error_of_the_slide() -> None:
    error: Any = trouble_of(RuntimeError("can't start new thread"))
    assert isinstance(error, SlideError)
    assert error.code == "E_MEMORY"
