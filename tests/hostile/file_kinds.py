"""Every kind of file that sammil reads: how a good one is made, who reads it, and what counts as the same content.

The table of damages (`damage_table.py`) and the fuzzer (`fuzz.py`) take them from here. `KINDS` has to meet every
public reader of the package; a test watches that.
"""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

import bundle_files
import good_files as good
import numpy as np
import sam_of_64_px
import shapely
import torch
from pydantic import BaseModel
from segment_anything import sam_model_registry

from sammil_cli.cohort.cohort import read_labels
from sammil_cli.config import load_settings
from sammil_cli.features.bag import read_bag, read_corners, read_encoder, read_instances, read_origin
from sammil_cli.features.bag_check import read_checked
from sammil_cli.features.making import read_making
from sammil_cli.features.places import read_places
from sammil_cli.legacy import process_list as old_process_list
from sammil_cli.legacy import tables as old_tables
from sammil_cli.legacy.bags import without_coords
from sammil_cli.legacy.feature_table import read_feature_table
from sammil_cli.legacy.mat_bags import read_mat_bags
from sammil_cli.legacy.mat_file import read_mat_arrays
from sammil_cli.legacy.npy_file import read_npy, read_npy_header
from sammil_cli.legacy.patch_file import read_images, read_patch_file
from sammil_cli.legacy.patch_lists import read_patch_lists
from sammil_cli.legacy.rows import read_features
from sammil_cli.legacy.sam_info import read_sam_info, read_seg_file
from sammil_cli.legacy.sam_mil import read_documents
from sammil_cli.legacy.segments import read_segments
from sammil_cli.legacy.slide_check import read_patches as read_old_patches
from sammil_cli.legacy.slide_vectors import read_slide_vectors
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.patches.file import read_patches
from sammil_cli.patches.images import read_patch
from sammil_cli.patches.patch_grid import PatchGrid
from sammil_cli.patches.tile_images import read_tile
from sammil_cli.project.project import Project, read_only
from sammil_cli.project.quality_table import report
from sammil_cli.project.result_sums import check_results
from sammil_cli.project.run_record import read_record
from sammil_cli.prompting.asked import on_slide
from sammil_cli.prompting.prompt_drawing import read_drawn_prompts
from sammil_cli.prompting.prompt_table import read_table
from sammil_cli.regions.annotations import read_annotations
from sammil_cli.regions.file import read_regions
from sammil_cli.regions.sam_models.build import EARLY_WIDTH, load_sam
from sammil_cli.regions.wsi_sam.tokens import load_wsi_sam
from sammil_cli.slides.files import open_slide
from sammil_cli.slides.table import read_slides_table
from sammil_cli.storage.files import read_csv
from sammil_cli.storage.geojson import read_geojson
from sammil_cli.storage.origin import read_key
from sammil_cli.storage.state_dict import load_state
from sammil_cli.storage.store import ResultStore, find_store
from sammil_cli.studies import reproduce
from sammil_cli.tissue.artefact_maps import read_artefacts
from sammil_cli.tissue.brightness import read_look
from sammil_cli.tissue.edits import read_drawing, read_polygons
from sammil_cli.tissue.mask import read_tissue
from sammil_cli.training.bag_content import read_contents
from sammil_cli.training.checkpoint import read_checkpoint
from sammil_cli.training.fold import labels_of_folds, read_folds
from sammil_cli.training.learning_curves import read_curve
from sammil_cli.training.manifest import read_trained_folds
from sammil_cli.training.model_facts import read_facts
from sammil_cli.training.published_weights import read_published, read_start
from sammil_cli.training.trained_labels import read_judged_by
from sammil_cli.training.trained_model import build_model, read_epochs, read_model

Read = Callable[[Path], object]


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    `readers`: the first is the one whose answer the table of damages names. `form`: how its content can be changed so
    that it still parses (`mutations.py`). `ours`: written by sammil, so that what was changed is refused; of what
    people and other tools write any valid content counts. A reader of what is made again where it is damaged, such as
    an entry of the store, gives None.
    """

    name: str
    file: str
    make: Callable[[Path], None]
    readers: tuple[Read, ...]
    form: str = "bytes"
    ours: bool = False


def content(value: object) -> object:
    """A value in a form that can be compared and hashed: equal for files that read as the same."""
    match value:
        case np.ndarray():
            return (value.dtype.str, value.shape, hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest())
        case torch.Tensor():
            return content(value.detach().numpy())
        case torch.nn.Module():
            return content(value.state_dict())
        case shapely.Geometry():
            return shapely.to_wkb(value)
        case BaseModel():
            return content(value.model_dump())
        case Path():
            return value.name
        case Mapping():
            return tuple(sorted((repr(name), content(part)) for name, part in value.items()))
        case set() | frozenset():
            return tuple(sorted(map(repr, value)))
        case list() | tuple():
            return tuple(map(content, value))
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = dataclasses.fields(value)
            return (type(value).__name__, *((field.name, content(getattr(value, field.name))) for field in fields))
    return repr(value)


# ------------------------------------------------------------------------------------------------------ readers

GRID = PatchGrid(
    slide_id="slide_01",
    xy=np.array([[64, 64]], np.int32),
    patch_px=64,
    patch_mpp=good.MPP,
    patch_px_level0=64,
    slide_mpp=good.MPP,
    slide_size_px=good.SIZE,
    bounds_px=good.BOUNDS,
)


def whole_slide(path: Path, mpp: float | None = None) -> object:
    with closing(open_slide(path, mpp)) as slide:
        seen = [slide.thumbnail(16.0), read_patch(slide, GRID, 0), *read_old_patches(slide, GRID.xy, 64, 32)]
        return (slide.size_px, slide.mpp, slide.bounds_px, seen)


def drawing(path: Path) -> object:
    return read_drawing(path, slide_size_px=good.SIZE, bounds_px=good.BOUNDS)


def region_of_interest(path: Path) -> object:
    return read_polygons(path, slide_size_px=good.SIZE, bounds_px=good.BOUNDS)


def annotations(path: Path) -> object:
    return read_annotations(path, good.TISSUE)


def drawn_prompts(path: Path) -> object:
    return [one.as_key() for one in on_slide(read_drawn_prompts(path, good.BOUNDS[:2])[0], good.BOUNDS, moved=True)[0]]


def prompt_table(path: Path) -> object:
    return {slide: [one.as_key() for one in prompts] for slide, prompts in read_table(path).items()}


def mat_bags(path: Path) -> object:
    """Without the names of the bags, which come from the folder."""
    found = read_mat_bags(path)
    return [one.features for one in found.bags.values()], list(found.labels.values())


def quality(path: Path) -> object:
    report("sam", path.parent, path.parent / "lists")
    table = path.parent / "lists" / "sam_quality.csv"
    return read_csv(table, ("slide_id",)) if table.exists() else None  # the order of columns follows that of the keys


def labels_then_and_now(path: Path) -> object:
    """Labels against the folds of a training; the labels lie beside the folds."""
    good.labels(path.with_name("labels.csv"))
    return read_judged_by(path.with_name("labels.csv"), path, ("a", "b"), set(good.SLIDES), changed_labels=False)


def trained_folds(path: Path) -> object:
    """The folds of the models beside, and the labels that they were trained on."""
    return (read_trained_folds(path.with_name("models"), path), labels_of_folds(path), labels_then_and_now(path))


def judged(path: Path) -> object:
    names = {"metrics": "metrics.json", "predictions": "p.csv", "curves": "curves"}
    project = Project(**{place: path.with_name(name) for place, name in names.items()})
    check_results(project)
    return reproduce._read_judged(project)


def facts(path: Path) -> object:
    return read_facts(path.parent)


def trained_model(path: Path) -> object:
    return read_model(path.parent, "cpu")


def epochs(path: Path) -> object:
    return read_epochs(path.parent)


def from_store(path: Path) -> object:
    """What the store delivers of its one entry, or None: then it is computed again."""
    out = path.parents[3] / "out"
    result = ResultStore(path.parents[2]).fetch(good.STORED, out)
    return None if result is None else (result, {file.name: file.read_bytes() for file in out.iterdir()})


def store_folder(path: Path) -> object:
    return os.path.relpath(find_store(path.parents[1]), path.parents[1])


def listed(path: Path) -> object:
    return read_only(str(path))


def rows(path: Path) -> object:
    return read_features(path, [])


def bag_without_places(path: Path) -> object:
    return without_coords(path.stem, read_features(path, [])[0], None, [])


def bag_content(path: Path) -> object:
    return read_contents(lambda _: read_bag(path), [path.stem])


def slide_embedding(path: Path) -> object:
    return read_slide_vectors(path.parent, [path.stem])


def look(path: Path) -> object:
    """Of the picture; the tissue lies beside it."""
    return read_look(path.parent, path.stem)


def start(path: Path) -> object:
    """What a training would take of published weights; the sha256 is of any file."""
    spec = ModelSpec(dim=6, classes=3, group_features=False)
    return read_start(path, "abmil", build_model("abmil", spec, {})).state


def images(path: Path) -> object:
    return read_images(path, np.array([0, 2]))


def old_list(path: Path) -> object:
    return old_process_list.read_process_list(path, {"slide_01", "slide_02"})


def old_splits(path: Path) -> object:
    return old_tables.read_splits((path,))


def sam_checkpoint(path: Path) -> object:
    with patch.dict(sam_model_registry, {"vit_b": sam_of_64_px.build}):
        return load_sam(path, "vit_b")


def wsi_sam_tokens(path: Path) -> object:
    """Those of a file, or of its folder, with the SAM that they belong to."""
    tokens = path.parent if path.suffix == ".pth" else path
    with patch.dict(sam_model_registry, {"vit_b": sam_of_64_px.build}), patch.dict(EARLY_WIDTH, {"vit_b": 16}):
        return load_wsi_sam(path.parent / "sam.pth", "vit_b", tokens, sam_sha256="ab" * 32).added()


GEOJSON = (drawing, region_of_interest, annotations, read_geojson)
DRAWN = GEOJSON[:3]
ENTRY = f"store/{good.STORED[:2]}/{good.STORED}"

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("slide", "slide_01.tif", good.slide, (whole_slide,), "tiff"),
        Kind("OME-TIFF", "slide_01.ome.tif", good.ome_tiff, (whole_slide,), "tiff"),
        Kind("picture", "slide_01.png", good.picture, (partial(whole_slide, mpp=good.MPP),)),
        Kind("tile", "slide_01/slide_01_x0_y64.png", good.picture, (read_tile,)),
        Kind("tissue", "slide_01.geojson", good.tissue, (read_tissue,), "json", ours=True),
        Kind("tissue picture", "slide_01.jpg", good.tissue_picture, (look,)),
        Kind("artefacts", "slide_01.h5", good.artefacts, (read_artefacts,), "hdf5", ours=True),
        Kind("patches", "slide_01.h5", good.patches, (read_patches,), "hdf5", ours=True),
        Kind("regions", "slide_01.h5", good.regions, (read_regions,), "hdf5", ours=True),
        Kind(
            "bag",
            "slide_01.h5",
            good.bag,
            (read_bag, read_checked, read_instances, read_encoder, read_origin, read_making, read_corners, read_places),
            "hdf5",
            ours=True,
        ),
        Kind("bag to learn from", "slide_01.h5", good.bag, (read_checked, bag_content), "hdf5", ours=True),
        Kind("key in HDF5", "slide_01.h5", good.patches, (read_key,), "hdf5"),
        Kind("key in GeoJSON", "slide_01.geojson", good.tissue, (read_key,), "json"),
        Kind("quality", "slide_01.json", good.quality, (quality,), "json", ours=True),
        Kind("drawing", "slide_01.geojson", good.drawing, GEOJSON, "json"),
        Kind("drawing.gz", "slide_01.geojson.gz", good.drawing, DRAWN, "gzip"),
        Kind("drawing.zip", "slide_01.zip", good.drawing, DRAWN, "zip"),
        Kind("drawing.xml", "slide_01.xml", good.drawn_xml, DRAWN, "xml"),
        Kind("CAMELYON's drawing", "slide_01.json", good.drawn_camelyon, DRAWN, "json"),
        Kind("drawn prompts", "slide_01.geojson", good.drawing, (drawn_prompts,), "json"),
        Kind("prompt table", "prompts.csv", good.prompt_table, (prompt_table,), "csv"),
        Kind("labels", "labels.csv", good.labels, (read_labels,), "csv"),
        Kind("slides table", "slides.csv", good.slides_table, (read_slides_table,), "csv"),
        Kind("params", "params.yaml", good.params, (load_settings,), "yaml"),
        Kind("process list", "segment.csv", good.processes, (listed,), "csv"),
        Kind("splits", "splits.csv", good.training, (trained_folds,), "csv", ours=True),
        Kind("imported splits", "splits.csv", good.splits, (read_folds,), "csv"),
        Kind("record", "record.json", good.record, (read_record,), "json", ours=True),
        Kind("model facts", "fold/model.json", good.model, (facts, trained_model), "json", ours=True),
        Kind("model weights", "fold/model.safetensors", good.model, (trained_model,), "safetensors", ours=True),
        Kind("epochs", "fold/epochs.safetensors", good.model, (epochs,), "safetensors", ours=True),
        Kind("bundle", "model.sammil", bundle_files.make, (bundle_files.read,), ours=True),
        Kind("checkpoint", "run.safetensors", good.checkpoint, (read_checkpoint,), "safetensors", ours=True),
        Kind("learning curve", "curve.csv", good.curve, (read_curve,), "csv"),
        Kind("predictions", "p.csv", good.predictions, (judged,), "csv", ours=True),
        Kind(
            "metrics",
            "metrics.json",
            lambda path: good.predictions(path.with_name("p.csv")),
            (judged,),
            "json",
            ours=True,
        ),
        Kind("store manifest", f"{ENTRY}/manifest.json", good.stored, (from_store,), "json", ours=True),
        Kind("store file", f"{ENTRY}/slide_01.h5", good.stored, (from_store,), ours=True),
        Kind("DVC config", ".dvc/config", good.dvc_config, (store_folder,)),
        Kind("weights", "weights.safetensors", good.published, (load_state, read_published, start), "safetensors"),
        Kind("torch weights", "weights.pth", good.published, (load_state, read_published, start), "zip"),
        Kind("SAM checkpoint", "sam.pth", good.sam_checkpoint, (sam_checkpoint,), "zip"),
        Kind("tokens", "tokens.safetensors", good.tokens, (wsi_sam_tokens,), "safetensors", ours=True),
        Kind("published tokens", "net_low.pth", good.published_tokens, (wsi_sam_tokens,), "zip"),
        Kind("old features", "slide_01.h5", partial(good.old_bag, "rows"), (rows,), "hdf5"),
        Kind("slide embedding", "slide_01.h5", good.slide_embedding, (slide_embedding,), "hdf5"),
        Kind("old tensor", "slide_01.pt", partial(good.old_bag, "tensor"), (rows,), "zip"),
        Kind("old tensor without places", "slide_01.pt", partial(good.old_bag, "tensor"), (bag_without_places,), "zip"),
        Kind("array", "slide_01.npy", good.array, (rows, read_npy, read_npy_header)),
        Kind("table of features", "slide_01.csv", good.feature_table, (rows, read_feature_table), "csv"),
        Kind("old patches", "slide_01.h5", good.old_patches, (read_patch_file, images), "hdf5"),
        Kind("sam_info", "slide_01.h5", partial(good.old_bag, "sam_info"), (read_sam_info,), "hdf5"),
        Kind("seg_file", "slide_01.h5", good.seg_file, (read_seg_file,), "hdf5"),
        Kind("segments", "slide_01.pkl", good.segments, (read_segments, read_documents)),
        Kind("patch lists", "features.pkl", good.patch_lists, (read_patch_lists,)),
        Kind("MATLAB arrays", "X.mat", good.mat_bags, (read_mat_arrays, mat_bags)),
        Kind("old process list", "process_list.csv", good.old_process_list, (old_list,), "csv"),
        Kind("old splits", "splits_0.csv", good.old_splits, (old_splits,), "csv"),
        Kind("old results", "split_0_results.pkl", good.old_results, (old_tables.read_results,)),
    )
}
