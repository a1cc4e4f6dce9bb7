"""How many of the last commits would have made trained folds stale: by the code they depend on, and by folders.

`python benchmarks/freshness.py [COMMITS [REVISION]]` reads this repository's history. "By meaning": the files that
training depends on today (under the names that they had then) changed in what they mean. "By folders": any file changed
in the folders that `train` declared before: storage, regions, features, mil, training, report, and its own file.
"""

import subprocess
import sys
from pathlib import Path

from sammil_cli.project.code_in_use import code_of_slide
from sammil_cli.storage import code

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDERS = ("storage", "regions", "features", "mil", "training", "report")
OWN = ("sammil_cli/stages/train.py", "sammil_cli/jobs/train.py")


def git(*words: str) -> str:
    """What Git says."""
    return subprocess.run(["git", "-C", str(REPOSITORY), *words], check=True, capture_output=True, text=True).stdout


def source(commit: str, path: str) -> str | None:
    """A file at a commit; None where it is not there."""
    answer = subprocess.run(
        ["git", "-C", str(REPOSITORY), "show", f"{commit}:{path}"], capture_output=True, check=False
    )
    return code._read(answer.stdout, "sammil_cli.any", False)[0] if answer.returncode == 0 else None


def names_of(path: str) -> set[str]:
    """All names that a file has had."""
    log = git("log", "--follow", "--name-only", "--format=", "--", path)
    return {path, *(line for line in log.splitlines() if line)}


def main() -> None:
    """Counts and prints."""
    count = sys.argv[1] if len(sys.argv) > 1 else "60"
    revision = sys.argv[2] if len(sys.argv) > 2 else "HEAD"
    used = set(OWN)
    for module in code_of_slide("train", word="sam-mil").files:
        path = module.replace(".", "/")
        for file in (f"{path}.py", f"{path}/__init__.py"):
            used |= names_of(file) if (REPOSITORY / file).is_file() else set()
    meant = touched = 0
    commits = git("rev-list", f"--max-count={count}", "--no-merges", revision).split()
    for commit in commits:
        changed = git("diff-tree", "--no-commit-id", "--name-only", "-r", "--root", commit).splitlines()
        folders = [
            p
            for p in changed
            if p.endswith(".py") and (p in OWN or p.startswith(tuple(f"sammil_cli/{f}/" for f in FOLDERS)))
        ]
        touched += bool(folders)
        meant += any(source(commit, path) != source(f"{commit}^", path) for path in used & set(changed))
    print(f"of {len(commits)} commits: train stale by meaning {meant}, by whole folders {touched}")


if __name__ == "__main__":
    main()
