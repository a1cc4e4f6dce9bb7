"""The folder that a stage writes into: what it removes there, it has made itself, and says so.

A slide whose result is stale loses its files before any work, not when the new result comes in. Later stages take what
lies in the folder for what the slide is now: their keys are digests of those files, which do not say whether the slide
has changed since. A run that is killed would leave files that nobody could tell from fresh ones. Nothing is lost by it:
the result store keeps each result under its key, so a setting changed back brings the files back without computing.
(`sammil train` does it the other way round, see `stages.models_folder`: its results are one whole, and their sums say
when that is incomplete.)
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path

from sammil_cli.errors import InputError
from sammil_cli.storage.files import read_csv
from sammil_cli.storage.origin import read_record
from sammil_cli.storage.paths import PACKED_GEOJSON, slide_of, suffix_of
from sammil_cli.storage.store import is_temporary

RECORDED = (".h5", ".geojson", PACKED_GEOJSON)  # files that say how they were made; those beside them go with them
_SHOWN = 10


class OutFolder:
    """What lay in an out folder when a run began, by slide, and who had made it.

    Files are asked who made them only where that is not known from their content: it takes milliseconds each. So
    `remember` a slide before any of its files is replaced.

    A slide's files are a stage's own where their record says so, or where none of them has one and the stage's earlier
    process list has the slide as done. All others stay, unless the stage makes that slide's result itself.
    """

    def __init__(self, out: Path, stage: str, process_list: Path, only: frozenset[str] | None) -> None:
        self._out, self._stage, self._only = out, stage, only
        self._listed = done_before(process_list)
        self._names = {slide_of(path) for path in self._files()}
        self._makers: dict[str, str | None] = {}
        self._removed: set[str] = set()
        self._replaced: set[str] = set()

    def remember(self, name: str) -> None:
        """Notes who made a slide's files."""
        if name in self._names and name not in self._makers:
            self._makers[name] = _maker(self._out, name)

    def clear(self, kept: Collection[str], done: Collection[str]) -> None:
        """Removes what is stale.

        Args:
            kept: names of the files that stay: the stage's own results. done: slides whose result lies here now.
        """
        for name in self._names - self._makers.keys():
            first = next(_with_record(self._out, name), None)
            self._makers[name] = self._stage if first and first.name in kept else _maker(self._out, name)
        for path in list(self._files()):
            if path.name not in kept and (self._is_own(slide_of(path)) or self._is_replaced(slide_of(path), done)):
                path.unlink(missing_ok=True)
                self._removed.add(slide_of(path))
        self._replaced |= {name for name in self._makers if self._is_replaced(name, done)}

    def take_over(self, slide_id: str, kept: Collection[str]) -> None:
        """Removes what another command has left of a slide whose result has just come in."""
        self._replaced.add(slide_id)
        for path in list(self._files()):
            if slide_of(path) == slide_id and path.name not in kept:
                path.unlink(missing_ok=True)

    def said(self, done: Collection[str]) -> Iterator[str]:
        """Lines on what was removed and is not made anew, what was replaced, and what of others was left."""
        if gone := self._removed - set(done):
            yield f"removed what it had made of {_named(gone)}, not done now"
        by_maker = defaultdict[str, set[str]](set)
        for name in self._replaced:
            by_maker[self._makers[name] or ""].add(name)
        for maker, names in sorted(by_maker.items()):
            yield f"replaced what {maker} had made of {_named(names)}"
        others = defaultdict[str, set[str]](set)
        for name in self._makers.keys() - self._replaced:
            if self.was_others(name):
                others[self._makers[name] or ""].add(name)
        for maker, names in sorted(others.items()):
            yield f"left what {maker} made of {_named(names)} in {self._out}"

    def _files(self) -> Iterator[Path]:
        for path in self._out.iterdir():
            if (self._only is None or slide_of(path) in self._only) and not path.is_dir() and not is_temporary(path):
                yield path

    def was_others(self, name: str) -> bool:
        """Whether another command had made a slide's files."""
        return self._makers.get(name) not in (None, self._stage)

    def _is_own(self, name: str) -> bool:
        return _is_own(self._makers.get(name), self._stage, name in self._listed)

    def _is_replaced(self, name: str, done: Collection[str]) -> bool:
        return name in done and self.was_others(name)


def is_own(out: Path, name: str, stage: str, listed: Collection[str]) -> bool:
    """Whether a slide's files in `out` are the stage's own; `listed`: what its process list has as done."""
    return _is_own(_maker(out, name), stage, name in listed)


def _is_own(maker: str | None, stage: str, is_listed: bool) -> bool:
    return maker == stage or (maker is None and is_listed)


def maker_of(path: Path) -> str | None:
    """The command that wrote a file, as the file says; None where it does not."""
    record = read_record(path, suffix_of(path))
    stage = None if record is None else record.get("stage")
    return stage if isinstance(stage, str) else None


def _maker(out: Path, name: str) -> str | None:
    found = map(maker_of, _with_record(out, name))
    return next((maker for maker in found if maker is not None), None)


def _with_record(out: Path, name: str) -> Iterator[Path]:
    return (path for suffix in RECORDED if (path := out / f"{name}{suffix}").is_file())


def done_before(process_list: Path) -> frozenset[str]:
    """The slides that a process list has as done; none where there is no list."""
    try:
        rows = read_csv(process_list, ("slide_id", "status")) if process_list.is_file() else []
    except InputError:  # somebody has changed it
        return frozenset()
    return frozenset(row["slide_id"] for row in rows if row["status"] in ("done", "reused"))


def _named(slides: Collection[str]) -> str:
    shown = ", ".join(sorted(slides)[:_SHOWN])
    return f"{len(slides)} slide(s): {shown}" + (f" and {len(slides) - _SHOWN} more" if len(slides) > _SHOWN else "")
