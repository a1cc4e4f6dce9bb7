"""Results that the store does not know, while DVC's cache holds them: those of a fresh clone after `dvc pull`."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from sammil_cli.errors import InputError
from sammil_cli.storage.files import Key
from sammil_cli.storage.guarded_json import read_json
from sammil_cli.storage.guarded_yaml import read_yaml
from sammil_cli.storage.origin import read_record
from sammil_cli.storage.paths import slide_of, suffix_of
from sammil_cli.storage.store import Result, ResultStore, measure

_FOLDER = ".dir"  # DVC's ending of the check sum of a folder's listing


def adopt(
    store: ResultStore, lock: Path, out: Path, wanted: Mapping[str, str], name_by: Callable[[str, Key], str]
) -> None:
    """Enters results into the store whose files DVC's cache holds and which were made with the key asked for.

    Args:
        lock: the project's dvc.lock, which names what `out` held.
        out: a stage's folder, as dvc.yaml names it.
        wanted: slide id -> name in the store, of results that it does not know.
        name_by: slide id and key -> name in the store.
    """
    by_slide: defaultdict[str, dict[str, Path]] = defaultdict(dict)
    for name, path in _listing(lock, out, store).items() if wanted else ():
        by_slide[slide_of(Path(name))][name] = path
    for slide_id, name in wanted.items():
        files = by_slide.get(slide_id, {})
        record = next((record for file in files if (record := read_record(files[file], suffix_of(Path(file))))), None)
        if record is None or name_by(slide_id, record["key"]) != name:
            continue
        if not all(path.is_file() for path in files.values()):
            continue
        facts = {file: measure(path) for file, path in files.items()}
        if all(store.in_dvc(facts[file]) == path for file, path in files.items()):  # each is what its name says
            known = {field: record.get(field, {}) for field in ("key", "libraries")}
            store.enter(name, Result(files=facts, remarks=tuple(record.get("remarks", ())), slide_id=slide_id, **known))


def _listing(lock: Path, out: Path, store: ResultStore) -> dict[str, Path]:
    """The files that a stage's folder held, by name, and where they lie in DVC's cache if they do."""
    try:
        stages = read_yaml(lock)["stages"].values()
        outs = [entry for stage in stages for entry in stage.get("outs", ()) if Path(entry["path"]) == out]
        sums = [entry["md5"] for entry in outs if str(entry["md5"]).endswith(_FOLDER)]
        found = {}
        for md5 in sums:
            for file in read_json(store.dvc_files / md5[:2] / md5[2:]):
                if (name := str(file["relpath"])) == Path(name).name:  # a stage's folder is flat; `../x` would leave it
                    found[name] = store.dvc_files / file["md5"][:2] / file["md5"][2:]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InputError):
        return {}  # no lock, or one of another form: then everything is computed
    return found
