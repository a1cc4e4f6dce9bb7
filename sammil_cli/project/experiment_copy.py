"""The copy of a project that DVC runs a queued or temporary experiment in: it has what Git or DVC tracks.

Slides are neither, unless somebody says so: they stand in the ignored folder data/slides, as files or as links. So the
first stage of the pipeline, `code`, links them into the copy.
"""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from sammil_cli import console

LOST = "is a relative link: queued and temporary experiments run in a copy of the project, where it leads elsewhere"
_COPIES = (".dvc", "tmp", "exps")


def origin_of(folder: Path) -> Path | None:
    """The project that `folder`, absolute, is DVC's copy of; None where it is no copy."""
    for copy in (folder, *folder.parents):
        within = [above for above in copy.parents if above.parts[-3:] == _COPIES]
        if within and (copy / ".git").exists():  # a clone of the repository that the project lies in
            own = within[-1].parents[2]
            repository = next((above for above in (own, *own.parents) if (above / ".git").exists()), own)
            return repository / folder.relative_to(copy)
    return None


def bring_slides(slides: Path) -> int:
    """In DVC's copy of a project that came without its slides, links to all that the project has there.

    Args:
        slides: project-relative.

    Returns:
        How many files were linked; 0 elsewhere, and where the copy has the folder.
    """
    origin = origin_of(Path.cwd())
    if origin is None or slides.is_absolute() or slides.is_symlink() or slides.exists():
        return 0
    count = 0
    for inner in _links_and_files(origin / slides):
        here = slides / inner
        here.parent.mkdir(parents=True, exist_ok=True)
        here.symlink_to(origin / slides / inner)
        count += 1
    if count:
        console.say(f"{slides}: {count} file(s) linked from {origin / slides}")
    return count


def lost_in_copies(slides: Path) -> bool:
    """Whether the slide folder is a relative link in a project of DVC's: in its copies it leads elsewhere."""
    in_dvc = any((above / ".dvc").is_dir() for above in (Path.cwd(), *Path.cwd().parents))
    return in_dvc and slides.is_symlink() and not slides.readlink().is_absolute()


def absolute_link(slides: Path) -> str:
    """The command that makes it one that leads to the same place from everywhere."""
    return f"ln -sfn {shlex.quote(str(slides.resolve()))} {shlex.quote(str(slides))}"


def _links_and_files(folder: Path) -> Iterator[Path]:
    """All below a folder that is no folder itself, relative to it; links to folders count as links."""
    for root, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        for name in sorted([*links, *files]):
            yield (Path(root) / name).relative_to(folder)
