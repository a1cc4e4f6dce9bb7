"""sammil check: the names of drawings, those for slides that there are not, and files that are not read."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from sammil_cli.cohort.finding import Finding
from sammil_cli.cohort.near_ids import NearIds
from sammil_cli.errors import InputError
from sammil_cli.tissue.drawing_files import find_drawings, unread_drawings


def check_drawings(folder: Path, known: Mapping[str, str], suffixes: Collection[str]) -> Iterator[Finding]:
    """Drawings for slides that there are not, two for one slide, and what else lies in the folder.

    Args:
        known: the slides by id.
        suffixes: of slides, which may have been kept in a drawing's name.
    """
    for unread in unread_drawings(folder):
        yield Finding(
            file=str(unread.paths[0]),
            kind="drawing",
            severity="warning",
            text=unread.paths[0].name,
            message=f"not read as drawings: {unread.names}",
            fix=unread.advice,
        )
    try:
        drawings = find_drawings(folder)
    except InputError as error:
        yield Finding(file=str(folder), kind="drawing", message=error.message, fix=error.remedy)
        return
    near_ids = NearIds(known, [*suffixes, ".geojson"]) if drawings else None
    for name, path in drawings.items():
        if near_ids is None or name in known:
            continue
        near = near_ids.find(name)
        message, fix = f"is for no slide: there is no {name!r}", "name it as the slide, or delete it"
        if near:
            message += f"; {near.slide_id!r} differs in {near.difference}"
            fix = f"rename it to {near.slide_id}{path.name[len(name) :]}"
        yield Finding(
            file=str(path), kind="drawing", severity="error" if near else "warning", text=name, message=message, fix=fix
        )
