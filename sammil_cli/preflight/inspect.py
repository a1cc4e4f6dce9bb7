"""sammil inspect: what the slides say about themselves, and which of them cannot be used."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sammil_cli import console
from sammil_cli.errors import SlideError
from sammil_cli.project.project import Project, RunOptions, check_only
from sammil_cli.runner.executor import Call, Limits, open_executor
from sammil_cli.slides import resolution
from sammil_cli.slides.conversion import pyramid_command
from sammil_cli.slides.files import SlideFiles, find_slides, no_name, open_reader
from sammil_cli.slides.pixels import is_grey
from sammil_cli.slides.slide import Reader
from sammil_cli.slides.table import SlideEntry, read_slides_table
from sammil_cli.storage.files import check_name, write_csv
from sammil_cli.storage.paths import SlidePath

_SECONDS = 120.0  # for opening a slide and reading a few pixels; what takes longer hangs
_LARGE_PX = 100_000_000  # from here on one level alone is slow
_SAMPLE_PX = 64
_WHOLE_PX = 16_000_000  # a level that is read whole
_PLACES = 24  # across and down, that are looked at on a larger one
_GLASS_LEAST = 200  # grey value: nothing darker, nothing on the slide
_MOST_SHOWN = 200
_NARROWEST_ID = 16


@dataclass(frozen=True, kw_only=True)
class SlideFacts:
    """What is known of one slide. `code` is empty for a slide that can be used."""

    slide_id: str
    path: Path
    kind: str = ""
    size_px: tuple[int, int] | None = None
    downsamples: tuple[float, ...] = ()
    mpp: float | None = None
    mpp_source: str = ""
    objective: float | None = None
    bounds_px: tuple[int, int, int, int] | None = None  # None = the whole slide
    flags: tuple[str, ...] = ()
    code: str = ""
    message: str = ""
    remedy: str = ""
    status: str = "usable"  # or set-aside, failed: as in process lists

    @property
    def decoded_gb(self) -> float | None:
        """Size of level 0 as RGB, 10⁹ bytes."""
        return None if self.size_px is None else 3e-9 * self.size_px[0] * self.size_px[1]


def run(project: Project, options: RunOptions) -> tuple[list[SlideFacts], SlideFiles]:
    """Opens every slide in a process of its own; returns the facts by slide id, and what else lies in the folder."""
    found = find_slides(project.slides)
    check_only(options.only, found.ids, str(project.slides))
    entries = read_slides_table(project.slides_table)
    chosen = {i: path for i, path in found.paths.items() if options.only is None or i in options.only}
    facts: dict[str, SlideFacts] = {}

    def calls() -> Iterator[Call]:
        for slide_id, path in chosen.items():
            entry = entries.get(slide_id, SlideEntry())
            yield Call.to(slide_id, describe, slide_id, path, entry.mpp, entry.scene)

    with console.progress(len(chosen), "inspect") as bar, open_executor(options, Limits(seconds=_SECONDS)) as executor:
        for answer in executor.answers(calls()):
            unknown = SlideFacts(slide_id=answer.slide_id, path=chosen[answer.slide_id])
            facts[answer.slide_id] = _troubled(unknown, answer.error) if answer.error else answer.value
            bar.advance(answer.slide_id)
    for slide_id in facts:
        try:
            check_name(slide_id, project.tissue)
        except SlideError as error:
            facts[slide_id] = _troubled(facts[slide_id], error)
    for slide_id, path in found.unnameable.items():
        if options.only is None or slide_id in options.only:
            facts[slide_id] = _troubled(SlideFacts(slide_id=slide_id, path=path), no_name(path))
    odd = resolution.outliers({i: fact.mpp for i, fact in facts.items() if fact.mpp is not None})
    for slide_id, flag in odd.items():
        facts[slide_id] = replace(facts[slide_id], flags=(*facts[slide_id].flags, flag))
    return [facts[slide_id] for slide_id in sorted(facts)], found


def _troubled(facts: SlideFacts, error: SlideError) -> SlideFacts:
    status = "set-aside" if error.set_aside else "failed"
    return replace(facts, code=error.code, message=error.message, remedy=error.remedy, status=status)


def describe(slide_id: str, path: SlidePath, mpp: float | None, scene: int | None = None) -> SlideFacts:
    """Runs in the worker: opens a slide and reads a few pixels in the middle of each level.

    Raises:
        SlideError: the slide cannot be opened or read.
    """
    reader = open_reader(path, scene)
    try:
        width, height = reader.size_px
        facts = SlideFacts(
            slide_id=slide_id,
            path=path,
            kind=reader.kind,
            size_px=(width, height),
            downsamples=tuple(reader.downsamples),
            objective=reader.objective,
            bounds_px=None if reader.bounds_px == (0, 0, width, height) else reader.bounds_px,
        )
        found = [*reader.remarks, *_damaged_levels(reader), *_single_level(reader, path), *_colourless(reader)]
        try:
            value, source = resolution.resolve_mpp(reader.mpp, reader.mpp_source, slide_id, mpp)
        except SlideError as error:
            return _troubled(replace(facts, flags=tuple(found)), error)
        odd = resolution.flags(value, reader.mpp, reader.objective)
        return replace(facts, mpp=value, mpp_source=source, flags=(*odd, *found))
    finally:
        reader.close()


def _damaged_levels(reader: Reader) -> list[str]:
    """Reads the middle of each level; level 0 has to be there."""
    x, y, width, height = reader.bounds_px
    middle = (x + width // 2, y + height // 2)
    found = []
    for level in range(len(reader.downsamples)):
        try:
            reader.read(middle, level, (_SAMPLE_PX, _SAMPLE_PX))
        except SlideError as error:
            if level == 0:
                raise
            found.append(f"{error.message}; the next finer level is read instead")
    return found


def _colourless(reader: Reader) -> list[str]:
    """Whether the slide is grey. Where a few pixels of the middle have no colour, the coarsest level is looked at."""
    x, y, width, height = reader.bounds_px
    if not is_grey(reader.read((x + width // 2, y + height // 2), 0, (_SAMPLE_PX, _SAMPLE_PX))):
        return []
    level, downsample = len(reader.downsamples) - 1, reader.downsamples[-1]
    size = (max(1, int(width / downsample)), max(1, int(height / downsample)))
    try:
        if size[0] * size[1] <= _WHOLE_PX:
            pictures = [reader.read((x, y), level, size)]
        else:
            places = [
                (x + width * i // _PLACES, y + height * j // _PLACES) for i in range(_PLACES) for j in range(_PLACES)
            ]
            pictures = [reader.read(place, level, (_SAMPLE_PX, _SAMPLE_PX)) for place in places]
    except SlideError:  # named with the levels
        return []
    if min(int(picture.min()) for picture in pictures) > _GLASS_LEAST or not all(map(is_grey, pictures)):
        return []  # blank, or coloured
    return ["grey: it has no colour; segmenter: od finds tissue by how dark it is, the others find none"]


def _single_level(reader: Reader, path: Path) -> list[str]:
    width, height = reader.size_px
    if len(reader.downsamples) > 1 or width * height < _LARGE_PX:
        return []
    return [f"a single level of {3e-9 * width * height:.1f} GB; faster as a pyramid: {pyramid_command(path)}"]


def report(facts: Sequence[SlideFacts], found: SlideFiles) -> None:
    """Prints the table, what is odd, the slides that cannot be used with their fixes, and the inventory."""
    _say_some(_table([fact for fact in facts if fact.size_px is not None]), "slides")
    remarks = [f"{fact.slide_id}: {text}" for fact in facts for text in (*_bounds_remark(fact), *fact.flags)]
    _say_some(["", *remarks] if remarks else [], "remarks")
    _say_some(_troubles(facts), "lines")
    usable = sum(not fact.code for fact in facts)
    console.say("", found.inventory(), f"inspect: {usable} of {len(facts)} slides can be used")


def _say_some(lines: Sequence[str], what: str) -> None:
    for line in lines[:_MOST_SHOWN]:
        console.say(line)
    if len(lines) > _MOST_SHOWN:
        console.say(f"… and {len(lines) - _MOST_SHOWN} more {what}: --out table.csv has them all")


def _table(facts: Sequence[SlideFacts]) -> list[str]:
    """Lines of aligned columns; a long id is folded, so that the rest fits the terminal."""
    rows = [("slide", "format", "size px", "levels", "µm/px", "from", "lens", "GB"), *map(_cells, facts)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rest = sum(widths[1:]) + 2 * len(widths[1:])
    first = max(_NARROWEST_ID, min(widths[0], shutil.get_terminal_size((100, 24)).columns - rest))
    lines = []
    for row in rows:
        pieces = [row[0][start : start + first] for start in range(0, len(row[0]), first)]
        cells = [cell.ljust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([pieces[0].ljust(first), *cells]).rstrip())
        lines += pieces[1:]
    return lines


def _cells(fact: SlideFacts) -> tuple[str, ...]:
    width, height = fact.size_px or (0, 0)
    levels = len(fact.downsamples)
    gigabytes = fact.decoded_gb or 0.0
    return (
        fact.slide_id,
        fact.kind,
        f"{width} x {height}",
        f"{levels} to 1/{fact.downsamples[-1]:.3g}" if levels > 1 else "1",
        "?" if fact.mpp is None else f"{fact.mpp:.4g}",
        fact.mpp_source or fact.code,
        "" if fact.objective is None else f"{fact.objective:g}x",
        f"{gigabytes:.2f}" if gigabytes >= 0.01 else "<0.01",
    )


def _bounds_remark(fact: SlideFacts) -> list[str]:
    if fact.bounds_px is None:
        return []
    x, y, width, height = fact.bounds_px
    return [f"scanned are {width} x {height} px at x={x}, y={y}"]


def _troubles(facts: Sequence[SlideFacts]) -> list[str]:
    """The slides that cannot be used; those that lack a resolution together, with the lines to paste."""
    lines = []
    for fact in facts:
        if fact.code and fact.code != "E_MPP":
            lines += ["", f"{fact.status}: {fact.slide_id}  {fact.code}  {fact.message}", f"    fix: {fact.remedy}"]
    without = [fact for fact in facts if fact.code == "E_MPP"]
    reasons = sorted({fact.message for fact in without})
    for reason in reasons:
        alike = [fact.slide_id for fact in without if fact.message == reason]
        lines += [
            "",
            f"set-aside: {len(alike)} of {len(facts)} slides  E_MPP  {reason}",
            f"    fix: {resolution.HOW_TO_ADD}:",
        ]
        lines += [f"    {resolution.table_line(slide_id)}" for slide_id in alike]
    return lines


def write_table(path: Path, facts: Sequence[SlideFacts]) -> None:
    """Writes the table as CSV; `--only` takes the slides from it that cannot be used."""
    write_csv(path, HEADER, [list(as_record(fact).values()) for fact in facts])


def as_record(fact: SlideFacts) -> dict[str, object]:
    """A slide's facts in plain values, by the table's columns."""
    width, height = fact.size_px or ("", "")
    return {
        "slide_id": fact.slide_id,
        "status": fact.status,
        "file": str(fact.path),
        "format": fact.kind,
        "width_px": width,
        "height_px": height,
        "downsamples": " ".join(f"{value:.6g}" for value in fact.downsamples),
        "mpp": "" if fact.mpp is None else fact.mpp,
        "mpp_source": fact.mpp_source,
        "objective": "" if fact.objective is None else fact.objective,
        "bounds_px": "" if fact.bounds_px is None else " ".join(map(str, fact.bounds_px)),
        "decoded_gb": "" if fact.decoded_gb is None else round(fact.decoded_gb, 3),
        "flags": "; ".join(fact.flags),
        "code": fact.code,
        "message": fact.message,
        "remedy": fact.remedy,
    }


HEADER = tuple(as_record(SlideFacts(slide_id="", path=Path())))
