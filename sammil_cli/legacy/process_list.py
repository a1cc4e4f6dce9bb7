"""CLAM's process list: which slides went well, and the tissue settings each was segmented with."""

import re
from dataclasses import dataclass
from pathlib import Path

from sammil_cli.errors import InputError
from sammil_cli.storage.files import read_csv

_DONE = ("processed", "already_exist")  # what the published script writes after a slide that went well
_SLIDE_SUFFIX = re.compile(
    r"\.(ome\.tiff?|tiff?|svs|svslide|ndpi|mrxs|scn|vms|vmu|bif|dcm|isyntax|czi|h5|pt)$", re.IGNORECASE
)
_TISSUE = ("seg_level", "sthresh", "mthresh", "close", "use_otsu", "a_t", "a_h", "max_n_holes", "contour_fn")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Slides to convert in the list's order; slide id -> why one is left out; slide id -> its tissue settings."""

    slide_ids: tuple[str, ...]
    left_out: dict[str, str]
    settings: dict[str, str]

    def names(self, held: set[str]) -> bool:
        """Whether the list knows any of these slides."""
        unlisted = {slide for slide, reason in self.left_out.items() if reason.startswith(_UNLISTED)}
        return bool(({*self.slide_ids, *self.left_out} - unlisted) & held)


_UNLISTED = "has files, but"


def read_process_list(table: Path, held: set[str]) -> Selection:
    """Reads a process list, also a hand-edited one: slides with or without suffix, with or without a status.

    Args:
        held: ids of the slides that have files.

    Raises:
        InputError: no table, or a slide id that is no file name.
    """
    wanted: list[str] = []
    left_out: dict[str, str] = {}
    settings: dict[str, str] = {}
    for row in read_csv(table, ["slide_id"]):
        slide_id = _slide_id(row["slide_id"], held)
        if slide_id != Path(slide_id).name or slide_id in ("", ".", ".."):
            raise InputError(f"{table}: {row['slide_id']!r} is no slide id", remedy="give the file's name only")
        reason = _why_not(row)
        if reason:
            left_out[slide_id] = reason
        elif slide_id not in wanted:
            wanted.append(slide_id)
            settings[slide_id] = " ".join(f"{name}={row[name]}" for name in _TISSUE if row.get(name))
    left_out = {slide_id: reason for slide_id, reason in left_out.items() if slide_id not in wanted}
    unlisted = [slide for slide in sorted(held) if slide not in left_out and slide not in wanted]
    left_out |= dict.fromkeys(unlisted, f"{_UNLISTED} {table.name} does not list it")
    return Selection(slide_ids=tuple(wanted), left_out=left_out, settings=settings)


def _slide_id(cell: str, known: set[str]) -> str:
    """The table names slides with their suffix, after hand editing also without; ids may hold dots themselves."""
    if cell in known:
        return cell
    plain = _SLIDE_SUFFIX.sub("", cell)
    if plain != cell:
        return plain
    shorter = cell.rpartition(".")[0]
    return shorter if shorter in known else cell


def _why_not(row: dict[str, str]) -> str:
    """The reason to leave a slide out, empty for a good one.

    `process` alone does not tell: the published script sets it to 0 for every slide that it has begun, and for one
    that the user switched off; only the status tells them apart.
    """
    status = row.get("status", "")
    if status:
        return "" if status in _DONE else f"its status in the process list is {status}"
    return "its process flag in the process list is 0" if row.get("process") in ("0", "0.0") else ""
