"""Doctor: Python and its packages, OpenSlide, what to do about what cannot be loaded."""

import importlib.metadata
import sys
from pathlib import Path

import pytest

from sammil_cli.doctor import libopenslide, python_packages
from sammil_cli.doctor.causes import install, one_line, requirement, why_it_died, why_not_loaded
from sammil_cli.doctor.finding import Asked, Check, Finding

ASKED = Asked(params=Path("params.yaml"))


def only(check: Check) -> Finding:
    (finding,) = check(ASKED)
    return finding


def test_the_libraries_of_this_installation_work() -> None:
    for check in (python_packages.sammil, python_packages.packages, python_packages.torch, python_packages.torchvision):
        assert only(check).state == "ok", only(check)
    assert only(python_packages.packages).facts["numpy"] == importlib.metadata.version("numpy")
    hdf5 = only(python_packages.hdf5)
    assert hdf5.state == "ok"
    assert Path(hdf5.facts["path"]).name == "h5py"
    first, *_ = python_packages.python(ASKED)
    assert sys.executable in first.found


def test_modules_of_another_installation_are_noted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", "/old/code")
    monkeypatch.setattr(python_packages.site, "ENABLE_USER_SITE", True)
    monkeypatch.setattr(python_packages.site, "getusersitepackages", lambda: str(tmp_path))
    notes = {finding.remedy: finding.state for finding in python_packages.python(ASKED) if finding.state != "ok"}
    assert notes == {"unset PYTHONPATH": "note", "export PYTHONNOUSERSITE=1": "note"}


def test_a_package_that_is_absent_or_too_old_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"torch": "2.4.0", "numpy": "2.0.0"}
    lines = ["torch==2.13.0", "numpy>=2.0", "dvc<4,>=3.67", 'dask>=1; extra == "cluster"']
    monkeypatch.setattr(python_packages, "_version", there.get)
    assert list(python_packages._unfit(lines)) == [
        ("torch", "is 2.4.0; sammil needs ==2.13.0"),
        ("dvc", "is not installed"),
    ]


def test_two_kinds_of_opencv_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    real = python_packages._version
    monkeypatch.setattr(python_packages, "_version", lambda name: "4.1" if name == "opencv-python" else real(name))
    note = next(finding for finding in python_packages.packages(ASKED) if finding.name == "OpenCV")
    assert note.state == "note"
    assert "pip uninstall -y opencv-python;" in note.remedy
    assert "--force-reinstall 'opencv-python-headless>=4.10.0.84'" in note.remedy


def test_a_library_that_cannot_be_imported_is_wrong_and_the_others_are_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken_cv.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(python_packages, "_MODULES", {"opencv-python-headless": "broken_cv", "numpy": "numpy"})
    finding = only(python_packages.modules)
    assert (finding.state, finding.name) == ("wrong", "opencv-python-headless")
    assert "libGL.so.1" in finding.found
    assert "pip uninstall opencv-python" in finding.remedy
    monkeypatch.setattr(python_packages, "_MODULES", {"numpy": "numpy"})
    assert only(python_packages.modules).state == "ok"


def test_torchvision_of_another_torch_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision

    def absent(*_: object) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(torchvision.ops, "nms", absent)
    finding = only(python_packages.torchvision)
    assert finding.state == "wrong"
    assert finding.remedy == (
        f"{sys.executable} -m pip install --force-reinstall {requirement('torch')} {requirement('torchvision')}"
    )
    monkeypatch.setattr(torchvision.ops, "nms", lambda boxes, *_: boxes[:, 0].long())
    assert "computes wrong: nms gave [0, 0, 8]" in only(python_packages.torchvision).found


def test_hdf5s_locks_are_noted_where_they_overrule_sammil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", "FALSE")
    assert only(python_packages.hdf5).state == "ok"
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", "TRUE")
    fine, note = python_packages.hdf5(ASKED)
    assert (fine.state, note.state, note.remedy) == ("ok", "note", "unset HDF5_USE_FILE_LOCKING")


def test_hdf5_is_not_blamed_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(python_packages.tempfile, "gettempdir", none)
    assert only(python_packages.hdf5).state == "note"


# ---------------------------------------------------------------------------------------------- causes


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        ("/lib/libc.so.6: version `GLIBC_2.34' not found", "container image"),
        ("libtorch_cpu.so: undefined symbol: iJIT_NotifyEvent", "unset LD_LIBRARY_PATH LD_PRELOAD"),
        ("libgomp.so.1: cannot open shared object file: No such file", "libgomp.so.1 is missing"),
        ("No module named 'h5py'", "pip install --force-reinstall 'h5py>="),
    ],
)
def test_the_words_of_a_library_lead_to_the_fix(words: str, fix: str) -> None:
    assert fix in why_not_loaded(words, "h5py")


def test_a_signal_leads_to_the_fix() -> None:
    assert why_it_died(-4)[0] == "killed by SIGILL"
    assert "--shm-size" in why_it_died(-7)[1]
    assert "memory" in why_it_died(-9)[1]
    assert "sammil doctor --json" in why_it_died(-15)[1]


def test_in_the_image_nothing_is_installed_by_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    assert requirement("torch") == "'torch==2.13.0'"
    assert requirement("no-such") == "no-such"
    monkeypatch.setenv("SAMMIL_IMAGE", "sammil 1, revision 2")
    assert "docker build" in install("torch")
    assert "image sammil 1, revision 2" in only(python_packages.sammil).found


def test_words_are_cut_to_one_line() -> None:
    assert one_line(OSError("two\n  lines")) == "two lines"
    assert one_line(ValueError()) == "ValueError"
    assert len(one_line("x" * 1000)) < 210


# ---------------------------------------------------------------------------------------------- OpenSlide

MAPS = """7f00 r-xp 00000000 08:01 11 {own}
7f01 rw-p 00001000 08:01 11 {own}
7f02 r-xp 00000000 08:01 12 /usr/lib/x86_64-linux-gnu/libc.so.6
7f03 r-xp 00000000 08:01 13 /env/openslide/_convert.abi3.so
"""


@pytest.fixture
def maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the system says of this process: libopenslide of openslide-bin, in two parts, and others."""
    path = tmp_path / "maps"
    path.write_text(MAPS.format(own=libopenslide._own()))
    monkeypatch.setattr(libopenslide, "_MAPS", path)
    return path


def test_this_process_has_one_libopenslide_that_of_openslide_bin() -> None:
    finding = only(libopenslide.library)
    assert finding.state == "ok"
    assert finding.facts["files"] == [str(libopenslide._own())]
    assert finding.facts["version"].startswith("4.")
    assert only(libopenslide.beside_torch).state == "ok"


def test_parts_of_one_file_are_one_library(maps: Path) -> None:
    assert libopenslide.mapped() == [str(libopenslide._own())]
    assert only(libopenslide.library).state == "ok"


def test_a_second_libopenslide_in_the_process_is_wrong(maps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with maps.open("a") as stream:
        stream.write("7f04 r-xp 00000000 08:01 14 /opt/conda/lib/libopenslide.so.0.4.0 (deleted)\n")
    for check in (libopenslide.library, libopenslide.beside_torch):
        finding = only(check)
        assert finding.state == "wrong"
        assert "2 in one process" in finding.found
        assert "/opt/conda/lib" in finding.remedy
    monkeypatch.setenv("LD_PRELOAD", "/opt/conda/lib/libopenslide.so.0.4.0")
    assert only(libopenslide.library).remedy == "unset LD_PRELOAD"


def test_only_the_systems_libopenslide_is_wrong(maps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maps.write_text("7f04 r-xp 00000000 08:01 14 /usr/lib/libopenslide.so.0\n")
    assert "/usr/lib/libopenslide.so.0" in only(libopenslide.library).found
    assert only(libopenslide.library).state == "wrong"
    monkeypatch.setattr(libopenslide, "_own", lambda: None)
    finding = only(libopenslide.library)
    assert "openslide-bin is not installed" in finding.found
    assert "'openslide-bin>=" in finding.remedy


def test_without_proc_nothing_is_said_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libopenslide, "_MAPS", tmp_path / "none")
    assert libopenslide.mapped() is None
    assert only(libopenslide.library).state == "ok"
    assert "only" not in only(libopenslide.library).found
    assert list(libopenslide.beside_torch(ASKED)) == []


def test_an_openslide_that_cannot_be_loaded_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise OSError("libopenslide.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(libopenslide.importlib, "import_module", fail)
    finding = only(libopenslide.library)
    assert finding.state == "wrong"
    assert "openslide-bin" in finding.remedy
    assert list(libopenslide.beside_torch(ASKED)) == []  # it is said once
