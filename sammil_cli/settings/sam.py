"""Settings of `sammil sam`."""

from typing import Literal

from sammil_cli.settings.stage import Tolerance, setting


class SamSettings(Tolerance):
    """Regions."""

    proposer: str = setting("sam", "whose regions")
    sam_canvas_px: int = setting(
        1024, "longest side of a picture that the proposer sees (1024, as published); with sam_mpp, of a tile", ge=64
    )
    sam_mpp: float | None = setting(
        None,
        "µm per pixel of the pictures, which are overlapping tiles; null = one picture of all tissue, as published",
        gt=0,
    )
    sam_tile_overlap: float = setting(
        0.25, "share of a tile's side that its neighbour sees, too (with sam_mpp only)", ge=0, le=0.5
    )
    region_polygons: Literal["geojson", "geojson.gz"] = setting(
        "geojson", "outlines for QuPath: geojson | geojson.gz (packed to about an eighth; QuPath 0.4 and later)"
    )
    sam_model: Literal["vit_h", "vit_l", "vit_b", "vit_t"] = setting(
        "vit_h", "vit_h (the paper) | vit_l | vit_b | vit_t (MobileSAM)"
    )
    sam_checkpoint: str | None = setting(None, "checkpoint file; null = found in SAMMIL_WEIGHTS or the cache")
    sam_checkpoint_sha256: str | None = setting(None, "pins a checkpoint of your own; null = the published one")
    sam_colours: Literal["sam", "min-max"] = setting(
        "sam", "sam (normalised as SAM was trained) | min-max (each picture from 0 to 1, as MedSAM was)"
    )
    sam_points_per_side: int = setting(32, "prompts along a side", ge=1)
    sam_pred_iou_thresh: float = setting(0.6, "masks that SAM itself rates lower are dropped", ge=0, le=1)
    sam_stability_thresh: float = setting(0.6, "less stable masks are dropped", ge=0, le=1)
    sam_crop_layers: int = setting(1, "0 = whole picture, 1 = four crops besides (as published)", ge=0, le=3)
    sam_crop_points_downscale: int = setting(2, "prompts are thinned by this in crops", ge=1)
    sam_points: Literal["tissue", "all"] = setting(
        "tissue", "tissue (prompts on tissue only: less work) | all (as published)"
    )
    sam_precision: Literal["float32", "bfloat16", "float16"] = setting(
        "float32", "float32 | bfloat16 | float16 (GPU only); the half ones are faster, and masks differ a little"
    )
    sam_backend: Literal["torch", "openvino"] = setting(
        "torch", "torch | openvino (image encoder on the CPU, often faster, the same but for rounding; docs/weights.md)"
    )
    sam_compile: bool = setting(False, "compile the image encoder: slower start, faster slides (GPU)")
    wsi_sam_tokens: str | None = setting(
        None, "wsi-sam only: a file of sammil wsi-sam train, or a folder with net_high.pth and net_low.pth"
    )
    wsi_sam_tokens_sha256: str | None = setting(None, "pins these tokens; null = any that belong to the SAM")
    superpixel_method: Literal["slic", "felzenszwalb"] = setting(
        "slic", "slic (compact) | felzenszwalb (follows edges)"
    )
    superpixel_area_px: int = setting(1500, "mean area of a superpixel before merging, canvas pixels", ge=16)
    superpixel_merge: float = setting(6.0, "neighbours whose mean Lab colours differ less are merged", ge=0)
    feature_region_patches: int = setting(16, "features only: patches of a region, on average", ge=1)
