"""A project of small slides with drawings, and a SAM small enough to train around."""

import json
from pathlib import Path
from typing import Any

import pytest
import shapely
import torch
from segment_anything import sam_model_registry
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from shapely.geometry import mapping
from slide_maker import COHORT_MPP, draw_tissue, write_pyramid

from sammil_cli.config import Settings, check
from sammil_cli.project.project import Project
from sammil_cli.regions.sam_models.build import EARLY_WIDTH
from sammil_cli.storage.files import sha256_file

SIDE_PX = 256
EARLY = 32
NEST = shapely.box(420, 260, 680, 480)  # where a tumour's nuclei lie in `draw_tissue`


def build_small_sam(checkpoint: None = None) -> Sam:
    """The official classes, shallow and narrow, for pictures of 256 px."""
    side, width = SIDE_PX // 16, 64
    return Sam(
        ImageEncoderViT(
            img_size=SIDE_PX,
            embed_dim=EARLY,
            depth=2,
            num_heads=2,
            out_chans=width,
            use_rel_pos=True,
            window_size=14,
            global_attn_indexes=(1,),
        ),
        PromptEncoder(
            embed_dim=width, image_embedding_size=(side, side), input_image_size=(SIDE_PX, SIDE_PX), mask_in_chans=16
        ),
        MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=width, mlp_dim=2 * width, num_heads=8),
            transformer_dim=width,
        ),
    )


def small_weights(path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Makes `vit_b` that small SAM, writes random weights of it, and gives the settings that load them."""
    monkeypatch.setitem(sam_model_registry, "vit_b", build_small_sam)
    monkeypatch.setitem(EARLY_WIDTH, "vit_b", EARLY)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(build_small_sam().state_dict(), path)
    return {"sam_model": "vit_b", "sam_checkpoint": str(path), "sam_checkpoint_sha256": sha256_file(path)}


def draw(path: Path, *shapes: Any) -> Path:
    """Writes geometries, or pairs of a geometry and its class, as QuPath exports them."""
    features = []
    for drawn in shapes:
        geometry, name = drawn if isinstance(drawn, tuple) else (drawn, "")
        properties = {"objectType": "annotation"} | ({"classification": {"name": name}} if name else {})
        features.append({"type": "Feature", "geometry": mapping(geometry), "properties": properties})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def write_drawn_project(folder: Path, slides: int = 3) -> Project:
    """Slides `s0`, `s1`, … of 1200 x 900 px at 1 µm per pixel, each with its nest outlined, of a patient each."""
    data = folder / "data"
    for number in range(slides):
        write_pyramid(
            data / "slides" / f"s{number}.tif",
            draw_tissue(seed=number, tumour=True),
            mpp=COHORT_MPP,
            downsamples=(1, 4),
            tile_px=128,
        )
        draw(data / "lesions" / f"s{number}.geojson", (NEST, "Tumour"))
    return project_in(folder)


def project_in(folder: Path) -> Project:
    """The project of a folder, by absolute paths."""
    names = {name: folder / path for name, path in vars(Project()).items() if path}
    return Project(**names)


def settings_of(sam: dict[str, object], **others: object) -> Settings:
    """Two epochs of two fields a slide."""
    small = {"wsi_sam_epochs": 2, "wsi_sam_fields": 2, "wsi_sam_val_fraction": 0.34, **sam}
    return check({**small, **others}, "test")
