"""A bundle: trained models in one file, written from their folders and unpacked where they can be read."""

import atexit
import functools
import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from platformdirs import user_cache_path

from sammil_cli.bundles.archive import (
    AGAIN,
    FACTS_MEMBER,
    MODEL_FILES,
    MODEL_NAME,
    member_name,
    read_archive,
    write_archive,
)
from sammil_cli.bundles.ensemble import folders_in
from sammil_cli.bundles.facts import BundleFacts, parse_facts
from sammil_cli.errors import InputError
from sammil_cli.storage.files import atomic_path, digest
from sammil_cli.storage.paths import ModelPath
from sammil_cli.storage.summed import damaged
from sammil_cli.training.model_facts import ModelFacts, read_facts
from sammil_cli.training.thresholds import mean_threshold

_CLOSE = 1e-9  # relative; logarithms differ by less between processors


def write_bundle(path: Path, facts: BundleFacts, folders: Mapping[str, ModelPath]) -> None:
    """Writes a bundle atomically; the same models and facts give the same bytes.

    Args:
        folders: of the trained models, by the names of `facts.members`.

    Raises:
        InputError: a model's name that no member of the archive can have.
    """
    for name in folders:
        if not MODEL_NAME.fullmatch(name):
            raise InputError(
                f"the model {name!r} cannot have its name in a bundle",
                remedy="rename its folder: letters and digits of ASCII, _, - and ., at most 100",
            )
    members = {
        member_name(name, file): (folder / file).read_bytes()
        for name, folder in folders.items()
        for file in MODEL_FILES
    }
    write_archive(path, facts.model_dump(by_alias=True), members)


def read_bundle(path: Path) -> tuple[BundleFacts, Path]:
    """The facts of a bundle, and a folder with a folder for each of its models; all of it is verified.

    The models lie below the user's cache folder, where the next call finds them, or, if that cannot be written, in a
    folder that is gone when the process ends.

    Raises:
        InputError: there is no such file; `E_DAMAGED`, it is no bundle, or not as it was written.
    """
    content, contents = read_archive(path)
    facts = parse_facts(path, content)
    names = [member.name for member in facts.members]
    if not names or len(set(names)) < len(names):
        raise damaged(path, f"{FACTS_MEMBER} names no model, or one twice", AGAIN)
    wanted = {member_name(name, file) for name in names for file in MODEL_FILES}
    if wanted != contents.keys():
        odd = min(wanted ^ contents.keys())
        raise damaged(path, f"its members and its files are not the same models: {odd}", AGAIN)
    folder = _place(digest({name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}))
    for name, data in contents.items():
        target = folder / name
        if not target.is_file() or target.read_bytes() != data:
            with atomic_path(target) as temporary:
                temporary.write_bytes(data)
    models = folder / "models"
    folders = folders_in(models)
    if [one.name for one in folders] != sorted(names):
        raise damaged(path, f"the folder that it was unpacked into, {models}, holds other models", f"delete {folder}")
    _check_agrees(path, facts, [read_facts(one) for one in folders])
    return facts, models


def _check_agrees(path: Path, facts: BundleFacts, models: Sequence[ModelFacts]) -> None:
    """Refuses a bundle that says of its models what they do not say themselves.

    Raises:
        InputError: `E_DAMAGED`, of other classes, thresholds or temperatures.
    """
    first, decided = models[0], facts.decision.threshold
    numbers = [(decided, mean_threshold([model.calibrated_threshold for model in models]))]
    for entry, model in zip(sorted(facts.members, key=lambda one: one.name), models, strict=True):
        numbers += [(entry.threshold, model.calibrated_threshold), (entry.temperature, model.temperature)]
    same = (tuple(facts.classes), facts.positive_class) == (first.classes, first.positive_class)
    if not same or not all(_same(one, other) for one, other in numbers):
        raise damaged(path, f"{FACTS_MEMBER} has other classes or thresholds than its models", AGAIN)


def _same(one: float | None, other: float | None) -> bool:
    return one == other or (one is not None and other is not None and math.isclose(one, other, rel_tol=_CLOSE))


def _place(name: str) -> Path:
    """A folder that can be written, of this name."""
    folder = user_cache_path("sammil") / "bundles" / name
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return folder
    return _passing(name)


@functools.cache
def _passing(name: str) -> Path:
    """A folder that is gone when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix=f"sammil-{name[:8]}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
