"""Results that the store does not know, while DVC's cache holds them: those of a fresh clone after `dvc pull`."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from sammil_cli.storage.origin import read_record
from sammil_cli.storage.store import ResultStore, measure

_FOLDER = ".dir"  # DVC's ending of the check sum of a folder's listing


def adopt(
    store: ResultStore,
    lock: Path,
    out: Path,
    wanted: Mapping[str, str],
    key_of: Callable[[str, Mapping[str, Any]], str],
) -> None:
    """Enters results into the store whose files DVC's cache holds and which were made by the recipe asked for.

    Args:
        lock: the project's dvc.lock, which names what `out` held.
        out: a stage's folder, as dvc.yaml names it.
        wanted: slide id -> key, of results that the store does not know.
        key_of: slide id and recipe -> key.
    """
    by_slide: defaultdict[str, dict[str, Path]] = defaultdict(dict)
    for name, path in _listing(lock, out, store).items():
        by_slide[Path(name).stem][name] = path
    for slide_id, key in wanted.items():
        files = by_slide.get(slide_id, {})
        record = next((record for name in files if (record := read_record(files[name], Path(name).suffix))), None)
        if record is None or key_of(slide_id, record["recipe"]) != key:
            continue
        if not all(path.exists() for path in files.values()):
            continue
        facts = {name: measure(path) for name, path in files.items()}
        if all(store.in_dvc(facts[name]) == path for name, path in files.items()):  # each is what its name says
            store.enter(key, facts, notes=record.get("notes", ()), slide_id=slide_id, recipe=record["recipe"])


def _listing(lock: Path, out: Path, store: ResultStore) -> dict[str, Path]:
    """The files that a stage's folder held, by name, and where they lie in DVC's cache if they do."""
    try:
        stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"].values()
        outs = [entry for stage in stages for entry in stage.get("outs", ()) if Path(entry["path"]) == out]
        sums = [entry["md5"] for entry in outs if str(entry["md5"]).endswith(_FOLDER)]
        found = {}
        for md5 in sums:
            for file in json.loads((store.dvc_files / md5[:2] / md5[2:]).read_text(encoding="utf-8")):
                found[str(file["relpath"])] = store.dvc_files / file["md5"][:2] / file["md5"][2:]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return {}  # no lock, or one of another form: then everything is computed
    return found
