"""Weights: which are here, verified by sha256, and whether those that params.yaml asks for are among them."""

from collections.abc import Iterator
from pathlib import Path

from sammil_cli import choices
from sammil_cli.config import Settings
from sammil_cli.doctor.causes import one_line
from sammil_cli.doctor.finding import Asked, Finding, note, ok, wrong
from sammil_cli.doctor.python_packages import BROKEN
from sammil_cli.doctor.settings import read
from sammil_cli.errors import MissingError, SammilError
from sammil_cli.storage.hub import HubSilentError, locate
from sammil_cli.storage.weights import FOLDER_VARIABLE, WantedWeights, WeightFile, weight_folders

GROUP = "Weights"
_PATIENCE_SECONDS = 3.0  # for the hub
_MOST_NAMED = 6  # of files that nothing asks for


def folders(_: Asked) -> Iterator[Finding]:
    """Where weights are looked for; a folder that the user names and that is not there is mostly a slip."""
    *named, cache = weight_folders()
    facts = {"folders": [str(folder) for folder in (*named, cache)]}
    lost = [str(folder) for folder in named if not folder.is_dir()]
    if lost:
        found = f"{FOLDER_VARIABLE} names {' and '.join(lost)}, which {'are' if len(lost) > 1 else 'is'} not there"
        remedy = (
            f"export {FOLDER_VARIABLE}=/the/folder/that/holds/them; in a container: docker run -v /my/weights:{lost[0]}"
        )
        yield note(GROUP, "folders", found, remedy, **facts)
    else:
        yield ok(GROUP, "folders", "looked for in " + ", then ".join(facts["folders"]), **facts)


def files(asked: Asked) -> Iterator[Finding]:
    """Each published file: here or not, verified, needed or not; then the user's own."""
    settings = read(asked)
    if asked.in_project and settings is None:
        return  # which weights they need cannot be known; what is wrong is said of the settings
    try:
        from sammil_cli.project.weights import look, needed, published

        known, wanted = published(), needed(settings) if settings else {}
    except BROKEN as error:
        yield note(GROUP, "published", f"not looked at: {one_line(error)}", "see Python above")
        return
    except SammilError:
        return  # a choice that does not exist, which is said of the settings
    absent = []
    for word in known:
        try:
            (held,) = look([word], verify=True)
        except SammilError as error:
            yield (wrong if word in wanted else note)(GROUP, word, error.message, error.remedy)
            continue
        state, key = held.state, wanted.get(word, "")
        facts = {"path": str(held.path) if held.path else None, "sha256": held.pinned.sha256, "needed": bool(key)}
        if state == "verified":
            yield ok(GROUP, word, f"{held.path}, sha256 {held.pinned.sha256[:12]}… verified", **facts)
        elif state == "absent" and not key:
            absent.append(word)
        elif state == "absent":
            found = f"{held.pinned.file_name} is not here; the settings need it ({key})"
            access, said, remedy = _access(held.pinned)
            yield wrong(GROUP, word, found + said, remedy, **facts, access=access)
        else:
            found = f"{held.path} is not the published file (sha256 differs)"
            yield (wrong if key else note)(GROUP, word, found, f"sammil weights fetch {word}", **facts)
    if absent:
        more = f" and {len(absent) - _MOST_NAMED} others" if len(absent) > _MOST_NAMED else ""
        named = ", ".join(absent[:_MOST_NAMED]) + more
        found = f"{named}; nothing here asks for {'them' if len(absent) > 1 else 'it'}"
        yield note(GROUP, "not here", found, absent=absent)
    if settings:
        yield from _own(settings)


def _access(pinned: WeightFile) -> tuple[str, str, str]:
    """Whether a file can be fetched, as far as a hub that answers at once says: a word, what to add, the fix."""
    fetch = f"sammil weights fetch {pinned.word}"
    if not (pinned.hub and pinned.gated):
        return "open", "", fetch
    try:
        locate(pinned, pinned.hub, weight_folders()[0] / pinned.file_name, patience=_PATIENCE_SECONDS)
    except HubSilentError:
        return "gated", "; it is gated, and the hub was not asked for access", fetch
    except MissingError as error:
        return "refused", f"; {error.message.splitlines()[0]}", f"{error.remedy.splitlines()[0]}; then {fetch}"
    return "granted", "; it is gated, and your token gives access", fetch


def _own(settings: Settings) -> Iterator[Finding]:
    """Weight files of the user's own that the settings name, of whatever proposer or encoder wants them, and train."""
    given = settings.model_dump()
    for kind in (choices.PROPOSERS, choices.ENCODERS):
        try:
            choice = choices.load(kind, given[str(kind.setting)])
            wanted = choice.wanted_weights(given) if hasattr(choice, "wanted_weights") else None
        except SammilError as error:
            yield wrong(GROUP, str(kind.setting), error.message, error.remedy)
            continue
        except BROKEN as error:
            yield note(GROUP, kind.noun, f"not looked at: {one_line(error)}", "see Python above")
            continue
        while wanted is not None:
            if not wanted.to_fetch:
                yield _file(wanted)
            wanted = wanted.beside
    if settings.start_from:
        yield _file(WantedWeights(published=None, key="start_from", own=Path(settings.start_from)))


def _file(wanted: WantedWeights) -> Finding:
    """A weight file of the user's own."""
    try:
        path, sha256 = wanted.find()
    except SammilError as error:
        return wrong(GROUP, wanted.key, error.message, error.remedy)
    return ok(GROUP, wanted.key, f"{path}, sha256 {sha256[:12]}… verified", path=str(path), sha256=sha256)
