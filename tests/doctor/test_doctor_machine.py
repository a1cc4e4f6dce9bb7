"""Doctor: the machine's limits and the project's folders, each in order and out of order."""

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from sammil_cli.doctor import causes, folders, machine_limits
from sammil_cli.doctor.finding import Asked, Check, Finding

ASKED = Asked(params=Path("params.yaml"))


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two of its folders, outside of a container."""
    monkeypatch.setattr(causes, "_MARKS", ())
    monkeypatch.delenv("SAMMIL_IMAGE", raising=False)
    for name in ("artifacts/tissue", "runs"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "params.yaml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def look(check: Check) -> dict[str, Finding]:
    return {finding.name: finding for finding in check(ASKED)}


# ---------------------------------------------------------------------------------------------- machine


def test_cores_memory_and_open_files_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_limits, "usable_cores", lambda: 3)
    monkeypatch.setattr(machine_limits, "available_bytes", lambda: 5 * 2**30)
    monkeypatch.setattr(machine_limits.resource, "getrlimit", lambda _: (1024, -1))
    found = look(machine_limits.cores_and_memory)
    assert {finding.state for finding in found.values()} == {"ok"}
    assert found["cores"].found.startswith("3 of ")
    assert found["memory"].found == "5.0 GiB left"


def test_little_memory_and_few_open_files_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_limits, "available_bytes", lambda: 2**30)
    monkeypatch.setattr(machine_limits.resource, "getrlimit", lambda _: (256, 2048))
    found = look(machine_limits.cores_and_memory)
    assert (found["memory"].state, found["open files"].state) == ("note", "note")
    assert found["open files"].remedy == "ulimit -n 2048"


def test_worker_processes_need_a_semaphore(monkeypatch: pytest.MonkeyPatch) -> None:
    assert look(machine_limits.shared_memory)["shared memory"].state == "ok"

    def full(_: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(machine_limits.multiprocessing, "get_context", full)
    finding = look(machine_limits.shared_memory)["shared memory"]
    assert finding.state == "wrong"
    assert "mount -t tmpfs" in finding.remedy
    monkeypatch.setenv("SAMMIL_IMAGE", "sammil 1")
    assert "docker run --shm-size" in look(machine_limits.shared_memory)["shared memory"].remedy


def test_temporary_files_can_be_written_or_not(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    monkeypatch.setattr(machine_limits.tempfile, "tempdir", str(project))
    finding = look(machine_limits.temporary_folder)["temporary files"]
    assert (finding.state, finding.facts["path"]) == ("ok", str(project))
    monkeypatch.setattr(machine_limits.shutil, "disk_usage", lambda _: SimpleNamespace(free=5 * 2**20))
    assert look(machine_limits.temporary_folder)["temporary files"].state == "note"
    monkeypatch.setattr(machine_limits.tempfile, "tempdir", str(project / "gone"))
    finding = look(machine_limits.temporary_folder)["temporary files"]
    assert finding.state == "wrong"
    assert "export TMPDIR=" in finding.remedy


def test_a_home_that_cannot_be_written_is_noted(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    monkeypatch.setenv("HOME", str(project / "not" / "there" / "yet"))
    monkeypatch.setenv("MPLCONFIGDIR", str(project))
    assert look(machine_limits.home)["home"].state == "ok"
    monkeypatch.setattr(machine_limits.os, "access", lambda path, _: path != project)
    finding = look(machine_limits.home)["home"]
    assert finding.state == "note"
    assert f"MPLCONFIGDIR ({project})" in finding.found
    assert "export HOME=" in finding.remedy


def test_a_user_without_a_home_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", dict[int, object]().__getitem__)  # a number that no account has
    finding = look(machine_limits.home)["home"]
    assert finding.state == "note"
    assert "HOME is not set" in finding.found


# ---------------------------------------------------------------------------------------------- folders


def test_folders_that_can_be_written_are_left_as_they_were(project: Path) -> None:
    (project / ".dvc").mkdir()
    before = sorted(project.rglob("*"))
    found = look(folders.writing)
    assert {name: finding.state for name, finding in found.items()} == {"writing": "ok", "locks": "ok"}
    # The store is not there yet: it will be made in .dvc, which is tried in its place.
    assert found["writing"].found == "write, rename and claim work in project, artifacts, runs, DVC cache"
    assert found["writing"].facts["DVC cache"] == str(project / ".dvc")
    assert sorted(project.rglob("*")) == before


@pytest.mark.parametrize(
    ("number", "words", "fix"),
    [
        (errno.EROFS, "Read-only file system", "without :ro"),
        (errno.EACCES, "Permission denied", "chmod"),
        (errno.ENOSPC, "disk is full", "free some space"),
        (errno.EIO, "the disk, or the way to it, failed", "dmesg"),
        (errno.ENOLCK, "cannot be used: No locks available", "dmesg"),
    ],
)
def test_a_folder_that_cannot_be_written_is_wrong_and_the_others_are_tried(
    monkeypatch: pytest.MonkeyPatch, project: Path, number: int, words: str, fix: str
) -> None:
    real = folders.write_text

    def write(path: Path, text: str) -> None:
        if path.is_relative_to(project / "runs"):
            raise OSError(number, os.strerror(number), str(path))
        real(path, text)

    monkeypatch.setattr(folders, "write_text", write)
    found = look(folders.writing)
    assert found["runs"].state == "wrong"
    assert words in found["runs"].found
    assert fix in found["runs"].remedy
    assert ".work-" not in found["runs"].found  # the folder, not the file that was tried
    assert found["writing"].found.endswith("in project, artifacts")


def test_a_file_that_can_be_created_twice_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders.Claims, "take", lambda self, key: True)
    assert "can be created twice" in look(folders.writing)["project"].found


@pytest.mark.skipif(os.getuid() != 0, reason="gives a folder to somebody else")
def test_root_in_the_image_on_somebodys_folder_is_wrong(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    os.chown(project, 12345, 12346)
    assert look(folders.writing)["writing"].state == "ok"  # outside of a container root is the user's own choice
    monkeypatch.setenv("SAMMIL_IMAGE", "sammil 1")
    monkeypatch.delenv("SAMMIL_ALLOW_ROOT", raising=False)
    found = look(folders.writing)
    assert found["project"].state == "wrong"
    assert "--user 12345:12346" in found["project"].remedy
    assert "project" not in found["writing"].facts


def test_what_an_earlier_run_left_as_root_is_wrong(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    monkeypatch.setattr(folders.os, "access", lambda path, _: path.name != "tissue")
    finding = look(folders.writing)["artifacts"]
    assert (finding.state, finding.remedy) == ("wrong", f"chmod -R u+rwX {project / 'artifacts'}")  # one's own
    monkeypatch.setattr(folders.os, "geteuid", lambda: 12345)
    finding = look(folders.writing)["artifacts"]
    assert finding.state == "wrong"
    assert f"{project / 'artifacts' / 'tissue'} belongs to user {os.getuid()}" in finding.found
    assert finding.remedy == f'sudo chown -R "$(id -u):$(id -g)" {project / "artifacts"}'


def test_a_file_system_without_locks_is_wrong_for_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(folders.fcntl, "flock", none)
    finding = look(folders.writing)["locks"]
    assert finding.state == "wrong"
    assert finding.remedy == "dvc config --local core.hardlink_lock true"


@pytest.fixture
def mounts(project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's list of file systems; the project lies on one of its own."""
    path = tmp_path_factory.mktemp("proc") / "mounts"
    path.write_text(f"/dev/a / ext4 rw 0 0\nserver:/x {project} KIND rw 0 0\n/dev/b {project}/artifacts xfs rw 0 0\n")
    monkeypatch.setattr(folders, "_MOUNTS", path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=50 * 2**30))
    return path


@pytest.mark.parametrize(
    ("kind", "state", "words"),
    [("ext4", "ok", "50.0 GiB free, on ext4"), ("nfs4", "note", "on nfs4: works"), ("overlay", "ok", "on overlay")],
)
def test_the_file_system_of_the_project_is_told(mounts: Path, kind: str, state: str, words: str) -> None:
    mounts.write_text(mounts.read_text().replace("KIND", kind))
    finding = look(folders.project)["disk"]
    assert finding.state == state
    assert words in finding.found


def test_a_project_inside_of_a_container_goes_with_it(mounts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts.write_text(mounts.read_text().replace("KIND", "overlay"))
    monkeypatch.setenv("SAMMIL_IMAGE", "sammil 1")
    finding = look(folders.project)["disk"]
    assert finding.state == "note"
    assert '-v "$PWD":/project' in finding.remedy


def test_little_space_is_noted(mounts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30))
    assert "dvc gc" in look(folders.project)["disk"].remedy


def test_outside_of_a_project_there_is_a_note(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "project" not in look(folders.project)
    shutil.rmtree(project / "artifacts")
    shutil.rmtree(project / "runs")
    (project / "params.yaml").unlink()
    note = look(folders.project)["project"]
    assert (note.state, note.remedy) == ("note", "sammil init my-study && cd my-study")
    assert list(look(folders.writing)) == ["writing"]
    monkeypatch.setenv("SAMMIL_IMAGE", "sammil 1")
    assert look(folders.project)["project"].remedy.startswith('docker run -v "$PWD":/project')
