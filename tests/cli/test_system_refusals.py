"""What the system refuses - a folder, a full disk, a signal - is told in words, inside of containers and outside."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sammil_cli.errors import ROOT_ALLOWED, InputError, check_root, refused_by_system


def test_a_folder_of_root_is_to_be_made_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = os.stat_result((0o40755, 1, 1, 2, 0, 0, 0, 0, 0, 0))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(Path, "stat", lambda *_, **__: facts)
    refused = refused_by_system(PermissionError(errno.EACCES, "Permission denied", str(tmp_path)))
    assert refused is not None
    assert "sudo chown" in refused.remedy
    assert "--user" not in refused.remedy  # to work as root is no remedy


def test_a_folder_of_somebody_else_is_told_with_the_user_to_run_as(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    facts = os.stat_result((0o40755, 1, 1, 2, 1234, 1235, 0, 0, 0, 0))
    monkeypatch.setattr(Path, "stat", lambda *_, **__: facts)
    monkeypatch.setattr(os, "geteuid", lambda: 1241)
    refused = refused_by_system(PermissionError(errno.EACCES, "Permission denied", str(theirs / "runs" / "splits.csv")))
    assert refused is not None
    assert refused.exit_code == 3
    assert str(theirs / "runs" / "splits.csv") in refused.message
    assert "--user 1234:1235" in refused.remedy
    assert "you are user 1241, " in refused.remedy


def test_below_a_folder_that_may_not_be_searched_that_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.exists

    def exists(path: Path, **words: bool) -> bool:
        if path.name == "runs":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, **words)

    monkeypatch.setattr(Path, "exists", exists)
    refused = refused_by_system(PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "runs")))
    assert refused is not None
    assert refused.remedy == f"chmod u+rwX {tmp_path}"


def test_ones_own_folder_without_the_right_to_write_is_told_otherwise(tmp_path: Path) -> None:
    refused = refused_by_system(PermissionError(errno.EACCES, "Permission denied", str(tmp_path)))
    assert refused is not None
    assert refused.remedy == f"chmod u+rwX {tmp_path}"


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EROFS, "mount it writable"), (errno.ENOSPC, "free some space"), (errno.EDQUOT, "free")]
)
def test_read_only_mounts_and_full_disks_have_their_own_fix(tmp_path: Path, number: int, words: str) -> None:
    refused = refused_by_system(OSError(number, os.strerror(number), str(tmp_path / "file")))
    assert refused is not None
    assert words in refused.remedy


def test_other_errors_of_the_system_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused_by_system(FileNotFoundError(errno.ENOENT, "no", "file")) is None
    assert refused_by_system(OSError("a library's own words")) is None


def test_where_nothing_can_be_written_a_librarys_own_words_are_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    refused = refused_by_system(OSError("no cache folder"))
    assert refused is not None
    assert "no cache folder" in refused.message
    assert str(tmp_path) in refused.message


@pytest.mark.parametrize(
    ("image", "user", "allowed", "refused"),
    [(True, 0, False, True), (False, 0, False, False), (True, 0, True, False), (True, 5, False, False)],
)
def test_root_is_refused_in_a_container_on_a_folder_of_somebody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: bool, user: int, allowed: bool, refused: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    facts = os.stat_result((0o40755, 1, 1, 2, 1234, 1235, 0, 0, 0, 0))
    monkeypatch.setattr(Path, "stat", lambda *_, **__: facts)
    for name, given in (("SAMMIL_IMAGE", image), (ROOT_ALLOWED, allowed)):
        monkeypatch.setenv(name, "1") if given else monkeypatch.delenv(name, raising=False)
    if not refused:
        check_root(tmp_path)
        return
    with pytest.raises(InputError) as error:
        check_root(tmp_path)
    assert "--user 1234:1235" in error.value.remedy


def test_an_owner_is_no_obstacle_to_root_where_root_is_the_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rootless engines show the caller's folder as root's."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(Path, "stat", lambda *_, **__: os.stat_result((0o40755, 1, 1, 2, 0, 0, 0, 0, 0, 0)))
    monkeypatch.setenv("SAMMIL_IMAGE", "1")
    check_root(tmp_path)


def test_a_folder_that_may_not_be_written_costs_no_traceback(
    sammil: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "params.yaml"))

    monkeypatch.setattr("sammil_cli.project.init.run", refuse)
    answer = sammil("init", ".")
    assert answer.code == 3
    assert "Permission denied" in answer.err
    assert "fix:" in answer.err
    assert "Traceback" not in answer.err


def test_sigterm_ends_a_command_as_ctrl_c_does(tmp_path: Path) -> None:
    code = (
        "import time, sammil_cli.project.init as stage\n"
        "def run(*_, **__): print('working', flush=True); time.sleep(60)\n"
        "stage.run = run\n"
        "import sys; sys.argv = ['sammil', 'init', 'x']\n"
        "from sammil_cli.cli.app import main; main()"
    )
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "working\n"
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
        assert process.wait(30) == 130
    assert time.monotonic() - start < 10
    assert "everything that was finished is kept" in said
    assert "Traceback" not in said


def test_without_a_project_a_container_says_how_to_mount_it(
    sammil: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(ROOT_ALLOWED, "1")
    assert "docker" not in sammil("train").err
    monkeypatch.setenv("SAMMIL_IMAGE", "sammil 1")
    answer = sammil("train")
    assert answer.code == 2
    assert '-v "$PWD":/project' in answer.err
