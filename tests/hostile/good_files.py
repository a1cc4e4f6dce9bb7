"""A good file of every kind, small, as sammil, another tool or a person writes it; `file_kinds.py` names them.

Each takes the path to write; the slide is called like it.
"""

import gzip
import json
import pickle
import tempfile
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import sam_of_64_px
import shapely
import tifffile
import torch
import yaml
from encoded_project import write_random_bag
from safetensors.torch import save_file
from scipy.io import savemat
from slide_maker import draw_asymmetric, write_pyramid

from sammil_cli.features.bag import EncoderFacts, read_bag
from sammil_cli.legacy import writers
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.patches.file import write_patches
from sammil_cli.patches.patch_grid import SCORES, PatchGrid
from sammil_cli.project import process_list
from sammil_cli.project.result_sums import write_result_sums
from sammil_cli.project.run_record import RunRecord
from sammil_cli.regions.file import write_regions
from sammil_cli.regions.region_map import Canvas, Proposal, build
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.regions.wsi_sam.model import WsiSam
from sammil_cli.regions.wsi_sam.tokens import TokenFacts, write_tokens
from sammil_cli.storage.files import provenance, write_csv, write_json
from sammil_cli.storage.store import Result, ResultStore
from sammil_cli.storage.summed import write_of_slide, write_summed
from sammil_cli.tissue.artefact_maps import NAMES, ArtefactMaps, write_artefacts
from sammil_cli.tissue.mask import TissueMask, write_tissue
from sammil_cli.training.checkpoint import Checkpoint, write_checkpoint
from sammil_cli.training.learning_curves import CurveFile
from sammil_cli.training.manifest import write_manifest
from sammil_cli.training.model_facts import ModelFacts, TrainedOn
from sammil_cli.training.published_weights import to_published
from sammil_cli.training.trained_model import build_model, write_model

SIZE, BOUNDS, MPP = (640, 448), (0, 0, 640, 448), 2.0
MADE = partial(provenance, key={"settings": {"mpp": 2.0}}, libraries={"numpy": "2"})
ENCODER = EncoderFacts(name="texture", weights_sha256=None, dim=6, patch_px=64, patch_mpp=2.0, patch_px_level0=64)
SLIDES = ("slide_01", "slide_02", "slide_03", "slide_04")
TISSUE = TissueMask(
    slide_id="slide_01",
    polygons=shapely.MultiPolygon([shapely.box(40, 40, 320, 260) - shapely.box(120, 100, 200, 160)]),
    slide_mpp=MPP,
    slide_size_px=SIZE,
    bounds_px=BOUNDS,
)


# ------------------------------------------------------------------------------------------------------ slides


def slide(path: Path) -> None:
    write_pyramid(path, draw_asymmetric(), mpp=MPP, compression="zlib")


def ome_tiff(path: Path) -> None:
    facts = {"axes": "YXS", "PhysicalSizeX": 2.0, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 2.0}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(draw_asymmetric(), photometric="rgb", tile=(64, 64), metadata=facts, compression="zlib")


def picture(path: Path) -> None:
    path.write_bytes(cv2.imencode(path.suffix, draw_asymmetric())[1].tobytes())


# ------------------------------------------------------------------------------------------------------ of a slide


def tissue(path: Path) -> None:
    write_tissue(path, replace(TISSUE, slide_id=path.stem), MADE("segment"))


def tissue_picture(path: Path) -> None:
    tissue(path.with_suffix(".geojson"))
    picture(path)


def artefacts(path: Path) -> None:
    cells = np.arange(140, dtype=np.uint8).reshape(10, 14)
    maps = ArtefactMaps(**{name: cells + place for place, name in enumerate(NAMES)}, cell_px0=(16.0, 16.0), mpp=MPP)
    write_artefacts(path, maps, MADE("segment"))


def patches(path: Path) -> None:
    x, y = np.meshgrid(np.arange(8) * 64, np.arange(5) * 64)
    xy = np.stack([x.ravel(), y.ravel()], 1).astype(np.int32)
    grid = PatchGrid(
        slide_id=path.stem,
        xy=xy,
        patch_px=64,
        patch_mpp=MPP,
        patch_px_level0=64,
        step_px_level0=64,
        slide_mpp=MPP,
        slide_size_px=SIZE,
        bounds_px=BOUNDS,
        scores={name: np.linspace(0, 1, len(xy)).astype(np.float16) for name in SCORES},
        waterfall={"grid": 70, "tissue": 40, "kept": 40},
        uncovered=0.01,
    )
    write_patches(path, grid, MADE("patch"))


def regions(path: Path) -> None:
    canvas = Canvas(origin_px=(40, 40), downsample=8.0, size_px=(40, 24), mpp=16.0)
    masks = [np.zeros((24, 40), np.bool_) for _ in range(4)]
    for place, mask in enumerate(masks):
        mask[place * 4 : place * 4 + 8, place * 6 : place * 6 + 12] = True
    proposals = [Proposal(mask=RegionMask.of(mask), predicted_iou=0.9, stability=0.8) for mask in masks]
    write_regions(path, build(path.stem, canvas, proposals), MADE("sam"))


def bag(path: Path) -> None:
    write_random_bag(path.parent, path.stem, seed=1)


def quality(path: Path) -> None:
    write_of_slide(path, {"regions": 4, "coverage": 0.8, "overlap": None, "contrast": 0.2, "flags": ["few-regions: 4"]})


# ------------------------------------------------------------------------------------------------------ drawings


def feature(*points: tuple[float, float], name: str = "Tumour") -> dict[str, Any]:
    shape = {"type": "Polygon", "coordinates": [[*points, points[0]]]}
    kind = {"objectType": "annotation", "classification": {"name": name}}
    return {"type": "Feature", "geometry": shape, "properties": kind}


def drawing_text() -> str:
    outer = feature((50, 50), (300, 50), (300, 250), (50, 250))
    inner = feature((100, 100), (150, 100), (150, 150), (100, 150), name="Ignore*")
    return json.dumps({"type": "FeatureCollection", "features": [outer, inner]})


def drawing(path: Path) -> None:
    """GeoJSON, packed as the name says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{path.stem}.geojson", drawing_text())
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(drawing_text().encode(), mtime=0))
    else:
        path.write_text(drawing_text())


def drawn_xml(path: Path) -> None:
    corners = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in ((50, 50), (300, 50), (300, 250), (50, 250)))
    region = f'<Region Id="1" Type="0" NegativeROA="0"><Vertices>{corners}</Vertices></Region>'
    layer = f'<Annotation Id="1" Name="Tumour" LineColor="65280"><Regions>{region}</Regions></Annotation>'
    path.write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n<Annotations MicronsPerPixel="0.5">{layer}</Annotations>')


def drawn_camelyon(path: Path) -> None:
    corners = [[50, 50], [300, 50], [300, 250], [50, 250]]
    path.write_text(json.dumps({"positive": [{"name": "_0", "vertices": corners}], "negative": []}))


# ------------------------------------------------------------------------------------------------------ tables


def labels(path: Path) -> None:
    path.write_text("slide_id,label,patient_id\n" + "".join(f"{s},{'ab'[i % 2]},P{i}\n" for i, s in enumerate(SLIDES)))


def slides_table(path: Path) -> None:
    path.write_text('slide_id,mpp,scene,mine\nslide_01,0.5,,x\nslide_02,,1,\nslide_03,0.25,2,"a, b"\n')


def prompt_table(path: Path) -> None:
    path.write_text(
        "slide_id,kind,coordinates,negative,name,class\nslide_01,box,10 20 30 40,,a gland,Gland\n"
        "slide_01,points,5 6; 7.5 8,9 10,,\nslide_02,polygon,0 0; 10 0; 10 10,,,Tumour\n"
    )


def splits(path: Path) -> None:
    roles = ("train", "train", "val", "test")
    rows = [(0, fold, s, f"P{i}", roles[i - fold], "ab"[i % 2]) for fold in (0, 1) for i, s in enumerate(SLIDES)]
    write_csv(path, ("repeat", "fold", "slide_id", "patient_id", "role", "label"), rows)


def predictions(path: Path) -> None:
    head = ("repeat", "fold", "slide_id", "label", "predicted", "positive_class", "threshold", "probability_a")
    rows = [(0, 0, s, "a", "b", "b", "0.500000", f"0.{i}00000") for i, s in enumerate(SLIDES)]
    write_csv(path, (*head, "probability_b", "uncalibrated_threshold"), [(*row, "0.500000", "0.40") for row in rows])
    metrics = path.with_name("metrics.json")
    write_json(metrics, {"auc": {"pooled": 0.8, "low": 0.6, "high": 0.9}, "bootstrap_draws": 9})
    write_result_sums(path.with_name("curves") / "sums.json", metrics, path)


def processes(path: Path) -> None:
    good = process_list.Row(slide_id="slide_01", status="done", seconds=1.5, remarks=("qc: fine",))
    bad = process_list.Row(slide_id="slide_02", status="set-aside", code="E_MPP", message="no mpp", remedy="add it")
    process_list.write_rows(path, [good, bad])


def params(path: Path) -> None:
    path.write_text(yaml.safe_dump({"folds": 3, "mask_ratio": 0.5, "model": "sam-mil", "classes": ["a", "b"]}))


def curve(path: Path) -> None:
    with CurveFile(path) as file:
        for epoch in range(4):
            file.add(epoch, {"loss": 1 / (1 + epoch), "val_auc": float("nan") if epoch else 0.5})


# ------------------------------------------------------------------------------------------------------ of a training


def model(path: Path) -> None:
    """Weights and facts; the path is that of one of both."""
    spec = ModelSpec(dim=6, classes=2, group_features=False)
    made = TrainedOn(slides=SLIDES[:2], patch_mpp=(2.0, 2.0), made_with={"patch": {"patch_px": 64}})
    facts = ModelFacts(
        model="mean",
        model_options={},
        spec=spec,
        classes=("a", "b"),
        threshold=0.4,
        temperature=1.5,
        protocol="honest",
        encoder=ENCODER,
        repeat=0,
        fold=0,
        seed=1,
        epoch=3,
        val_auc=0.75,
        provenance=MADE("train"),
        trained_on=made,
    )
    torch.manual_seed(0)
    write_model(path.parent, build_model("mean", spec, {}).state_dict(), facts, torch.full((3, 2, 2), 0.5))


def checkpoint(path: Path) -> None:
    content = Checkpoint(
        tensors={"weight": torch.arange(6.0).reshape(2, 3), "step": torch.tensor(3)},
        best={"weight": torch.ones(2, 3)},
        best_epoch=0,
        history=[{"loss": 0.5}],
        probabilities=[np.full((2, 2), 0.5)],
    )
    write_checkpoint(path, content)


def training(path: Path) -> None:
    """The table of folds of two models, which lie beside it with the manifest of the training."""
    splits(path)
    models, folds = path.with_name("models"), ("repeat_0_fold_0", "repeat_0_fold_1")
    for name in folds:
        model(models / name / "model.json")
    write_manifest(models, path, folds, {slide: f"{place:064}" for place, slide in enumerate(SLIDES)})


def record(path: Path) -> None:
    here = {"libraries": {"numpy": "2"}, "device": {"device": "cpu"}}
    slides = [
        {"slide_id": s, "label": "ab"[i % 2], "patient_id": f"P{i}", "bag_sha256": f"{i:064}", "made_by": "extract"}
        for i, s in enumerate(SLIDES)
    ]
    fold = {"name": "repeat_0_fold_0", "repeat": 0, "fold": 0, "seed": 1, "epoch": 3, "threshold": 0.4}
    content = {
        "schema": 1,
        "tool": "sammil 0",
        "git": None,
        "image": None,
        "environment": here,
        "params": {"folds": 3},
        "code": {"train": "00"},
        "encoder": {"name": "texture", "sha256": None},
        "regions": [{"proposer": "superpixels", "weights_sha256": None, "slides": 4}],
        "seed": 1,
        "positive_class": "b",
        "data": {
            "labels_sha256": "1",
            "splits_sha256": "2",
            "sha256": "3",
            "slides": [{**one, "slide": None} for one in slides],
        },
        "folds": [{**fold, "weights_sha256": "4", "other_environment": None}],
    }
    write_summed(path, RunRecord(**content).model_dump(by_alias=True))


def sam_checkpoint(path: Path) -> None:
    """As micro-sam's training saves it."""
    state = {f"sam.{name}": value for name, value in sam_of_64_px.weights().items()}
    torch.save({"model_state": state, "decoder_state": {"bias": torch.ones(2)}}, path)


def wsi_sam() -> WsiSam:
    """On the SAM of 64 px, tokens the same every time."""
    model = sam_of_64_px.build()
    model.load_state_dict(sam_of_64_px.weights())
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return WsiSam(model, 16)


def tokens(path: Path) -> None:
    torch.save(sam_of_64_px.weights(), path.parent / "sam.pth")
    facts = TokenFacts(sam_model="vit_b", sam_sha256="ab" * 32, mpp=1.0, side_px=64, provenance={"stage": "x"})
    write_tokens(path, wsi_sam(), facts)


def published_tokens(path: Path) -> None:
    """`net_high.pth` and `net_low.pth`, as train.py saves them."""
    model = wsi_sam()
    torch.save(sam_of_64_px.weights(), path.parent / "sam.pth")
    for name, branch in (("net_high.pth", model.high), ("net_low.pth", model.low)):
        state = {**model.sam.mask_decoder.state_dict(), **branch.state_dict()}
        torch.save({"model": state, "optimizer": {"state": {}}, "epoch": 19}, path.parent / name)


STORED = "0123456789abcdef"  # the name of the store's one entry, two files
STORE_FILES = {"slide_01.h5": b"a" * 700, "slide_01.json": b"{}\n"}


def stored(path: Path) -> None:
    """An entry of the result store, put there as a run does it."""
    store = ResultStore(path.parents[2])
    folder = store.workspace()
    for name, content in STORE_FILES.items():
        (folder / name).write_bytes(content)
    store.put(STORED, folder, Result(slide_id="slide_01", key={"slide": "0a1b"}, libraries={"numpy": "2"}))


def dvc_config(path: Path) -> None:
    path.write_text(
        "[core]\n    autostage = true\n[cache]\n    dir = ../elsewhere\n['remote \"mine\"']\n    url = /mnt\n"
    )


# ------------------------------------------------------------------------------------------------------ of older tools


def slide_embedding(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["features"] = np.linspace(-1, 1, 16, dtype=np.float32)


def old_bag(form: str, path: Path) -> None:
    """The rows of a bag in another tool's form: a matrix with coordinates, a tensor, or SAM-MIL's sam_info."""
    with tempfile.TemporaryDirectory() as folder:
        bag(made := Path(folder) / "slide_01.h5")
        content = read_bag(made)
        if form == "sam_info":
            writers.write_sam_info(path, content)
        elif form == "tensor":
            writers.write_tensor(path, content)
        else:
            writers.write_features(path, content, groups=True)


def array(path: Path) -> None:
    np.save(path, np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4))


def feature_table(path: Path) -> None:
    path.write_text("x,y,0,1,2\n0,0,0.5,-1.25,3\n64,0,1e-3,2,4.75\n")


def old_patches(path: Path) -> None:
    places = writers.Places(
        slide_id="slide_01",
        xy=np.stack([np.arange(6) * 64, np.arange(6) * 64], 1).astype(np.int32),
        patch_px=64,
        patch_px_level0=64,
        slide_mpp=0.5,
        slide_size_px=SIZE,
        overlap_px=0,
    )
    writers.write_clam_patches(path, places)
    with h5py.File(path, "r+") as file:
        file["imgs"] = np.arange(6 * 8 * 8 * 3, dtype=np.uint8).reshape(6, 8, 8, 3)


def seg_file(path: Path) -> None:
    with h5py.File(path, "w") as file:
        for number in range(3):
            file[f"seg_{number}"] = np.arange(2 * (number + 1)).reshape(-1, 2) * 512


def segments(path: Path) -> None:
    """The first document of tests/legacy/sam_mil_run.py, made small."""
    mask = np.zeros((16, 24), np.bool_)
    mask[2:9, 3:12] = True
    head = {"patch_size": 64, "start_x": 40, "start_y": 40, "stop_x": 64, "stop_y": 56, "w": 24, "h": 16}
    box = {"segmentation": mask, "area": 63, "bbox": [3, 2, 8, 6], "predicted_iou": 0.9, "stability_score": 0.8}
    path.write_bytes(pickle.dumps([head | {"vis_level": 0, "downsample_ratio": 1}, box]))


def patch_lists(path: Path) -> None:
    name = "slide_01_{0}_{0}_{1}_{1}_WW_9_HH_9.png"
    listed = [{"feature": np.full(4, i, np.float32), "file_name": name.format(i * 64, i)} for i in range(3)]
    path.write_bytes(pickle.dumps({"slide_01": listed, "slide_02": listed[:1]}))


def mat_bags(path: Path) -> None:
    bags = {"X": np.ones((3, 4)), "Bag2": np.array([[1.0], [2], [1]]), "bagI": np.array([[True], [False]])}
    savemat(path, bags, do_compression=True)


def old_process_list(path: Path) -> None:
    path.write_text(
        "slide_id,process,status,seg_level,a_t\nslide_01.svs,0,processed,2,100\nslide_02.svs,0,failed,2,9\n"
    )


def old_splits(path: Path) -> None:
    path.write_text(",train,val,test\n0,slide_01,slide_03,slide_04\n1,slide_02,,\n")


def old_results(path: Path) -> None:
    entries = {
        s: {"slide_id": np.array(s), "prob": np.array([[0.25, 0.75]]), "label": np.int64(i % 2)}
        for i, s in enumerate(SLIDES)
    }
    path.write_bytes(pickle.dumps(entries))


def published(path: Path) -> None:
    """Weights under the published names, as the name's suffix says."""
    torch.manual_seed(0)
    spec = ModelSpec(dim=6, classes=2, group_features=False)
    model = build_model("abmil", spec, {})
    state = to_published("abmil", model.options, model.state_dict(), spec.classes)[1]
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"model": state}, path)
