"""What is written reads back as it was, and is written with the same bytes again: any value, for every format of ours.

`SAMMIL_HYPOTHESIS=long` draws many more of them.
"""

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import good_files as good
import numpy as np
import pytest
import shapely
import torch
import yaml
from file_kinds import content
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sammil_cli.cohort.cohort import Cohort, Member, Patient, read_labels
from sammil_cli.config import load_settings
from sammil_cli.features.bag import EncoderFacts, FeatureBag, mean_group_features, read_bag, write_bag
from sammil_cli.legacy.rows import read_features
from sammil_cli.legacy.sam_info import OWN_ARRAYS, read_sam_info
from sammil_cli.legacy.writers import write_features, write_sam_info, write_tensor
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.patches.file import read_patches, write_patches
from sammil_cli.patches.patch_grid import SCORES, PatchGrid
from sammil_cli.project.process_list import HEADER, Row, write_rows
from sammil_cli.regions.file import read_regions, write_regions
from sammil_cli.regions.members import smallest_region
from sammil_cli.regions.membership import Membership
from sammil_cli.regions.region_map import Canvas, Proposal, build
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.slides.table import SlideEntry, read_slides_table
from sammil_cli.storage.files import read_csv, write_csv
from sammil_cli.storage.summed import read_of_slide, write_of_slide
from sammil_cli.tissue.artefact_maps import NAMES, ArtefactMaps, read_artefacts, write_artefacts
from sammil_cli.tissue.mask import TissueMask, read_tissue, write_tissue
from sammil_cli.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from sammil_cli.training.fold import Fold, labels_of_folds, read_folds, write_folds
from sammil_cli.training.learning_curves import CurveFile, read_curve
from sammil_cli.training.model_facts import ModelFacts, TrainedOn
from sammil_cli.training.trained_model import build_model, read_model, write_model

ODD = "aZ09 ._-+=@'\"#%&,;:()[]{}$!~äßéµ世界\u202e\u200b🙂\t"
# As names of files: not blank at the ends, where tables strip, and none of a folder's own.
names = st.text(ODD, min_size=1, max_size=30).map(str.strip).filter(lambda name: name.strip("."))
texts = st.text(ODD + "\n", max_size=40).map(str.strip)
sizes = st.integers(1, 1 << 17)
scales = st.floats(0.05, 100)
seeds = st.integers(0, 1 << 32).map(np.random.default_rng)
keys = st.dictionaries(st.sampled_from(("slide", "settings", "weights")), st.one_of(texts, st.integers(), st.none()))
json_numbers = st.one_of(st.none(), st.integers(-(1 << 53), 1 << 53), st.floats(allow_nan=False, allow_infinity=False))
# Few in `ci`; a folder for each example costs more than drawing it.
LIMITED = settings(
    max_examples=settings().max_examples if settings().max_examples > 100 else 20,
    suppress_health_check=[HealthCheck.too_slow],
)


@dataclass(frozen=True)
class Format:
    """Values of a format, how they are written and read, and the name of the file of a slide."""

    name: str
    values: st.SearchStrategy[Any]
    write: Callable[[Path, Any], None]
    read: Callable[[Path], Any]
    file: Callable[[Any], str] = lambda value: f"{value.slide_id}.h5"


def made(stage: str) -> Any:
    return good.MADE(stage)


# ------------------------------------------------------------------------------------------------------ values


@st.composite
def tissues(draw: st.DrawFn) -> TissueMask:
    """Boxes in a row, some with a hole, in eighths of pixels: none touches another."""
    left, top = draw(st.integers(0, 5000)), draw(st.integers(0, 5000))
    rng, count = draw(seeds), draw(st.integers(1, 5))
    boxes = []
    for place in range(count):
        x0, y0, side = left + place * 300 + rng.integers(0, 800) / 8, top + rng.integers(0, 800) / 8, 100.0
        box = shapely.box(x0, y0, x0 + side, y0 + side)
        boxes.append(box - shapely.box(x0 + 10, y0 + 10, x0 + 20.125, y0 + 30) if rng.random() < 0.5 else box)
    width, height = left + 300 * count + 200, top + 400
    return TissueMask(
        slide_id=draw(names),
        polygons=shapely.MultiPolygon(boxes),
        slide_mpp=draw(scales),
        slide_size_px=(width, height),
        bounds_px=(left, top, width - left, height - top),
        scene=draw(st.one_of(st.none(), st.integers(1, 9))),
    )


def shape_of(mask: TissueMask) -> object:
    return content(replace(mask, polygons=shapely.normalize(mask.polygons)))


@st.composite
def grids(draw: st.DrawFn) -> PatchGrid:
    rng, side = draw(seeds), draw(st.sampled_from((16, 64, 256)))
    across, down = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    y, x = np.nonzero(rng.random((down, across)) < draw(st.sampled_from((0.0, 0.3, 1.0))))
    left, top = draw(st.integers(0, 999)), draw(st.integers(0, 999))
    scored = draw(st.sampled_from(((), SCORES, SCORES[:2])))
    return PatchGrid(
        slide_id=draw(names),
        xy=np.stack([x * side + left, y * side + top], 1).astype(np.int32),
        patch_px=draw(st.integers(1, 1024)),
        patch_mpp=draw(scales),
        patch_px_level0=side,
        step_px_level0=draw(st.sampled_from((None, side))),
        slide_mpp=draw(scales),
        slide_size_px=(left + across * side, top + down * side),
        bounds_px=(left, top, across * side, down * side),
        scene=draw(st.one_of(st.none(), st.integers(1, 9))),
        scores={name: rng.random(len(x)).astype(np.float16) for name in scored},
        waterfall=draw(st.dictionaries(st.sampled_from(("grid", "tissue", "kept")), st.integers(0, 1 << 40))),
        uncovered=draw(st.floats(0, 1)),
    )


@st.composite
def region_maps(draw: st.DrawFn) -> Any:
    rng, count = draw(seeds), draw(st.integers(0, 6))
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    canvas = Canvas(
        origin_px=(draw(st.integers(0, 9999)), draw(st.integers(0, 9999))),
        downsample=float(2 ** draw(st.integers(0, 6))),
        size_px=(width, height),
        mpp=draw(scales),
    )
    masks = [rng.random((height, width)) < share for share in rng.random(count)]
    proposals = [
        Proposal(mask=RegionMask.of(mask), predicted_iou=float(rng.random()), stability=float(rng.random()))
        for mask in masks
        if mask.any()
    ]
    return build(draw(names), canvas, proposals)


@st.composite
def bags(draw: st.DrawFn) -> FeatureBag:
    rng, dtype = draw(seeds), draw(st.sampled_from((np.float16, np.float32)))
    patches, dim, regions = draw(st.integers(1, 30)), draw(st.integers(1, 9)), draw(st.integers(0, 5))
    held = [np.flatnonzero(rng.random(patches) < rng.random()).astype(np.int32) for _ in range(regions)]
    start = np.cumsum([0, *map(len, held)], dtype=np.int64)
    members = Membership(start=start, patch=np.concatenate([*held, np.empty(0, np.int32)]).astype(np.int32))
    area, features = rng.integers(1, 1 << 20, regions), rng.standard_normal((patches, dim)).astype(dtype)
    groups, group_region = mean_group_features(features, members)
    known = draw(st.booleans())
    return FeatureBag(
        slide_id=draw(names),
        features=features,
        xy=np.stack([np.arange(patches) * 64] * 2, 1).astype(np.int32)
        if known
        else np.full((patches, 2), -1, np.int32),
        region=smallest_region(members, area, patches),
        region_area=area,
        region_area_um2=area * 0.25 if known else np.full(regions, np.nan),
        group_features=groups.astype(dtype),
        group_region=group_region,
        members=members,
        encoder=EncoderFacts(
            name=draw(names),
            weights_sha256=draw(st.one_of(st.none(), st.just("0a" * 32))),
            dim=dim,
            patch_px=64 if known else 0,
            patch_mpp=draw(scales) if known else math.nan,
            patch_px_level0=64 if known else 0,
        ),
        made_with=draw(st.sampled_from(({}, {"patch": {"patch_px": 64}, "sam": {}}))) if known else {},
    )


@st.composite
def maps(draw: st.DrawFn) -> ArtefactMaps:
    rng, shape = draw(seeds), (draw(st.integers(1, 30)), draw(st.integers(1, 30)))
    cells = {name: rng.integers(0, 256, shape).astype(np.uint8) for name in NAMES}
    return ArtefactMaps(**cells, cell_px0=(draw(scales), draw(scales)), mpp=draw(scales))


@st.composite
def trained_models(draw: st.DrawFn) -> tuple[dict[str, Any], ModelFacts]:
    spec = ModelSpec(dim=draw(st.integers(1, 8)), classes=draw(st.integers(2, 4)), group_features=draw(st.booleans()))
    classes = tuple(draw(st.lists(names, min_size=spec.classes, max_size=spec.classes, unique=True)))
    torch.manual_seed(draw(st.integers(0, 99)))
    mpp = draw(st.one_of(st.none(), st.tuples(scales, scales).map(sorted).map(tuple)))
    trained = TrainedOn(slides=tuple(draw(st.lists(names))), patch_mpp=mpp, made_with={"sam": {"sam_mpp": None}})
    facts = ModelFacts(
        model="mean",
        model_options={},
        spec=spec,
        classes=classes,
        threshold=draw(st.floats(0, 1)) if spec.classes == 2 else None,
        temperature=draw(st.floats(0.1, 10)),
        protocol=draw(st.sampled_from(("honest", "paper"))),
        encoder=replace(good.ENCODER, dim=spec.dim, patch_mpp=draw(st.one_of(scales, st.just(math.nan)))),
        repeat=draw(st.integers(0, 9)),
        fold=draw(st.integers(0, 9)),
        seed=draw(st.integers(0, 1 << 32)),
        epoch=draw(st.integers(0, 999)),
        val_auc=draw(st.one_of(st.none(), st.floats(0, 1))),
        provenance=made("train"),
        trained_on=draw(st.sampled_from((None, trained))),
    )
    return build_model("mean", spec, {}).state_dict(), facts


@st.composite
def checkpoints(draw: st.DrawFn) -> Checkpoint:
    rng = draw(seeds)
    tensors = {f"part.{i}": torch.from_numpy(rng.standard_normal((i, 3)).astype(np.float32)) for i in range(3)}
    history = draw(st.lists(st.dictionaries(st.sampled_from(("loss", "auc")), st.floats(allow_nan=False)), max_size=3))
    said = [rng.random((2, 2)) for _ in range(draw(st.integers(1, 3)))]
    return Checkpoint(tensors=tensors, best=tensors, best_epoch=2, history=history, probabilities=said)


@st.composite
def trainings(draw: st.DrawFn) -> tuple[list[Fold], Cohort]:
    slides = draw(st.lists(names, min_size=3, max_size=8, unique=True))
    classes = tuple(draw(st.lists(names, min_size=2, max_size=3, unique=True)))
    members = tuple(
        Member(slide_id=slide, label=i % len(classes), patient_id=draw(names)) for i, slide in enumerate(slides)
    )
    folds = [
        Fold(repeat=repeat, fold=0, train=tuple(slides[2:]), val=(slides[0],), test=(slides[1],)) for repeat in (0, 3)
    ]
    return folds, Cohort(
        classes=classes,
        members=members,
        patients=tuple(Patient(patient_id=m.patient_id, label=m.label) for m in members),
    )


rows = st.builds(
    Row,
    slide_id=names,
    status=st.sampled_from(("done", "reused", "set-aside", "failed")),
    code=st.sampled_from(("", "E_MPP")),
    message=texts,
    remedy=texts,
    seconds=st.integers(0, 10_000).map(lambda hundredths: hundredths / 100),
    remarks=st.just(()),
)
entries = st.dictionaries(
    names,
    st.builds(SlideEntry, mpp=st.one_of(st.none(), scales), scene=st.one_of(st.none(), st.integers(1, 99))),
    min_size=1,
    max_size=6,
)


def write_entries(path: Path, table: dict[str, SlideEntry]) -> None:
    cells = [(slide, *("" if part is None else part for part in (one.mpp, one.scene))) for slide, one in table.items()]
    write_csv(path, ("slide_id", "mpp", "scene"), cells)


def write_labels(path: Path, table: dict[str, str]) -> None:
    write_csv(path, ("slide_id", "label", "patient_id"), [(slide, label, slide) for slide, label in table.items()])


def labels_of(path: Path) -> dict[str, str]:
    cohort = read_labels(path)
    return {member.slide_id: cohort.classes[member.label] for member in cohort.members}


def write_curve(path: Path, epochs: list[dict[str, float]]) -> None:
    with CurveFile(path) as file:
        for number, figures in enumerate(epochs):
            file.add(number, figures)


def listed(path: Path) -> list[Row]:
    found = read_csv(path, HEADER)
    return [Row(**{**row, "seconds": float(row["seconds"]), "remarks": ()}) for row in found]


# ------------------------------------------------------------------------------------------------------ formats

FORMATS = (
    Format("patches", grids(), lambda path, grid: write_patches(path, grid, made("patch")), read_patches),
    Format("regions", region_maps(), lambda path, found: write_regions(path, found, made("sam")), read_regions),
    Format("bag", bags(), lambda path, bag: write_bag(path, bag, made("extract")), read_bag),
    Format(
        "artefacts", maps(), lambda path, m: write_artefacts(path, m, made("segment")), read_artefacts, lambda _: "s.h5"
    ),
    Format(
        "model",
        trained_models(),
        lambda path, model: write_model(path.parent, *model),
        lambda path: (lambda model, facts: (model.state_dict(), facts))(*read_model(path.parent, "cpu")),
        lambda _: "model.json",
    ),
    Format("checkpoint", checkpoints(), write_checkpoint, read_checkpoint, lambda _: "run.safetensors"),
    Format(
        "splits",
        trainings(),
        lambda path, training: write_folds(path, *training),
        lambda path: (read_folds(path), labels_of_folds(path)),
        lambda _: "splits.csv",
    ),
    Format(
        "quality",
        st.dictionaries(st.sampled_from(("regions", "coverage", "overlap")), json_numbers),
        write_of_slide,
        lambda path: read_of_slide(path, "again"),
        lambda _: "slide.json",
    ),
    Format(
        "process list",
        st.lists(rows, max_size=5, unique_by=lambda row: row.slide_id),
        write_rows,
        listed,
        lambda _: "a.csv",
    ),
    Format("slides table", entries, write_entries, read_slides_table, lambda _: "slides.csv"),
    Format(
        "learning curve",
        st.lists(
            st.fixed_dictionaries({"loss": st.integers(0, 99_999).map(lambda n: n / 100)}), min_size=1, max_size=4
        ),
        write_curve,
        read_curve,
        lambda _: "c.csv",
    ),
)


def expected(form: str, value: Any) -> object:
    if form == "splits":
        folds, cohort = value
        return content((folds, {m.slide_id: (cohort.classes[m.label], m.patient_id) for m in cohort.members}))
    if form == "process list":
        return content(sorted(value, key=lambda row: row.slide_id))
    return content(value)


@pytest.mark.parametrize("form", FORMATS, ids=[form.name for form in FORMATS])
@LIMITED
@given(data=st.data())
def test_what_is_written_reads_back_and_gives_the_same_bytes(form: Format, data: st.DataObject) -> None:
    value = data.draw(form.values)
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, "1", form.file(value)), Path(folder, "2", form.file(value))
        for path in (first, second):
            path.parent.mkdir()
            form.write(path, value)
        assert content(form.read(first)) == expected(form.name, value)
        assert {path.name: path.read_bytes() for path in first.parent.iterdir()} == {
            path.name: path.read_bytes() for path in second.parent.iterdir()
        }


@LIMITED
@given(tissue=tissues())
def test_tissue_reads_back(tissue: TissueMask) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, f"{tissue.slide_id}.geojson"), Path(folder, "again", f"{tissue.slide_id}.geojson")
        write_tissue(first, tissue, made("segment"))
        found = read_tissue(first)
        assert shape_of(found) == shape_of(tissue)
        write_tissue(second, found, made("segment"))
        assert second.read_bytes() == first.read_bytes()


@LIMITED
@given(table=st.dictionaries(names, st.sampled_from(("benign", "malignant", "+ve", "=1+1")), min_size=4, max_size=9))
def test_labels_read_back(table: dict[str, str]) -> None:
    first, *others = table.values()
    # A first row with a class of its own may be a second header, and is asked about.
    if first in others and len(set(others)) > 1:
        with tempfile.TemporaryDirectory() as folder:
            write_labels(path := Path(folder, "labels.csv"), table)
            assert labels_of(path) == table


@LIMITED
@given(bag=bags())
def test_bags_of_other_tools_read_back(bag: FeatureBag) -> None:
    with tempfile.TemporaryDirectory() as folder:
        matrix, tensor, info = (Path(folder, name) for name in ("rows.h5", "rows.pt", "info.h5"))
        write_features(matrix, bag, groups=True)
        rows_with_groups = np.concatenate([bag.features, bag.group_features])
        features, coords = read_features(matrix, [])
        assert content(features) == content(rows_with_groups)
        assert coords is not None
        assert coords[: len(bag.xy)].tolist() == bag.xy.tolist()
        write_tensor(tensor, bag)
        assert content(read_features(tensor, [])[0]) == content(rows_with_groups.astype(np.float32))
        write_sam_info(info, bag)
        found = read_sam_info(info)
        assert found.is_group.tolist() == [False] * len(bag.xy) + [True] * len(bag.group_features)
        own = {"member_start": bag.members.start, "member_patch": bag.members.patch}
        own |= {name: getattr(bag, name) for name in OWN_ARRAYS if name not in own}
        assert content(found.own) == content(own)


@LIMITED
@given(folds=st.integers(2, 20), ratio=st.floats(0, 0.99), classes=st.lists(names, min_size=2, max_size=4, unique=True))
def test_params_read_back(folds: int, ratio: float, classes: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        wanted = {"folds": folds, "mask_ratio": ratio, "classes": classes}
        (path := Path(folder, "params.yaml")).write_text(yaml.safe_dump(wanted), encoding="utf-8")
        found = load_settings(path)
        assert {name: getattr(found, name) for name in wanted} == wanted
