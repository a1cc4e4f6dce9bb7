"""What earlier stages and the user have left for a stage to work on."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from sammil_cli import choices
from sammil_cli.errors import InputError, SlideError
from sammil_cli.project.process_list import Row, refusal
from sammil_cli.project.project import Project, check_only
from sammil_cli.runner.inputs import Input, slide_input
from sammil_cli.slides.files import find_slides
from sammil_cli.storage.files import read_csv
from sammil_cli.storage.origin import read_key, read_record
from sammil_cli.storage.paths import BagPath, SlidePath

FilePath = TypeVar("FilePath", bound=Path)
_UNDONE = ("set-aside", "failed")
_MADE = {
    "segment": "tissue mask",
    "patch": "patch grid",
    "sam": "region file",
    "extract": "bag",
    "convert-legacy": "bag",
    "tiles": "bag",
}  # by each


def files_of(
    kind: Callable[[Path], FilePath], project: Project, folder: Path, stage: str, only: frozenset[str] | None
) -> list[FilePath]:
    """The files that an earlier stage wrote into `folder`, one per slide, as paths of their kind (`storage.paths`).

    Raises:
        InputError: the folder holds no such file, or `only` names a slide without one; where the process list of the
            stage says why, so does the message.
    """
    suffix = ".geojson" if stage == "segment" else ".h5"
    paths = [kind(path) for path in sorted(folder.glob(f"*{suffix}"))]
    check_done(project, folder, stage, {path.stem for path in paths}, only)
    return [path for path in paths if only is None or path.stem in only]


def bags_of(project: Project, only: frozenset[str] | None) -> list[BagPath]:
    """The bags that a project has of features that were made elsewhere; raises as `files_of`."""
    folder = project.ungrouped
    if folder is None:
        raise ValueError("the project names no folder of features")
    if not folder.is_dir():
        raise InputError(f"the folder of features {folder} does not exist", remedy="give the folder of the bags")
    # What made them says why a bag is not there.
    maker = "tiles" if _list_of(project, "tiles").is_file() else "convert-legacy"
    return files_of(BagPath, project, folder, maker, only)


def check_done(project: Project, folder: Path, stage: str, done: set[str], only: frozenset[str] | None) -> None:
    """Refuses to go on with nothing, or with slides that `only` names and an earlier stage did not do.

    Raises:
        InputError: see `files_of`.
    """
    undone = _undone(project, stage)
    if not done:
        if not undone:
            raise InputError(f"there is no {_MADE[stage]} in {folder}", remedy=f"run: sammil {stage}")
        codes = ", ".join(
            f"{code} {count}" for code, count in Counter(r["code"] for r in undone.values()).most_common()
        )
        first = next(iter(undone.values()))
        raise InputError(
            f"there is no {_MADE[stage]} in {folder}: sammil {stage} did none of {len(undone)} slide(s) ({codes}), "
            f"such as {first['slide_id']}: {first['message']}",
            remedy=f"{first['remedy']}; all reasons: {_list_of(project, stage)}",
        )
    for slide_id in sorted((only or frozenset()) - done):
        if row := undone.get(slide_id):
            raise InputError(
                f"--only names the slide {slide_id!r}, which sammil {stage} did not do: {row['code']} {row['message']}",
                remedy=row["remedy"],
            )
    check_only(only, done, str(folder))


def lack_of(project: Project, slide_id: str, file: Path, stage: str) -> SlideError:
    """The error of a slide whose file of an earlier stage is not there, with what that stage said of it."""
    if row := _undone(project, stage).get(slide_id):
        message = f"{file} is not there, since sammil {stage} did not do the slide: {row['code']} {row['message']}"
        return SlideError("E_UPSTREAM", message, remedy=row["remedy"])
    return SlideError("E_UPSTREAM", f"{file} is not there", remedy=f"run: sammil {stage}")


def slide_suffixes() -> set[str]:
    """What the names of slide files end with, such as `.svs`."""
    return {suffix for module in choices.load_all(choices.FORMATS) for suffix in module.SUFFIXES}


def slides_met(project: Project) -> dict[str, str]:
    """The slides that `segment`, the first to look at them, met: id -> its process list; nothing if it did not run."""
    path = _list_of(project, "segment")
    try:
        return {row["slide_id"]: str(path) for row in read_csv(path, ("slide_id",))} if path.is_file() else {}
    except InputError:  # somebody has changed it
        return {}


def undone_by(project: Project, *stages: str) -> dict[str, str]:
    """Why slides are not there, by slide id: the first of these stages that did not do it, and its reason."""
    found: dict[str, str] = {}
    for stage in stages:
        for slide_id, row in _undone(project, stage).items():
            found.setdefault(slide_id, f"sammil {stage} did not do slide {slide_id!r}: {row['code']} {row['message']}")
    return found


def _undone(project: Project, stage: str) -> Mapping[str, dict[str, str]]:
    """The rows of a stage's process list that are not done, by slide id."""
    path = _list_of(project, stage)
    try:
        rows = read_csv(path, ("slide_id", "status", "code", "message", "remedy")) if path.is_file() else []
    except InputError:  # somebody has changed it; it only says why
        return {}
    return {row["slide_id"]: row for row in rows if row["status"] in _UNDONE}


def _list_of(project: Project, stage: str) -> Path:
    return project.process_lists / f"{stage}.csv"


def with_slides(
    paths: list[FilePath], project: Project, made: Callable[[FilePath], Iterable[Path]]
) -> tuple[list[tuple[FilePath, SlidePath, Input]], list[Row]]:
    """Pairs earlier files with the slide files they were made from; slides that are gone or were replaced become rows.

    Args:
        made: files of a slide; the first that names the slide it was made from is believed. Those that are not HDF5
            come first: they answer in a tenth of the time.
    """
    known = find_slides(project.slides).paths
    pairs, refused = [], []
    for path in paths:
        if path.stem not in known:
            remedy = "put it back, or run sammil segment"
            gone = SlideError("E_UPSTREAM", f"the slide is no longer in {project.slides}", remedy=remedy)
            refused.append(refusal(path.stem, gone))
            continue
        slide = known[path.stem]
        seen = slide_input(slide)
        if of_another := _made_from_another(seen.digest, made(path)):
            refused.append(refusal(path.stem, _replaced(of_another)))
            continue
        pairs.append((path, slide, seen))
    return pairs, refused


def _replaced(file: Path) -> SlideError:
    """The error of a slide that is another one than `file` was made from."""
    maker, remedy = "segment", "run: sammil segment, then the stages after it"
    if (read_record(file, file.suffix) or {}).get("stage") == "convert-legacy":
        maker, remedy = "convert-legacy", "run: sammil convert-legacy, then the stages after it"
    return SlideError(
        "E_UPSTREAM",
        f"the slide was replaced after sammil {maker}: {file} was made from another one",
        remedy=f"{remedy}; under DVC: dvc repro -f {maker}, then dvc repro",
    )


def _made_from_another(identity: str, files: Iterable[Path]) -> Path | None:
    """The first file that names the slide it was made from, if that is not the slide that is there now."""
    for file in files:
        known = (read_key(file) or {}).get("slide")
        if isinstance(known, str):
            return file if known != identity else None
    return None
