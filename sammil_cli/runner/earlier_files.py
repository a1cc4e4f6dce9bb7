"""What earlier stages and the user have left for a stage to work on."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sammil_cli.errors import InputError, SlideError
from sammil_cli.project.process_list import Row, refusal
from sammil_cli.project.project import check_only
from sammil_cli.slides.files import find_slides
from sammil_cli.storage.paths import SlidePath

FilePath = TypeVar("FilePath", bound=Path)


def files_of(
    kind: Callable[[Path], FilePath], folder: Path, suffix: str, stage: str, only: frozenset[str] | None
) -> list[FilePath]:
    """The files of an earlier stage, one per slide, as paths of their kind (see `storage.paths`).

    Raises:
        InputError: the folder holds no such file, or `only` names a slide without one.
    """
    paths = [kind(path) for path in sorted(folder.glob(f"*{suffix}"))]
    if not paths:
        raise InputError(f"there is nothing in {folder}", remedy=f"run: sammil {stage}")
    check_only(only, {path.stem for path in paths}, str(folder))
    return [path for path in paths if only is None or path.stem in only]


def with_slides(paths: list[FilePath], slides: Path) -> tuple[list[tuple[FilePath, SlidePath]], list[Row]]:
    """Pairs earlier files with the slide files they were made from; slides that are gone become rows."""
    known = find_slides(slides).paths
    gone = SlideError("E_UPSTREAM", f"the slide is no longer in {slides}", remedy="put it back, or run sammil segment")
    pairs = [(path, known[path.stem]) for path in paths if path.stem in known]
    return pairs, [refusal(path.stem, gone) for path in paths if path.stem not in known]
