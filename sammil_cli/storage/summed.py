"""JSON of ours carries a sum of what it holds, in its member `sum`: a flipped bit or an edit is seen on reading.

The sum is of the content, not of the bytes: the same JSON in another layout is the same. Files of earlier versions have
no sum and are read as they are; from `SUMMED` on, which they say in their member `schema`, they must have one.
"""

import hashlib
from pathlib import Path
from typing import Any

from sammil_cli.errors import InputError, limit_met
from sammil_cli.storage.files import Record, as_stored, canonical, digest, sha256_file, write_json
from sammil_cli.storage.guarded_json import read_json
from sammil_cli.storage.packed import MOST_BYTES
from sammil_cli.storage.paths import is_called_like, suffix_of

JsonObject = dict[str, Any]
SUMMED = 2  # the first schema of JSON and GeoJSON with a sum
SUM, SCHEMA = "sum", "schema"
_DAMAGED, _MIXED = "E_DAMAGED", "E_MIXED"


def with_sum(facts: Record, covered: object = None) -> JsonObject:
    """The facts with their schema and the sum of both, and of what else it is to cover.

    Args:
        covered: what lies elsewhere in the file, such as the features of a GeoJSON.
    """
    content = _summed(facts)
    return {**content, SUM: _sum_of(content, covered)}


class ListSum:
    """The sum of facts and of a list that is never held: `with_sum(facts, covered=items)`, item by item."""

    def __init__(self, facts: Record) -> None:
        self._content = _summed(facts)
        # The canonical form of [content, [item, …]], which `digest` takes the sum of.
        self._seen = hashlib.sha256(f"[{canonical(as_stored(self._content))},[".encode())
        self._between = ""

    def add(self, item: object) -> None:
        """Takes the next item of the list in."""
        self._seen.update((self._between + canonical(item)).encode())
        self._between = ","

    def facts(self) -> JsonObject:
        """The facts with their schema and, last, the sum of both and of the items so far."""
        whole = self._seen.copy()
        whole.update(b"]]")
        return {**self._content, SUM: whole.hexdigest()}


def without_sum(path: Path, facts: Record, remedy: str, covered: object = None) -> JsonObject:
    """The facts without their sum, which is verified where there is one.

    Args:
        path: for messages. remedy: how to get the file back.
        covered: as with `with_sum`.

    Raises:
        InputError: `E_DAMAGED`, the sum differs, or is missing where the schema asks for one; or of a newer schema.
    """
    content = dict(facts)
    found, schema = content.pop(SUM, None), content.get(SCHEMA, 1)
    if isinstance(schema, int) and schema > SUMMED:
        raise InputError(f"{path} has the schema {schema}, this sammil reads {SUMMED}", remedy="upgrade sammil")
    if found is None and isinstance(schema, int) and schema < SUMMED:
        return content
    if found is None:
        raise damaged(path, "its checksum is missing", remedy)
    if found != _sum_of(content, covered):
        raise damaged(path, "its content is not what was written (the checksum differs)", remedy)
    return content


def write_summed(path: Path, facts: Record) -> None:
    """Writes a JSON object with its sum, atomically; `read_summed` gives the facts back, with their `schema`."""
    write_json(path, with_sum(facts))


def read_summed(path: Path, remedy: str) -> JsonObject:
    """Reads a JSON object of ours, of an earlier version, too.

    Args:
        remedy: how to get the file back.

    Raises:
        InputError: `E_DAMAGED`, it is no JSON object, or not as it was written.
        FileNotFoundError: it is not there.
    """
    try:
        content = read_json(path, with_nan=True)
    except FileNotFoundError:
        raise
    except (OSError, InputError) as error:
        if met := limit_met(error):
            raise met from None
        raise damaged(path, f"it cannot be read: {error}", remedy) from None
    if not isinstance(content, dict):
        raise damaged(path, "it holds no JSON object", remedy)
    return without_sum(path, content, remedy)


def write_of_slide(path: Path, facts: Record) -> None:
    """Writes facts on a slide, which is called as the file is."""
    write_summed(path, {"slide_id": path.stem, **facts})


def read_of_slide(path: Path, remedy: str) -> JsonObject:
    """Reads what `write_of_slide` was given.

    Raises:
        InputError: `E_DAMAGED`, see `read_summed`; `E_MIXED`, it is of another slide.
    """
    facts = read_summed(path, remedy)
    check_slide(path, facts.pop("slide_id", None), remedy)
    facts.pop(SCHEMA, None)
    return facts


def has_sum(path: Path) -> bool:
    """Whether a JSON or GeoJSON file carries a sum; it is not verified."""
    try:
        content = read_json(path, most_bytes=MOST_BYTES)
    except (OSError, InputError):
        return False
    facts = content.get("sammil", content) if isinstance(content, dict) else {}
    return isinstance(facts, dict) and SUM in facts


def check_sha256(path: Path, wanted: str, said_by: Path, remedy: str) -> None:
    """Refuses a file that is not the one whose sha256 another file names.

    Raises:
        InputError: `E_DAMAGED`, it is missing or another one.
    """
    if not path.is_file():
        raise damaged(path, f"it is missing, and {said_by} names it", remedy)
    if sha256_file(path) != wanted:
        raise damaged(path, f"it is not the file that {said_by} names (the checksum differs)", remedy)


def check_slide(path: Path, slide_id: object, remedy: str) -> None:
    """Refuses a file of a slide that says it is of another one; None = it does not say it, as in earlier versions.

    Raises:
        InputError: `E_MIXED`.
    """
    if slide_id is not None and not is_called_like(path, slide_id):
        raise InputError(
            f"{path} is of the slide {slide_id!r}, as it says itself: it was copied or renamed",
            remedy=f"call it {slide_id}{suffix_of(path)} again, or {remedy}",
            code=_MIXED,
        )


def damaged(path: Path, what: str, remedy: str) -> InputError:
    """The error of a file of ours that is not as we wrote it."""
    return InputError(f"{path} is damaged: {what}", remedy=remedy + dvc_checkout(path), code=_DAMAGED)


def dvc_checkout(path: Path) -> str:
    """How DVC brings a file back, to be added to a remedy; "" in a project that is not under DVC."""
    here = Path.cwd()
    under_dvc = any((folder / ".dvc").is_dir() for folder in (here, *here.parents))
    return f"; or bring it back: dvc checkout {path}" if under_dvc else ""


def _summed(facts: Record) -> JsonObject:
    """What the sum of facts is taken of."""
    return {name: value for name, value in facts.items() if name != SUM} | {SCHEMA: SUMMED}


def _sum_of(content: Record, covered: object) -> str:
    """As it reads back from the file: tuples are lists there, and all names are text."""
    read_back = as_stored(content)
    return digest(read_back if covered is None else [read_back, covered])
