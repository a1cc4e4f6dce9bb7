"""sammil check --contents: is every file that sammil wrote still as it was written, and of the slide in its name?

Each file is read as the stage that needs it would read it, in a process of its own with limits: a file that crashes or
hangs a library costs a line, not the check.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from sammil_cli import console
from sammil_cli.errors import InputError, SlideError
from sammil_cli.features.bag_check import read_checked
from sammil_cli.patches.file import read_patches
from sammil_cli.preflight.shared_content import pairs_in, sentence
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.project.result_sums import read_result_sums, sums_of
from sammil_cli.project.run_record import read_record
from sammil_cli.regions.file import read_regions
from sammil_cli.runner.executor import Call, Limits, open_executor
from sammil_cli.runner.machine import choose_workers
from sammil_cli.storage.geojson import verify_own_geojson
from sammil_cli.storage.hdf5 import read_hdf5
from sammil_cli.storage.paths import (
    PACKED_GEOJSON,
    ArtefactsPath,
    BagPath,
    ModelPath,
    PatchesPath,
    RegionsPath,
    TissuePath,
    suffix_of,
)
from sammil_cli.storage.summed import (
    check_sha256,
    check_slide,
    damaged,
    dvc_checkout,
    has_sum,
    read_of_slide,
    read_summed,
)
from sammil_cli.tissue.artefact_maps import read_artefacts
from sammil_cli.tissue.mask import read_tissue
from sammil_cli.training.bag_content import Pair
from sammil_cli.training.fold import read_folds
from sammil_cli.training.manifest import MANIFEST_FILE, check_fold, read_manifest
from sammil_cli.training.model_facts import EPOCHS_FILE, FACTS_FILE, WEIGHTS_FILE, named_files, read_facts
from sammil_cli.training.trained_model import read_epochs, read_model

T = TypeVar("T")
_LIMITS = Limits(seconds=600, memory_bytes=16 << 30)  # of one file
_OF_PROCESS = ("E_TIMEOUT", "E_MEMORY", "E_CRASH", "E_BUG")  # reading ended its process: nothing is known of the file


@dataclass(frozen=True, kw_only=True)
class BadFile:
    """A file that is not as it was written, or of another slide."""

    file: str
    code: str
    message: str
    fix: str


@dataclass(frozen=True, kw_only=True)
class ContentsReport:
    """What was found. `without_sum`: files of earlier versions without a checksum, of which only reading was tried.

    `alike`: slides of the same content under two names, by their bags.
    """

    checked: int
    without_sum: int
    bad: tuple[BadFile, ...]
    alike: tuple[Pair, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _File:
    """A file, its kind (a key of `_READERS`), and the command that makes it again."""

    path: Path
    kind: str
    again: str


def run(project: Project) -> ContentsReport:
    """Reads every file that sammil wrote into the project and reads again."""
    files = {str(file.path): file for file in _files(project)}
    bad, without = [], 0
    workers = min(choose_workers(None, "cpu"), max(1, len(files)))
    calls = (Call.to(name, read_file, file.kind, file.path, project) for name, file in files.items())
    with console.progress(len(files), "check") as bar, open_executor(RunOptions(workers=workers), _LIMITS) as executor:
        for answer in executor.answers(calls):
            if answer.error is not None:
                bad.append(_bad(files[answer.slide_id], answer.error))
            else:
                without += not answer.value
            bar.advance(answer.slide_id)
    alike = pairs_in(project.bags, {one.file for one in bad})
    bad.sort(key=lambda one: one.file)
    return ContentsReport(checked=len(files), without_sum=without, bad=tuple(bad), alike=tuple(alike))


def read_file(kind: str, path: Path, project: Project) -> bool:
    """Reads one file; returns whether it carries a sum, or another file names it with its sum.

    Raises:
        InputError, SlideError: it is not as it was written.
    """
    return _READERS[kind](path, project)


def _files(project: Project) -> Iterator[_File]:
    yield from _of_slides(project.tissue, "segment", {".geojson": "tissue", ".h5": "artefacts"})
    yield from _of_slides(project.patches, "patch", {".h5": "patches"})
    regions = {".h5": "regions", ".geojson": "polygons", PACKED_GEOJSON: "polygons", ".json": "quality"}
    bags = {".h5": "bag", ".json": "quality"}
    yield from _of_slides(project.regions, "sam", regions)
    yield from _of_slides(project.bags, "extract", bags)
    yield from _of_slides(project.fields, "wsi-sam train", {".geojson": "fields"})
    yield from _of_slides(project.prompted, "wsi-sam prompt", {".geojson": "prompted", ".json": "quality"})
    runs = project.models.parent
    for folder in sorted(runs.glob("ablation/regions/*/")):
        yield from _of_slides(folder / "regions", "ablate", regions)
        yield from _of_slides(folder / "bags", "ablate", bags)
    for kind, name in (
        ("manifest", MANIFEST_FILE),
        ("facts", FACTS_FILE),
        ("weights", WEIGHTS_FILE),
        ("epochs", EPOCHS_FILE),
    ):
        for path in sorted(runs.rglob(name)):
            parts = path.relative_to(runs).parts
            if not any(part.startswith(".") for part in parts):
                stage = {"published": "convert-legacy", "ablation": "ablate"}.get(parts[0], "train")
                yield _File(path=path, kind=kind, again=f"sammil {stage}")
    single = [(splits, "splits", "train") for splits in sorted({project.splits, *runs.glob("ablation/**/splits.csv")})]
    single += [(project.record, "record", "train"), (sums_of(project), "sums", "evaluate")]
    judged = (project.metrics, project.predictions, project.patient_predictions)
    single += [(path, "result", "evaluate") for path in judged]
    single += [(project.wsi_sam / "record.json", "tokens", "wsi-sam train")]
    for path, kind, stage in single:
        if path.is_file():
            yield _File(path=path, kind=kind, again=f"sammil {stage}")


def _of_slides(folder: Path, stage: str, kinds: dict[str, str]) -> Iterator[_File]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if (suffix := suffix_of(path)) in kinds and not path.name.startswith("."):
            yield _File(path=path, kind=kinds[suffix], again=f"sammil {stage}")


def _hdf5(read: Callable[[Path], object], kind: str) -> Callable[[Path, Project], bool]:
    def reader(path: Path, _: Project) -> bool:
        read(path)
        return int(read_hdf5(path, kind, arrays=())[1]["schema"]) > 1

    return reader


def _tissue(path: Path, _: Project) -> bool:
    read_tissue(TissuePath(path))
    return has_sum(path)


def _geojson(stage: str) -> Callable[[Path, Project], bool]:
    def reader(path: Path, _: Project) -> bool:
        facts, is_summed = verify_own_geojson(path, f"run: sammil {stage}")
        check_slide(path, facts.get("slide_id"), f"run: sammil {stage}")
        return is_summed

    return reader


def _quality(path: Path, _: Project) -> bool:
    read_of_slide(path, "run the stage again")
    return has_sum(path)


def _manifest(path: Path, _: Project) -> bool:
    manifest = read_manifest(path.parent)
    for name in manifest.folds if manifest else ():
        if not (path.parent / name / FACTS_FILE).is_file():
            raise damaged(path, f"it names the fold {name}, which is missing", "run: sammil train")
    return True


def _facts(path: Path, _: Project) -> bool:
    models = path.parents[1]
    check_fold(models, path.parent.name, _sound(partial(read_manifest, models)))
    _check_there(named_files(ModelPath(path.parent)), path, "run: sammil train")
    return has_sum(path)


def _weights(path: Path, _: Project) -> bool:
    folder = ModelPath(path.parent)
    if _sound(partial(read_facts, folder)) is not None:
        read_model(folder, "cpu")
    return True


def _epochs(path: Path, _: Project) -> bool:
    folder = ModelPath(path.parent)
    if _sound(partial(read_facts, folder)) is not None:
        read_epochs(folder)
    return True


def _splits(path: Path, project: Project) -> bool:
    models = project.models if path == project.splits else path.parent / "models"
    manifest = _sound(partial(read_manifest, models))
    if manifest is not None:
        check_sha256(path, manifest.splits_sha256, models / MANIFEST_FILE, "run: sammil train")
    read_folds(path)
    return manifest is not None


def _record(path: Path, _: Project) -> bool:
    read_record(path)
    return has_sum(path)


def _tokens(path: Path, _: Project) -> bool:
    """The record of `wsi-sam train`, and the files beside it that it names."""
    remedy = "run: sammil wsi-sam train"
    files = read_summed(path, remedy).get("files", {})
    _check_there((path.parent / name for name in files), path, remedy)
    for name, sha256 in files.items():
        check_sha256(path.parent / name, sha256, path, remedy)
    return True


def _result(path: Path, project: Project) -> bool:
    sums = _sound(partial(read_result_sums, project)) or {}
    if path in sums:
        check_sha256(path, sums[path], sums_of(project), "run: sammil evaluate")
    return path in sums


def _sums(path: Path, project: Project) -> bool:
    _check_there(read_result_sums(project), path, "run: sammil evaluate")
    return True


def _check_there(files: Iterable[Path], said_by: Path, remedy: str) -> None:
    for file in files:
        if not file.is_file():
            raise damaged(file, f"it is missing, and {said_by} names it", remedy)


def _sound(read: Callable[[], T]) -> T | None:
    """What a file says, or None where it is damaged: that is a line of its own."""
    try:
        return read()
    except InputError:
        return None


_READERS: dict[str, Callable[[Path, Project], bool]] = {
    "tissue": _tissue,
    "artefacts": _hdf5(lambda path: read_artefacts(ArtefactsPath(path)), "artefacts"),
    "patches": _hdf5(lambda path: read_patches(PatchesPath(path)), "patches"),
    "regions": _hdf5(lambda path: read_regions(RegionsPath(path)), "regions"),
    "bag": _hdf5(lambda path: read_checked(BagPath(path)), "bag"),
    "polygons": _geojson("sam"),
    "fields": _geojson("wsi-sam train"),
    "prompted": _geojson("wsi-sam prompt"),
    "quality": _quality,
    "manifest": _manifest,
    "facts": _facts,
    "weights": _weights,
    "epochs": _epochs,
    "splits": _splits,
    "record": _record,
    "tokens": _tokens,
    "result": _result,
    "sums": _sums,
}


def _bad(file: _File, error: SlideError) -> BadFile:
    fix = f"delete it and run: {file.again}" if error.code in _OF_PROCESS else error.remedy
    fix += "" if "dvc checkout" in fix else dvc_checkout(file.path)
    message = error.message if str(file.path) in error.message else f"{file.path}: {error.message}"
    return BadFile(file=str(file.path), code=error.code, message=message, fix=fix)


def report(found: ContentsReport) -> None:
    """Prints a line for each file that is not right, and one that sums up."""
    for one in found.bad:
        console.say(f"{one.code}  {one.message}  (fix: {one.fix})")
    for pair in found.alike:
        console.say(f"{sentence(pair)} (fix: delete one of them, or give both one patient_id in the labels)")
    if found.without_sum:
        console.say(
            f"{found.without_sum} file(s) of an earlier version carry no checksum: that they can be read is all we know"
        )
    console.say(f"contents: {found.checked} file(s) checked, {len(found.bad) or 'none'} damaged or mixed up")


def as_record(found: ContentsReport) -> dict[str, object]:
    """The report for programs."""
    return {
        "checked": found.checked,
        "without_sum": found.without_sum,
        "errors": len(found.bad),
        "findings": [asdict(one) for one in found.bad],
        "alike": [asdict(pair) for pair in found.alike],
    }


def exit_code(found: ContentsReport) -> int:
    """2 where a file is not right, else 0."""
    return 2 if found.bad else 0
