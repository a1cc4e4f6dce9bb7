"""sammil export --to clam|sam-mil|trident: our bags, grids and tables in the files of older tools."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sammil_cli import console
from sammil_cli.choices import one_of
from sammil_cli.cohort.cohort import Cohort, read_labels
from sammil_cli.config import Settings, load_settings
from sammil_cli.errors import InputError, SlideError
from sammil_cli.exchange.class_numbers import write_class_names
from sammil_cli.features.bag import FeatureBag, read_bag
from sammil_cli.legacy import writers
from sammil_cli.legacy.writers import Places
from sammil_cli.patches.file import read_patches
from sammil_cli.project.project import Project
from sammil_cli.slides.files import find_slides
from sammil_cli.storage.files import check_name, write_csv
from sammil_cli.storage.paths import BagPath, PatchesPath, SlidePath
from sammil_cli.training.manifest import read_trained_folds

_TRIDENT_PATCHES = "_patches.h5"


@dataclass(frozen=True)
class _Slide:
    bag: FeatureBag | None
    places: Places


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """How one tool's files are written, and what they have no place for.

    `bags_only`: whether its label table may name no slide without a bag, for its loader opens every one. `suffix`: the
    longest that follows a slide's id in a file's name.
    """

    write_slide: Callable[[Path, _Slide], None]
    write_labels: Callable[[Path, Cohort], None]
    not_carried: str
    bags_only: bool = False
    suffix: str = ".h5"


def run(source: Path, layout: str, out: Path) -> int:
    """Writes the files of a project, or of a folder of bags; all of them or none.

    Returns:
        How many slides were written.

    Raises:
        InputError: another layout, nothing to export, a slide that the layout cannot hold, or `out` is not empty.
    """
    if layout not in LAYOUTS:
        raise InputError(f"--to {layout!r} is unknown", remedy=one_of(layout, LAYOUTS))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not empty", remedy="give a new folder with --out")
    project = _project(source)
    slide_ids = sorted({path.stem for folder in (project.bags, project.patches) for path in folder.glob("*.h5")})
    if not slide_ids:
        raise InputError(
            f"there are no bags and no patch grids in {source}", remedy="give a project's folder or its artifacts/bags"
        )
    for slide_id in slide_ids:
        try:
            check_name(slide_id, out, LAYOUTS[layout].suffix)
        except SlideError as error:
            raise InputError(f"slide {slide_id!r}: {error.message}", remedy=error.remedy) from None
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        bags: set[str] = set()
        with console.progress(len(slide_ids), "export") as bar:
            for slide_id in slide_ids:
                slide = _read(project, slide_id)
                LAYOUTS[layout].write_slide(partial, slide)
                bags |= {slide_id} if slide.bag is not None else set()
                bar.advance(slide_id)
        doubts = _write_tables(project, LAYOUTS[layout], partial, slide_ids, bags)
        if out.exists():
            out.rmdir()
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    told = [f"{len(slide_ids)} slides in the layout of {layout} → {out}", *doubts]
    console.say(*told, f"not in these files: {LAYOUTS[layout].not_carried}")
    return len(slide_ids)


def _project(source: Path) -> Project:
    """The paths of a project folder; a folder of bags alone has nothing else."""
    if not source.is_dir():
        raise InputError(f"{source} is no folder", remedy="give a project's folder or its artifacts/bags")
    project = Project.at(source)
    if project.bags.is_dir() or project.patches.is_dir():
        return project
    return replace(project, bags=source)


def _read(project: Project, slide_id: str) -> _Slide:
    path = BagPath(project.bags / f"{slide_id}.h5")
    grid_path = PatchesPath(project.patches / f"{slide_id}.h5")
    bag = read_bag(path) if path.exists() else None
    if bag is not None and ((bag.xy < 0).any() or bag.encoder.patch_px_level0 < 1):
        raise InputError(
            f"{path} has no coordinates, which every one of these layouts needs", remedy="extract it again"
        )
    if grid_path.exists():
        grid = read_patches(grid_path)
        step = grid.step_px_level0 or grid.patch_px_level0
        places = Places(
            slide_id=slide_id,
            xy=grid.xy,
            patch_px=grid.patch_px,
            patch_px_level0=grid.patch_px_level0,
            slide_mpp=grid.slide_mpp,
            slide_size_px=grid.slide_size_px,
            overlap_px=round((grid.patch_px_level0 - step) * grid.patch_px / grid.patch_px_level0),
        )
        if bag is None or np.array_equal(bag.xy, grid.xy):
            return _Slide(bag, places)
    if bag is None:
        raise InputError(f"{slide_id} has neither a bag nor a grid", remedy="check the folder")
    facts = bag.encoder
    return _Slide(
        bag,
        Places(
            slide_id=slide_id,
            xy=bag.xy,
            patch_px=facts.patch_px,
            patch_px_level0=facts.patch_px_level0,
            slide_mpp=facts.patch_mpp * facts.patch_px / facts.patch_px_level0,
            slide_size_px=None,
            overlap_px=0,
        ),
    )


def _clam(out: Path, slide: _Slide, *, groups: bool = False) -> None:
    name = f"{slide.places.slide_id}.h5"
    writers.write_clam_patches(out / "patches" / name, slide.places)
    if slide.bag is not None:
        writers.write_features(out / "h5_files" / name, slide.bag, groups=groups)


def _sam_mil(out: Path, slide: _Slide) -> None:
    _clam(out, slide, groups=True)
    if slide.bag is not None:
        writers.write_tensor(out / "pt" / f"{slide.places.slide_id}.pt", slide.bag)
        writers.write_sam_info(out / "sam" / f"{slide.places.slide_id}.h5", slide.bag)


def _trident(out: Path, slide: _Slide) -> None:
    folder, places = out / slide.places.trident_folder, slide.places
    others = [path for path in out.glob("*_overlap") if path != folder] if out.exists() else []
    if others:
        raise InputError(
            f"{places.slide_id} has patches of {folder.name}, slides before it of {others[0].name}",
            remedy="patch all slides with one patch_px and patch_mpp, or export --to clam",
        )
    writers.write_trident_patches(folder / "patches" / f"{places.slide_id}{_TRIDENT_PATCHES}", places)
    if slide.bag is not None:
        encoder = slide.bag.encoder.name.replace(":", "_").replace("/", "_")
        writers.write_trident_features(folder / f"features_{encoder}" / f"{places.slide_id}.h5", slide.bag, places)


def _write_tables(project: Project, layout: _Layout, out: Path, slide_ids: list[str], bags: set[str]) -> list[str]:
    """The process list, and labels and splits where the project has them; returns what is to be known of them."""
    doubts = []
    suffix = {slide: path.suffix for slide, path in _slides(project.slides).items()}
    rows = [(slide + suffix.get(slide, ""), 0, "processed") for slide in slide_ids]
    write_csv(out / "process_list_autogen.csv", ("slide_id", "process", "status"), rows, for_spreadsheets=False)
    if project.labels.exists():
        params = project.labels.parent.parent / "params.yaml"
        settings = load_settings(params) if params.exists() else Settings()
        cohort = read_labels(project.labels, settings.classes, set(slide_ids), positive_class=settings.positive_class)
        if layout.bags_only:
            labelled = {member.slide_id for member in cohort.members}
            if left := len(labelled - bags) + len(bags - labelled):
                doubts.append(f"{left} slides have a label or a bag, but not both: label.csv leaves them out")
            cohort = cohort.only(bags)
        layout.write_labels(out, cohort)
    elif layout.bags_only:
        doubts.append(f"no label.csv, which the loader wants: {project.labels} is not there")
    if project.splits.exists():
        for number, fold in enumerate(read_trained_folds(project.models, project.splits)[0]):
            parts = (fold.train, fold.val, fold.test)
            columns = [(*part, *[""] * (max(map(len, parts)) - len(part))) for part in parts]
            lines = [(row, *cells) for row, cells in enumerate(zip(*columns, strict=True))]
            write_csv(
                out / "splits" / f"splits_{number}.csv", ("", "train", "val", "test"), lines, for_spreadsheets=False
            )
    return doubts


def _slides(folder: Path) -> dict[str, SlidePath]:
    return find_slides(folder).paths if folder.is_dir() and any(folder.iterdir()) else {}


def _clam_labels(out: Path, cohort: Cohort) -> None:
    rows = [(member.patient_id, member.slide_id, cohort.classes[member.label]) for member in cohort.members]
    write_csv(out / "labels.csv", ("case_id", "slide_id", "label"), rows, for_spreadsheets=False)


def _numbered_labels(out: Path, cohort: Cohort) -> None:
    """As SAM-MIL's loader of CAMELYON16 reads it: no header, slides in place of patients, numbers for classes."""
    rows = [(member.slide_id, str(member.label)) for member in cohort.members]
    write_csv(out / "label.csv", rows[0] if rows else (), rows[1:], for_spreadsheets=False)
    write_class_names(out, cohort)


LAYOUTS = {
    "clam": _Layout(
        write_slide=_clam,
        write_labels=_clam_labels,
        not_carried="regions, group features, the resolution, the encoder; no pt files (they are pickles)",
    ),
    "sam-mil": _Layout(
        write_slide=_sam_mil,
        write_labels=_numbered_labels,
        not_carried="masks (segments/*.pkl is a pickle; regions are in sam/), the resolution, the encoder, patients",
        bags_only=True,
    ),
    "trident": _Layout(
        write_slide=_trident,
        write_labels=_clam_labels,
        not_carried="regions, group features, the encoder's weights",
        suffix=_TRIDENT_PATCHES,
    ),
}
