"""sammil weights: the published weights, which of them are here, and how they come here."""

import difflib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

from sammil_cli import choices, console
from sammil_cli.config import Settings, StageSettings, load_settings
from sammil_cli.errors import InputError, MissingError
from sammil_cli.storage.weight_archive import take, write_model
from sammil_cli.storage.weight_download import Progress, download
from sammil_cli.storage.weights import (
    COMMERCIAL_USE,
    WantedWeights,
    WeightFile,
    copies,
    damaged,
    missing,
    verified_copy,
    weight_folders,
)

_WIDTH = 12  # of the names of facts
State = Literal["verified", "damaged", "unchecked", "absent"]


@dataclass(frozen=True, kw_only=True)
class Held:
    """One published file as it is on this machine. `unchecked`: it is here, in its size, and was not read."""

    word: str
    pinned: WeightFile
    path: Path | None
    state: State


def published() -> dict[str, WeightFile]:
    """Every published file that a proposer or an encoder names in its WEIGHTS, by its word."""
    found = {}
    for folder in (choices.PROPOSERS, choices.ENCODERS):
        for name in choices.names(folder):
            weights = getattr(choices.load(folder, name), "WEIGHTS", {})
            for pinned in weights.values() if isinstance(weights, Mapping) else (weights,):
                found[pinned.word] = pinned
    return found


def pick(words: Sequence[str]) -> list[WeightFile]:
    """The published files of these words.

    Raises:
        InputError: there is no such word.
    """
    known = published()
    for word in words:
        if word not in known:
            near = difflib.get_close_matches(word, known, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise InputError(f"there are no weights {word!r}", remedy=f"{hint}one of: {', '.join(known)}")
    return [known[word] for word in dict.fromkeys(words)]


def needed(settings: Settings) -> dict[str, str]:
    """The words of the published files that a run with these settings reads, and the settings that ask for them."""
    chosen = ((choices.PROPOSERS, settings.proposer), (choices.ENCODERS, settings.encoder))
    pinned = [_read_by(choices.load(folder, name), settings) for folder, name in chosen]
    return {one.word: one.used_by for one in pinned if one is not None}


def _read_by(choice: ModuleType, settings: StageSettings) -> WeightFile | None:
    """The published file that a proposer or encoder reads; None for one without, and where the user has one."""
    wanted: WantedWeights | None = (
        choice.wanted_weights(settings.model_dump()) if hasattr(choice, "wanted_weights") else None
    )
    return wanted.to_fetch if wanted else None


def expect(choice: ModuleType, settings: StageSettings) -> None:
    """Refuses a proposer or encoder whose published file is not here, at once: torch takes seconds to load.

    Raises:
        MissingError: there is no such file. What is in it is looked at when it is read.
    """
    pinned = _read_by(choice, settings)
    if pinned is not None and not copies(pinned):
        raise missing(pinned)


def asked_for(words: Sequence[str], params: Path) -> list[WeightFile]:
    """The files of these words; without any, those that the settings file needs, which is said.

    Raises:
        InputError: an unknown word, or neither words nor settings.
    """
    if words:
        return pick(words)
    if not params.exists():
        raise InputError(
            f"no weights are named, and there is no {params} that would say which",
            remedy=f"name them: {', '.join(published())}",
        )
    wanted = needed(load_settings(params))
    for word, why in wanted.items():
        console.say(f"{params} needs {word} ({why})")
    if not wanted:
        console.say(f"{params} needs no published weights")
    return pick(list(wanted))


def look(words: Sequence[str] = (), *, verify: bool) -> list[Held]:
    """What is here of these words, or of all.

    Args:
        verify: read the files and compare their sha256; seconds for each gigabyte. Without, a size is compared only.

    Raises:
        InputError: there is no such word. MissingError: a file cannot be read.
    """
    return [_held(pinned, verify) for pinned in pick(words or list(published()))]


def _held(pinned: WeightFile, verify: bool) -> Held:
    here = copies(pinned)
    if not here:
        return Held(word=pinned.word, pinned=pinned, path=None, state="absent")
    if verify:
        right = verified_copy(pinned)
        return Held(word=pinned.word, pinned=pinned, path=right or here[0], state="verified" if right else "damaged")
    whole = [path for path in here if pinned.fits(path.stat().st_size)]
    state: State = "unchecked" if whole else "damaged"
    return Held(word=pinned.word, pinned=pinned, path=(whole or here)[0], state=state)


def fetch(words: Sequence[str], params: Path) -> list[Held]:
    """Downloads weights that are not here, of these words or of what the settings file needs; all are verified.

    Raises:
        InputError: see `asked_for`. MissingError: see `download`.
    """
    return fetch_all(asked_for(words, params))


def fetch_all(pinned_files: Sequence[WeightFile]) -> list[Held]:
    """Downloads those that are not here; all are verified.

    Raises:
        MissingError: see `download`.
    """
    found = []
    for pinned in pinned_files:
        console.say(_announced(pinned))
        with _shown(pinned) as progress:
            path = download(pinned, progress)
        found.append(Held(word=pinned.word, pinned=pinned, path=path, state="verified"))
    return found


def _announced(pinned: WeightFile) -> str:
    size = "" if pinned.megabytes is None else f", {pinned.size}"
    terms = f"licence: {pinned.licence}; {pinned.page}; commercial use: {COMMERCIAL_USE[pinned.commercial]}"
    return f"{pinned.word}: {pinned.file_name}{size}, {terms}{'; gated' if pinned.gated else ''}"


@contextmanager
def _shown(pinned: WeightFile) -> Iterator[Progress]:
    """A bar with the time left in a terminal, once the size is known; a line for each 5 % elsewhere."""
    if not sys.stderr.isatty():
        yield console.download_progress()
        return
    with ExitStack() as stack:
        bars: list[console.Bar] = []

        def show(done: int, total: int) -> None:
            if not bars:
                bars.append(stack.enter_context(console.progress(round(total / 1e6), f"{pinned.word}, MB")))
            bars[0].at(done // 1_000_000, "")

        yield show


def fetch_from(source: Path, words: Sequence[str]) -> list[Held]:
    """Copies weights, of these words or all that there are, out of a tar file, a folder or a file, verified.

    Raises:
        InputError: an unknown word, or no such source. MissingError: it has not what is asked for, or damaged.
    """
    wanted = pick(words or list(published()))
    console.say(f"reading {source}")
    taken = take(source, wanted)
    if lacking := [one for one in wanted if one.word not in taken and (words or not taken)]:
        names = ", ".join(one.file_name for one in lacking)
        word = lacking[0].word
        raise MissingError(
            f"{source} has none of: {names}",
            remedy=f"where there is a network: sammil weights fetch {word} && sammil weights export {word} weights.tar",
        )
    return [
        Held(word=one.word, pinned=one, path=taken[one.word], state="verified") for one in wanted if one.word in taken
    ]


def verify(words: Sequence[str]) -> list[Held]:
    """Reads every file that is here, of these words or of all, and compares its sha256; says so while it does.

    Raises:
        InputError: there is no such word.
    """
    pinned = pick(words or list(published()))
    found = []
    with console.progress(len(pinned), "verifying") as bar:
        for one in pinned:
            found.append(_held(one, True))
            bar.advance(one.word)
    return found


def fault(found: Sequence[Held], *, all_needed: bool) -> MissingError | None:
    """The error of the first damaged file, or, where all are needed, of the first absent one."""
    for held in found:
        if held.state == "damaged" and held.path is not None:
            return damaged(held.pinned, held.path)
        if held.state == "absent" and all_needed:
            return missing(held.pinned)
    return None


def export(words: Sequence[str], path: Path, params: Path) -> list[WeightFile]:
    """Writes the files, once verified, into a tar file.

    Raises:
        InputError: an unknown word, nothing to export, or a path that is no tar file's. MissingError: one is absent.
    """
    if path.suffix != ".tar":
        raise InputError(f"the last word, {path}, is no .tar file", remedy="sammil weights export vit_h weights.tar")
    pinned = asked_for(words, params)
    if not pinned:
        raise InputError("there is nothing to export", remedy=f"name weights: {', '.join(published())}")
    write_model(path, pinned)
    return pinned


def asked_or_here(found: Sequence[Held], params: Path) -> list[Held]:
    """Those that are here or that the settings file needs; all, where that is none.

    Raises:
        InputError: the settings file cannot be read.
    """
    wanted = needed(load_settings(params)) if params.exists() else {}
    return [one for one in found if one.path is not None or one.word in wanted] or list(found)


def report(found: Sequence[Held], *, others: int = 0) -> None:
    """Prints what is here as tables, how many `others` there are, and where weights are looked for."""
    header = ("weights", "MB", "access", "licence", "commercial", "state")
    for title, of_group in _groups(found).items():
        console.print_table(title, header, [_row(held) for held in of_group])
    if others:
        console.say(f"here, or asked for by the settings; {others} others: sammil weights list --all")
    if any(one.state == "unchecked" for one in found):
        console.say(
            "unchecked: here, and of the right size where that is known; sammil weights verify compares the content"
        )
    console.say("commercial: whether the licence allows commercial use; – where that is not clear")
    if any(one.pinned.gated for one in found):
        console.say("gated: its authors grant access on its page; sammil weights fetch WORD says how")
    console.say("every fact of one: sammil weights list WORD; of all: --json", "")
    _say_folders(found)


def report_facts(found: Sequence[Held]) -> None:
    """Prints every fact of each file, and where weights are looked for."""
    for held in found:
        facts = as_record(held) | {"commercial": COMMERCIAL_USE[held.pinned.commercial]}
        facts = {"size" if name == "megabytes" else name: value for name, value in facts.items()}
        facts["size"] = held.pinned.size
        console.say(*(f"{name:{_WIDTH}}{value}" for name, value in facts.items() if value is not None), "")
    _say_folders(found)


def _say_folders(found: Sequence[Held]) -> None:
    console.say("looked for in")
    for folder in weight_folders():
        here = [one.path.name for one in found if one.path is not None and one.path.parent == folder]
        console.say(f"    {folder}: {', '.join(here) or 'none'}")


def _groups(found: Sequence[Held]) -> dict[str, list[Held]]:
    """By what they are for; each group is a table."""
    groups: dict[str, list[Held]] = {"Weights of SAM": [], "Weights of encoders": []}
    for held in found:
        groups["Weights of encoders" if held.pinned.used_by.startswith("encoder:") else "Weights of SAM"].append(held)
    return {title: of_group for title, of_group in groups.items() if of_group}


def _row(held: Held) -> tuple[object, ...]:
    one = held.pinned
    size = f"{'–':>6}" if one.megabytes is None else f"{one.megabytes:>6.1f}"
    commercial = "–" if one.commercial is None else COMMERCIAL_USE[one.commercial]
    return held.word, size, one.access, one.licence, commercial, held.state


def as_record(held: Held) -> dict[str, object]:
    """For JSON."""
    pinned = held.pinned
    return {
        "word": held.word,
        "for": pinned.used_by,
        "file": pinned.file_name,
        "megabytes": pinned.megabytes,
        "sha256": pinned.sha256,
        "licence": pinned.licence,
        "commercial": pinned.commercial,
        "access": pinned.access,
        "source": pinned.page,
        "url": pinned.url,
        "revision": pinned.hub.revision if pinned.hub else None,
        "state": held.state,
        "path": None if held.path is None else str(held.path),
    }
