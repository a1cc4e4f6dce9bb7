"""DVC's site cache, which it unpickles: its owner's alone in the image, and told of elsewhere."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sammil_cli.doctor import dvc
from sammil_cli.doctor.finding import Asked, Finding
from sammil_cli.errors import MissingError
from sammil_cli.project import site_cache as site_cache_module
from sammil_cli.project.site_cache import VARIABLE, is_private, main, make_private, site_cache

ROOT = Path(__file__).parents[2]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the image has it: in the project, not there yet."""
    folder = tmp_path / ".sammil" / "dvc"
    monkeypatch.setenv(VARIABLE, str(folder))
    return folder


def as_dvc_leaves_it(folder: Path) -> Path:
    """Open to everybody, all of it below `folder.parent` (dvc 3.67: `os.makedirs` under an umask of 0)."""
    (folder / "repo" / "0a1b").mkdir(parents=True)
    for path in (folder.parent, folder, folder / "repo"):
        path.chmod(0o777)
    (folder / "repo" / "0a1b" / "cache.db").write_bytes(b"pickles")
    return folder


def owned_by(monkeypatch: pytest.MonkeyPatch, path: Path, owner: int) -> None:
    """Makes a file look like somebody else's, whoever runs the test."""
    real = Path.lstat

    def lstat(asked: Path) -> os.stat_result:
        facts = list(real(asked))
        if asked == path:
            facts[stat.ST_UID] = owner
        return os.stat_result(facts)

    monkeypatch.setattr(Path, "lstat", lstat)


def test_it_is_made_for_its_owner_alone(cache: Path) -> None:
    assert not is_private(cache)
    before = os.umask(0)  # whatever the caller's
    try:
        assert main() == 0
    finally:
        os.umask(before)
    assert mode(cache) == 0o700
    assert is_private(cache)


def test_one_that_dvc_left_open_is_shut_and_kept(cache: Path) -> None:
    as_dvc_leaves_it(cache)
    assert main() == 0
    assert mode(cache) == 0o700
    assert mode(cache.parent) == 0o755  # nobody puts another one in its place
    assert (cache / "repo" / "0a1b" / "cache.db").read_bytes() == b"pickles"  # no slide is hashed anew


def test_nobody_can_add_to_it_while_it_is_looked_through(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_dvc_leaves_it(cache)
    modes, look = [], site_cache_module.stranger_in
    monkeypatch.setattr(site_cache_module, "stranger_in", lambda folder: (modes.append(mode(folder)), look(folder))[1])
    assert main() == 0
    assert [found & 0o033 for found in modes] == [0]
    owned_by(monkeypatch, cache / "repo", os.geteuid() + 1)
    cache.chmod(0o777)
    for _ in range(2):  # and not only once
        assert main() == 3


@pytest.mark.parametrize("part", ["", "repo/0a1b", "repo/0a1b/cache.db"])
def test_what_somebody_else_put_there_is_refused_before_dvc_reads_it(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], part: str
) -> None:
    as_dvc_leaves_it(cache)
    owned_by(monkeypatch, cache / part, os.geteuid() + 4321)
    assert main() == 3
    said = capsys.readouterr().err
    assert f"error: E_OWNER: {cache / part} belongs to user {os.geteuid() + 4321}, and you are user" in said
    assert f"rm -r {cache}" in said
    assert f"docker run -e {VARIABLE}=/tmp/dvc" in said
    assert mode(cache) == (0o744 if part else 0o777)  # shut, where it is ours
    assert main() == 3  # still


def test_a_link_is_refused(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    cache.parent.mkdir()
    cache.symlink_to(tmp_path / "elsewhere")
    assert not is_private(cache)
    with pytest.raises(MissingError, match="is a link"):
        make_private(cache)
    cache.unlink()
    cache.symlink_to(tmp_path / "nowhere")  # where anybody may make it
    with pytest.raises(MissingError, match="is a link"):
        make_private(cache)


def test_where_nothing_can_be_made_dvc_starts_and_finds_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert main() == 0
    assert not cache.exists()


def test_without_the_variable_nothing_is_touched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    assert main() == 0
    assert list(tmp_path.iterdir()) == []


def test_dvc_of_the_image_starts_after_it_only(cache: Path, tmp_path: Path) -> None:
    """The wrapper as the Dockerfile writes it, with a dvc that says how it was called."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (command,) = re.findall(r"^RUN (printf '#!/bin/sh.*?)\n(?=[^ ])", text, re.MULTILINE | re.DOTALL)
    path = re.search(r"^ENV PATH=(\S+?):(\S+?):", text, re.MULTILINE)
    assert path is not None
    assert (path[1], path[2]) == ("/opt/sammil/app/bin", "/opt/sammil/venv/bin")  # the wrapper comes before dvc
    command = command.replace("/opt/sammil/venv/bin/python", sys.executable)
    command = command.replace("/opt/sammil/venv/bin/dvc", str(tmp_path / "real-dvc"))
    command = command.replace("/opt/sammil/app/bin/dvc", str(tmp_path / "dvc"))
    (tmp_path / "real-dvc").write_text('#!/bin/sh\nprintf "%s\\n" "$@"; exit 7\n')
    (tmp_path / "real-dvc").chmod(0o755)
    subprocess.run(["sh", "-c", command], check=True, timeout=60)
    words = [tmp_path / "dvc", "exp", "run", "-S", "a b=1"]
    answer = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (answer.returncode, answer.stdout.splitlines()) == (7, ["exp", "run", "-S", "a b=1"])
    assert mode(cache) == 0o700
    cache.rmdir()
    cache.symlink_to(tmp_path)
    answer = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (answer.returncode, answer.stdout) == (3, "")
    assert "E_OWNER" in answer.stderr


# ---------------------------------------------------------------------------------------------- doctor


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project under DVC that nobody configured."""
    folder = tmp_path / "study"
    (folder / ".dvc").mkdir(parents=True)
    (folder / "params.yaml").touch()
    monkeypatch.chdir(folder)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "user"))
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", str(tmp_path / "system"))
    return folder


def found() -> Finding:
    (finding,) = dvc.cache_of_pickles(Asked(params=Path("params.yaml")))
    return finding


def test_doctor_tells_of_the_cache_that_dvc_shares_with_everybody(study: Path) -> None:
    assert site_cache(study / ".dvc") == Path("/var/tmp/dvc")
    finding = found()
    assert finding.state == "note"
    assert finding.found.startswith("/var/tmp/dvc: others on this machine may write there")
    assert "dvc config --global core.site_cache_dir" in finding.remedy


def test_the_remedy_is_one(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-c", found().remedy], check=True, capture_output=True, env=environment, timeout=120)
    finding = found()
    assert (finding.state, finding.found) == ("ok", f"{tmp_path}/.cache/dvc-site, yours alone")


def test_doctor_in_the_image_says_that_dvc_will_not_start(
    study: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(cache))
    monkeypatch.setenv("SAMMIL_IMAGE", "sammil 1")
    as_dvc_leaves_it(cache)
    assert found().state == "note"  # dvc will shut it
    owned_by(monkeypatch, cache / "repo", os.geteuid() + 1)
    finding = found()
    assert (finding.state, finding.remedy) == ("wrong", f"rm -r {cache}")
