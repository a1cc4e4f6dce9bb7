"""Where a SAM-MIL or CLAM run keeps its files, and which of its slides are wanted."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sammil_cli.errors import InputError
from sammil_cli.storage.files import read_csv

PROCESS_LIST = "process_list_autogen.csv"
_DONE = ("processed", "already_exist")  # what the published script writes after a slide that went well
_SLIDE_SUFFIX = re.compile(
    r"\.(ome\.tiff?|tiff?|svs|svslide|ndpi|mrxs|scn|vms|vmu|bif|dcm|isyntax|czi|h5|pt)$", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The folders of a run and its slides.

    `kind`: `h5` = features and coordinates in one file, `pt` = a tensor, coordinates elsewhere.
    `features`, `segments`, `coords`: folders of `<slide>.h5` or `.pt`, `<slide>.pkl`, `<slide>.h5`; None = not there.
    `slide_ids`: to be converted, in the process list's order. `left_out`: slide id -> why it is not converted.
    """

    root: Path
    kind: Literal["h5", "pt"]
    features: Path
    segments: Path | None
    coords: Path | None
    process_list: Path | None
    slide_ids: tuple[str, ...]
    left_out: dict[str, str]
    notes: tuple[str, ...]


def find_layout(
    root: Path,
    features: Path | None,
    segments: Path | None,
    coords: Path | None,
    process_list: Path | None,
    *,
    require_segments: bool = True,
) -> Layout:
    """Recognises the documented folders in `root` and one level below; the other arguments name them instead.

    The h5 files are preferred over the pt files where a run has both: their coordinates say which rows are groups.

    Args:
        root: the folder that holds `h5_files/` or `pt_files/`, `segments/`, `patches/`, `process_list_autogen.csv`.
        features: folder of the feature files, `.h5` or `.pt`.
        segments: folder of the SAM segments, `.pkl`.
        coords: folder of the coordinate files, `.h5`.
        process_list: the table of slides.
        require_segments: False accepts a run without SAM segments; its bags then have no regions.

    Raises:
        InputError: something needed is not there, or is there twice.
    """
    if not root.is_dir():
        raise InputError(f"{root} is no folder", remedy="give the folder of the old run")
    features = _folder(features) or _search(root, "h5_files") or _search(root, "pt_files")
    if features is None:
        raise InputError(
            f"there is neither h5_files/ nor pt_files/ in {root}",
            remedy="give the folder of the feature files with --features",
        )
    kind = _kind(features)
    segments = _folder(segments) or _search(root, "segments")
    if segments is None and require_segments:
        raise InputError(
            f"there is no segments/ in {root}",
            remedy="give the folder of the SAM segments with --segments, or convert without regions with --no-segments",
        )
    coords = _folder(coords) or _search(root, "patches")
    if coords is None and kind == "pt":
        raise InputError(
            f"{features} holds no coordinates, and there is no patches/ in {root}",
            remedy="give the folder of the coordinate files with --coords",
        )
    table = process_list or _search(root, PROCESS_LIST)
    stems = sorted(path.stem for path in features.glob(f"*.{kind}"))
    slide_ids, left_out, notes = _choose(stems, table)
    return Layout(
        root=root,
        kind=kind,
        features=features,
        segments=segments,
        coords=coords,
        process_list=table,
        slide_ids=tuple(slide_ids),
        left_out=left_out,
        notes=tuple(notes),
    )


def _folder(path: Path | None) -> Path | None:
    if path is not None and not path.is_dir():
        raise InputError(f"{path} is no folder", remedy="check the option")
    return path


def _search(root: Path, name: str) -> Path | None:
    """`root/name`, or the one folder below `root` that has it."""
    if (root / name).exists():
        return root / name
    found = sorted(root.glob(f"*/{name}"))
    if len(found) > 1:
        listing = ", ".join(str(path) for path in found)
        raise InputError(f"{root} holds {name} more than once: {listing}", remedy="name the one you want")
    return found[0] if found else None


def _kind(features: Path) -> Literal["h5", "pt"]:
    held = {suffix for suffix in ("h5", "pt") if any(features.glob(f"*.{suffix}"))}
    if len(held) != 1:
        what = "both .h5 and .pt files" if held else "neither .h5 nor .pt files"
        raise InputError(f"{features} holds {what}", remedy="give the folder of one kind with --features")
    return "h5" if "h5" in held else "pt"


def _choose(stems: list[str], table: Path | None) -> tuple[list[str], dict[str, str], list[str]]:
    """The slides to convert, those left out and why, and what was assumed."""
    if table is None:
        return stems, {}, [f"there is no {PROCESS_LIST}: every feature file is taken"]
    known = set(stems)
    wanted: list[str] = []
    left_out: dict[str, str] = {}
    for row in read_csv(table, ["slide_id"]):
        slide_id = _slide_id(row["slide_id"], known)
        if slide_id != Path(slide_id).name or slide_id in ("", ".", ".."):
            raise InputError(f"{table}: {row['slide_id']!r} is no slide id", remedy="give the file's name only")
        reason = _why_not(row)
        if reason:
            left_out[slide_id] = reason
        elif slide_id not in wanted:
            wanted.append(slide_id)
    left_out = {slide_id: reason for slide_id, reason in left_out.items() if slide_id not in wanted}
    unlisted = [stem for stem in stems if stem not in left_out and stem not in wanted]
    left_out |= dict.fromkeys(unlisted, f"has features, but {table.name} does not list it")
    return wanted, left_out, []


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
