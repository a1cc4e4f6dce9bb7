"""The archive of a bundle: a plain ZIP of stored members, every one of which `bundle.json` names with size and sha256.

Nothing is unpacked by a name of the archive's own: the names are fixed by what `bundle.json` says, and no member is
compressed, so none is larger than the file that holds it.
"""

import hashlib
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sammil_cli.errors import InputError, limit_met
from sammil_cli.storage.files import Record, atomic_path
from sammil_cli.storage.guarded_json import MOST_BYTES, parse_json
from sammil_cli.storage.regular_file import check_regular
from sammil_cli.storage.shown_text import json_text, shown_value
from sammil_cli.storage.summed import JsonObject, damaged, with_sum, without_sum
from sammil_cli.training.model_facts import FACTS_FILE, WEIGHTS_FILE

SUFFIX = ".sammil"
FACTS_MEMBER = "bundle.json"
FILES = "files"  # in the facts: {member: {"bytes", "sha256"}}
AGAIN = "copy it again, or make it anew: sammil bundle RUN"
MODEL_FILES = (FACTS_FILE, WEIGHTS_FILE)
MODEL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", re.ASCII)
_MEMBER = re.compile(rf"models/{MODEL_NAME.pattern}/(?:{'|'.join(map(re.escape, MODEL_FILES))})", re.ASCII)
_TIME = (1980, 1, 1, 0, 0, 0)  # the same content gives the same bytes
_MOST_MEMBERS = 4096
# What damaged, encrypted and foreign archives raise; ValueError for names that are no text.
_NO_ARCHIVE = (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, zlib.error, OverflowError)


def member_name(model: str, file: str) -> str:
    """What a model's file is called in the archive."""
    return f"models/{model}/{file}"


def write_archive(path: Path, facts: Record, members: Mapping[str, bytes]) -> None:
    """Writes facts and members atomically, the facts first, with the size and sha256 of every member and their own sum.

    The same content gives the same bytes.
    """
    files = {name: {"bytes": len(content), "sha256": _sha256(content)} for name, content in members.items()}
    text = json_text(with_sum({**facts, FILES: files}), indent=2) + "\n"
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, content in {FACTS_MEMBER: text.encode(), **members}.items():
            entry = zipfile.ZipInfo(name, _TIME)
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # as Unix writes it, on any system
            archive.writestr(entry, content)


def read_archive(path: Path) -> tuple[JsonObject, dict[str, bytes]]:
    """The facts without their list of files, and the content of every member by its name, verified.

    Raises:
        InputError: there is no such file; `E_DAMAGED`, it is no bundle, or not as it was written.
    """
    with _opened(path) as archive:
        entries = _entries(path, archive)
        facts, files = _facts(path, archive.read(entries.pop(FACTS_MEMBER)))
        if entries.keys() != files.keys():
            odd = min(entries.keys() ^ files.keys())
            lost = f"its {odd} is missing" if odd in files else f"{FACTS_MEMBER} does not name its {odd}"
            raise damaged(path, lost, AGAIN)
        contents = {}
        for name, entry in entries.items():
            contents[name] = archive.read(entry)
            if files[name] != {"bytes": len(contents[name]), "sha256": _sha256(contents[name])}:
                raise damaged(path, f"its {name} is not the one that {FACTS_MEMBER} names", AGAIN)
    return facts, contents


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    check_regular(path)
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FileNotFoundError:
        raise InputError(f"{path} does not exist", remedy="make it: sammil bundle RUN -o model.sammil") from None
    except OSError as error:
        if met := limit_met(error):
            raise met from None
        raise damaged(path, f"it cannot be read: {error}", AGAIN) from None
    except _NO_ARCHIVE as error:
        raise damaged(path, f"it is no bundle, or a part of one ({error})", AGAIN) from None


def _entries(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members by name, looked at before any of them is read."""
    found = archive.infolist()
    if len(found) > _MOST_MEMBERS:
        raise damaged(path, f"it has {len(found):,} members", AGAIN)
    for entry in found:
        if entry.filename != FACTS_MEMBER and not _MEMBER.fullmatch(entry.filename):
            raise damaged(path, f"it holds {shown_value(entry.filename)}, which is no part of a bundle", AGAIN)
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size or entry.flag_bits & 1:
            raise damaged(path, f"its {entry.filename} is compressed or encrypted", AGAIN)
    if len({entry.filename for entry in found}) < len(found):
        raise damaged(path, "it has a member twice", AGAIN)
    if sum(entry.file_size for entry in found) > path.stat().st_size:
        raise damaged(path, "its members are larger than the file", AGAIN)
    entries = {entry.filename: entry for entry in found}
    if FACTS_MEMBER not in entries:
        raise damaged(path, f"it has no {FACTS_MEMBER}: it is no bundle", AGAIN)
    if entries[FACTS_MEMBER].file_size > MOST_BYTES:
        raise damaged(path, f"its {FACTS_MEMBER} is larger than {MOST_BYTES >> 20} MiB", AGAIN)
    return entries


def _facts(path: Path, text: bytes) -> tuple[JsonObject, dict[str, dict[str, object]]]:
    """The facts, and the size and sha256 of each member by its name."""
    try:
        content = parse_json(text, FACTS_MEMBER)
    except InputError as error:
        raise damaged(path, error.message, AGAIN) from None
    if not isinstance(content, dict):
        raise damaged(path, f"{FACTS_MEMBER} holds no JSON object", AGAIN)
    facts = without_sum(path, content, AGAIN)
    files = facts.pop(FILES, None)
    if not isinstance(files, dict):
        raise damaged(path, f"{FACTS_MEMBER} does not name its files", AGAIN)
    return facts, files


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
