"""What earlier stages have left for a stage to work on."""

from pathlib import Path

from sammil_cli.errors import InputError, SlideError
from sammil_cli.slides.files import find_slides
from sammil_cli.stages.process_list import Row, refusal
from sammil_cli.stages.project import check_only


def files_of(folder: Path, suffix: str, stage: str, only: frozenset[str] | None) -> list[Path]:
    """The files of an earlier stage, one per slide.

    Raises:
        InputError: there are none, or `only` names a slide that has none.
    """
    paths = sorted(folder.glob(f"*{suffix}"))
    if not paths:
        raise InputError(f"there is nothing in {folder}", remedy=f"run: sammil {stage}")
    check_only(only, {path.stem for path in paths}, str(folder))
    return [path for path in paths if only is None or path.stem in only]


def with_slides(paths: list[Path], slides: Path) -> tuple[list[tuple[Path, Path]], list[Row]]:
    """Pairs earlier files with the slide files they were made from; slides that are gone become rows."""
    known = find_slides(slides).paths
    gone = SlideError("E_UPSTREAM", f"the slide is no longer in {slides}", remedy="put it back, or run sammil segment")
    pairs = [(path, known[path.stem]) for path in paths if path.stem in known]
    return pairs, [refusal(path.stem, gone) for path in paths if path.stem not in known]
