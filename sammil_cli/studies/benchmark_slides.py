"""All rows of a benchmark judge the same slides: those that are labelled and that every folder holds."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sammil_cli.cohort.cohort import read_labels
from sammil_cli.errors import InputError
from sammil_cli.legacy.slide_vectors import vector_paths
from sammil_cli.project.project import Project
from sammil_cli.runner.earlier_files import check_done
from sammil_cli.studies.benchmark_cells import Source

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Common:
    """The slides that all rows judge. `lost`: labelled ones that some folder lacks; `remark`: says so, or is empty."""

    slides: tuple[str, ...]
    lost: frozenset[str]
    remark: str


def common_slides(project: Project, sources: Sequence[Source], classes: Sequence[str] | None) -> Common:
    """The labelled slides that all sources hold.

    Raises:
        InputError: a source is empty, the labels are wrong, or there is no such slide.
    """
    held: dict[str, set[str]] = {}
    for source in sources:
        held[source.label] = files_of(project, source)
    known = set[str]().union(*held.values())
    labelled = {member.slide_id for member in read_labels(project.labels, classes, known).members}
    own = {label: slides & labelled for label, slides in held.items()}
    common = set.intersection(*own.values())
    counted = ", ".join(f"{label} {len(slides)}" for label, slides in own.items())
    if not common:
        raise InputError(
            f"no slide of {project.labels} is in every folder; labelled slides: {counted}",
            remedy="the files of one slide have the same name in all folders; sammil check names slips",
        )
    left = sorted(set.union(*own.values()) - common)
    if not left:
        return Common(slides=tuple(sorted(common)), lost=frozenset(), remark="")
    named = ", ".join(left[:_SHOWN]) + (", …" if len(left) > _SHOWN else "")
    return Common(
        slides=tuple(sorted(common)),
        lost=frozenset(left),
        remark=f"the folders hold different slides ({counted}): every row is of the {len(common)} that all of them "
        f"have; left out: {named}",
    )


def files_of(project: Project, source: Source) -> set[str]:
    """The slides of a source, by id."""
    if source.embeddings:
        return set(vector_paths(source.path))
    slides = {path.stem for path in source.path.glob("*.h5")}
    check_done(project, source.path, "extract", slides, None)
    return slides


def restricted(source: Source, project: Project, common: Common, folder: Path) -> Source:
    """The source itself where it holds none of the lost slides, else a folder of links to its other files."""
    held = files_of(project, source)
    if not held & common.lost:
        return source
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {f"{slide}.h5": (source.path / f"{slide}.h5").resolve() for slide in held - common.lost}
    for link in folder.iterdir():
        if link.is_symlink() and (link.name not in wanted or link.readlink() != wanted[link.name]):
            link.unlink()
    for name, file in wanted.items():
        with contextlib.suppress(FileExistsError):
            (folder / name).symlink_to(file)
    return replace(source, path=folder)
