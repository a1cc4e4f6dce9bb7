"""Git: there, trusting the folder, with a commit and a name, as DVC's experiments need it."""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

from sammil_cli.doctor.causes import one_line
from sammil_cli.doctor.finding import Asked, Finding, note, ok, wrong
from sammil_cli.project.environment import git_state
from sammil_cli.project.experiment_copy import LOST, absolute_link, lost_in_copies

GROUP = "Git and DVC"
_SECONDS = 20
_SLIDES = Path("data/slides")


def repository(asked: Asked) -> Iterator[Finding]:
    """Whether Git works in the working folder, and what DVC would miss."""
    here = Path.cwd()
    uses_dvc = any((folder / ".dvc").is_dir() for folder in (here, *here.parents))
    version = _ask("--version")
    if version is None:
        remedy = "install git (apt-get install git, or your system's way)"
        yield (wrong if uses_dvc else note)(GROUP, "Git", "is not installed; DVC needs it", remedy)
        return
    number = version.stdout.removeprefix("git version").strip()
    if not asked.in_project:
        yield ok(GROUP, "Git", number, version=number)
        return
    inside = _ask("rev-parse", "--show-toplevel")
    if inside is None or inside.returncode:
        yield _no_repository(number, "" if inside is None else inside.stderr, uses_dvc)
        return
    state = git_state(here)
    if state is None:
        found = f"{number}; the repository has no commit, which dvc exp run needs"
        yield note(GROUP, "Git", found, "git add . && git commit -m start", version=number)
    else:
        changed = f", {len(state.changed)} changed file(s)" if state.changed else ""
        facts = {"version": number, "revision": state.revision, "changed": list(state.changed)}
        yield ok(GROUP, "Git", f"{number}, commit {state.revision[:7]}{changed}", **facts)
    if uses_dvc and _would_commit(_SLIDES):
        found = f"Git does not ignore {_SLIDES}: with its first experiment DVC would commit the slides"
        yield wrong(GROUP, "slides", found, f"echo '/{_SLIDES}/' >> .gitignore    # or: dvc add {_SLIDES}")
    if lost_in_copies(_SLIDES):
        yield note(GROUP, "slides", f"{_SLIDES} {LOST}", absolute_link(_SLIDES))
    identity = _ask("var", "GIT_COMMITTER_IDENT")
    if identity is None or identity.returncode:
        remedy = 'git config --global user.name "Your Name" && git config --global user.email you@example.org'
        yield note(
            GROUP, "Git identity", "Git does not know who you are: dvc exp run and git commit ask for it", remedy
        )


def _would_commit(folder: Path) -> bool:
    """Whether Git and DVC pass over files of a folder; a link to an archive is kept as a link."""
    if not folder.is_dir() or folder.is_symlink() or folder.with_name(f"{folder.name}.dvc").exists():
        return False
    ignored = _ask("check-ignore", "--quiet", f"{folder}/slide.svs")
    return ignored is not None and ignored.returncode == 1


def _no_repository(number: str, words: str, uses_dvc: bool) -> Finding:
    if "dubious ownership" in words:
        named = re.search("repository at '(.+)'", words)
        folder = named[1] if named else str(Path.cwd())
        found = f"{number} does not trust {folder}: it belongs to another user than you (uid {os.geteuid()})"
        remedy = f"git config --global --add safe.directory {shlex.quote(folder)}"
        return wrong(GROUP, "Git", found, remedy, version=number)
    if "not a git repository" in words:
        found, remedy = f"{number}; this project is in no repository", "git init && dvc init"
        return (wrong if uses_dvc else note)(GROUP, "Git", found, remedy, version=number)
    return wrong(GROUP, "Git", f"{number} fails here: {one_line(words)}", "git status says more", version=number)


def _ask(*words: str) -> subprocess.CompletedProcess[str] | None:
    """Git's answer, in English; None where there is no Git, or none that answers."""
    try:
        return subprocess.run(  # noqa: S603 - fixed words
            ["git", *words],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
