"""What is converted of an older run: a task for each slide, and the conversion of one."""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from sammil_cli import choices
from sammil_cli.config import ExtractSettings
from sammil_cli.errors import InputError
from sammil_cli.features.bag import write_bag
from sammil_cli.legacy.bags import convert_slide, from_patch_list
from sammil_cli.legacy.grids import convert_grid
from sammil_cli.legacy.inventory import Kind
from sammil_cli.legacy.layout import Layout, Source, find_layout
from sammil_cli.legacy.patch_lists import PatchList, read_patch_lists
from sammil_cli.patches.file import write_patches
from sammil_cli.slides.files import find_slides, identify
from sammil_cli.slides.table import read_mpp_overrides
from sammil_cli.stages.executor import Limits
from sammil_cli.stages.legacy_slides import Build, check, check_bag, known_mpp, open_or_none
from sammil_cli.stages.per_slide import Plan, Task
from sammil_cli.stages.project import Project
from sammil_cli.storage.code import code_version
from sammil_cli.storage.files import sha256_file, write_text

CODE = (
    "storage",
    "slides",
    "patches",
    "regions",
    "features",
    "legacy",
    "stages/legacy_plan.py",
    "stages/legacy_slides.py",
)

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the user asks for; None = found by itself.

    `with_segments`, `with_coords`: whether they are needed. `grids`: coordinates only. `patch_px_level0`: patch side
    where the files do not say. `min_share`: see the setting membership_min_share. `encoder`: its name.
    `slides`: folder of the slides, None = no check against them. `check_patches`: how many are re-read of each slide.
    `check_features`: how many are encoded anew, by the encoder that `build` makes. `labels`, `splits`, `classes`: see
    `legacy_tables.read_tables`. `limits`: what one slide may take.
    """

    features: Path | None = None
    segments: Path | None = None
    coords: Path | None = None
    process_list: Path | None = None
    with_segments: bool = True
    with_coords: bool = True
    grids: bool = False
    patch_px_level0: int | None = None
    min_share: float = 0.0
    encoder: str | None = None
    slides: Path | None = None
    slides_table: Path = Path("data/slides.csv")
    check_patches: int = 8
    check_features: int = 0
    build: Build | None = None
    labels: Path | None = None
    splits: Path | None = None
    classes: str | None = None
    limits: Limits = field(default_factory=Limits)

    @property
    def checks(self) -> tuple[int, int, Build | None]:
        """How a bag is held against its slide, see `legacy_slides.check`."""
        return self.check_patches, self.check_features, self.build


def encoder_of(settings: ExtractSettings, name: str | None) -> Build:
    """The encoder to check features with: the one that is named, if it is one of ours, else that of the settings."""
    chosen = name if name in choices.names(choices.ENCODERS) else settings.encoder
    arguments = {
        "weights": Path(settings.encoder_weights) if settings.encoder_weights else None,
        "device": "cpu",
        "backbone": settings.encoder_backbone,
        "input_px": settings.encoder_input_px,
    }
    return chosen, tuple(arguments.items())


def slides_of(project: Project) -> Path | None:
    """The project's slide folder to check against, where it holds anything."""
    return project.slides if project.slides.is_dir() and any(project.slides.iterdir()) else None


def plan_layout(source: Path, wish: Wish, project: Project, out: Path | None) -> tuple[Plan, list[str]]:
    """A task for each slide of a run's folder, or of one of its files, and lines that say what was found.

    Raises:
        InputError: see `legacy.layout.find_layout`; or a table or slide folder that cannot be read.
    """
    layout = find_layout(
        source,
        wish.features,
        wish.segments,
        wish.coords,
        wish.process_list,
        require_segments=wish.with_segments,
        require_coords=wish.with_coords,
        grids=wish.grids,
    )
    grids = layout.features is None
    mpp = read_mpp_overrides(wish.slides_table)
    slides = _slides(wish.slides)
    settings = {
        "grids": grids,
        "patch_px_level0": wish.patch_px_level0,
        "min_share": wish.min_share,
        "with_coords": wish.with_coords,
        "encoder": wish.encoder,
        "check": (wish.check_patches, wish.check_features, str(wish.build)),
    }
    tasks = [
        Task(
            slide_id=one.slide_id,
            recipe={
                "files": {path.name: sha256_file(path) for path in _files(one) if path.is_file()},
                "kinds": [path.parent.name for path in _files(one)],
                "encoder": one.encoder,
                "slide": identify(slides[one.slide_id]) if one.slide_id in slides else None,
                "mpp": mpp.get(one.slide_id),
                "tissue": layout.settings.get(one.slide_id),
                "settings": settings,
                "code": code_version(*CODE),
            },
            arguments=(
                one,
                grids,
                slides.get(one.slide_id),
                mpp.get(one.slide_id),
                layout.settings.get(one.slide_id, ""),
                wish,
            ),
        )
        for one in layout.sources
    ]
    folder = out or (project.patches if grids else project.bags)
    listing = project.process_lists / "convert-legacy.csv"
    plan = Plan(step="convert-legacy", tasks=tasks, work=work, out=folder, process_list=listing)
    return plan, _found_lines(layout, grids, len(slides.keys() & {task.slide_id for task in tasks}))


def _files(source: Source) -> list[Path]:
    given = (source.features, source.coords, source.segments, source.sam_info, source.seg_file)
    return [path for path in given if path is not None]


def _slides(folder: Path | None) -> dict[str, Path]:
    return {} if folder is None else find_slides(folder).paths


def _found_lines(layout: Layout, grids: bool, slides: int) -> list[str]:
    what = "patch coordinates" if grids else "features"
    against = f", {slides} with their slide" if slides else ", no slides to check against"
    lines = [f"{layout.tool}: {what} of {len(layout.sources)} slides in {layout.features or layout.root}{against}"]
    lines += layout.notes
    gone = list(layout.left_out.items())
    lines += [f"left out: {slide}: {reason}" for slide, reason in gone[:_SHOWN]]
    if len(gone) > _SHOWN:
        lines.append(f"left out: … and {len(gone) - _SHOWN} more")
    passed = [
        f"{len(layout.inventory.of(kind))} {kind.value}"
        for kind in (Kind.ATTENTION, Kind.SLIDE_FEATURES, Kind.TISSUE, Kind.CONTOURS, Kind.WEIGHTS, Kind.DAMAGED)
        if layout.inventory.of(kind)
    ]
    return [*lines, f"not converted: {', '.join(passed)}"] if passed else lines


def plan_lists(path: Path, wish: Wish, project: Project, out: Path | None) -> tuple[Plan, list[str]]:
    """As `plan_layout`, of a DTFD-style pickle.

    Raises:
        InputError: the pickle is refused, or its patches have no places and `wish` needs them.
    """
    slides = read_patch_lists(path)
    placed = sum(one.xy is not None for one in slides.values())
    if placed < len(slides) and wish.with_coords:
        raise InputError(
            f"{path}: the patches of {len(slides) - placed} of {len(slides)} slides have no places in their names "
            "(…_<x>_<y>_<column>_<row>_WW_…_HH_….png)",
            remedy="convert them without coordinates, which costs their heatmaps: --no-coords",
        )
    mpp = read_mpp_overrides(wish.slides_table)
    files = _slides(wish.slides)
    shared = {
        "file": sha256_file(path),
        "settings": [wish.with_coords, wish.patch_px_level0, wish.encoder, wish.check_patches],
        "code": code_version(*CODE),
    }
    tasks = [
        Task(
            slide_id=slide,
            recipe={
                "mpp": mpp.get(slide),
                "slide": identify(files[slide]) if slide in files else None,
                "id": slide,
                **shared,
            },
            arguments=(path, slide, files.get(slide), mpp.get(slide), wish),
        )
        for slide in slides
    ]
    listing = project.process_lists / "convert-legacy.csv"
    plan = Plan(step="convert-legacy", tasks=tasks, work=work_patch_list, out=out or project.bags, process_list=listing)
    return plan, [f"DTFD-style pickle: features of {len(slides)} slides, {placed} with places in their patches' names"]


def work(
    folder: Path,
    record: dict[str, Any],
    source: Source,
    grids: bool,
    slide_path: Path | None,
    mpp: float | None,
    tissue: str,
    wish: Wish,
) -> list[str]:
    """Converts one slide into `folder`, after holding it against the slide where that is there."""
    slide, notes = open_or_none(slide_path, mpp)
    known = known_mpp(slide, mpp)
    try:
        if grids:
            grid, said = convert_grid(
                source,
                slide_mpp=known,
                slide_size_px=None if slide is None else slide.size_px,
                bounds_px=None if slide is None else slide.bounds_px,
                patch_px_level0=wish.patch_px_level0,
            )
            notes += said
            if slide is not None:
                level0_px, side = grid.patch_px_level0, grid.patch_px
                notes += check(slide, grid.xy, level0_px, side, source.coords, None, wish.check_patches, 0, None)
            notes += [f"tissue was found with {tissue}"] if tissue else []
            write_patches(folder / f"{source.slide_id}.h5", grid, {**record, "notes": notes})
        else:
            converted = convert_slide(
                source,
                slide_mpp=known,
                patch_px_level0=wish.patch_px_level0,
                min_share=wish.min_share,
                with_coords=wish.with_coords,
                encoder=wish.encoder,
            )
            notes += converted.notes
            notes += [f"tissue was found with {tissue}"] if tissue else []
            notes += check_bag(slide, converted.bag, source.coords, *wish.checks)
            write_bag(folder / f"{source.slide_id}.h5", converted.bag, {**record, "notes": notes})
    finally:
        if slide is not None:
            slide.close()
    write_text(folder / f"{source.slide_id}.txt", "".join(f"{note}\n" for note in notes))
    return notes


def work_patch_list(
    folder: Path,
    record: dict[str, Any],
    path: Path,
    slide_id: str,
    slide_path: Path | None,
    mpp: float | None,
    wish: Wish,
) -> list[str]:
    """Converts one slide of a DTFD-style pickle into `folder`."""
    slide, notes = open_or_none(slide_path, mpp)
    known = known_mpp(slide, mpp)
    converted = from_patch_list(
        slide_id, _lists(path)[slide_id], known, wish.patch_px_level0, wish.encoder, wish.with_coords
    )
    notes += converted.notes
    try:
        notes += check_bag(slide, converted.bag, None, *wish.checks)
    finally:
        if slide is not None:
            slide.close()
    write_bag(folder / f"{slide_id}.h5", converted.bag, {**record, "notes": notes})
    write_text(folder / f"{slide_id}.txt", "".join(f"{note}\n" for note in notes))
    return notes


@lru_cache(maxsize=1)
def _lists(path: Path) -> dict[str, PatchList]:
    """The slides of a pickle, read once per worker process."""
    return read_patch_lists(path)
