"""Settings of `sammil wsi-sam train`."""

from typing import Literal

from sammil_cli.settings.stage import Tolerance, seed_setting, setting

COARSEST_MPP = 100.0  # a field of 10 cm, wider than any slide; reading a larger one takes forever


class WsiSamTrainSettings(Tolerance):
    """Tokens of WSI-SAM, trained around the SAM of `sam_model` (docs/methods.md §12)."""

    wsi_sam_classes: list[str] | None = setting(
        None, "classes in data/lesions that are learned; null = all that is drawn", min_length=1
    )
    wsi_sam_mpp: float = setting(
        1.0, "µm per pixel of HR; LR has twice as many (1 and 2: 10x and 5x, as published)", gt=0, le=COARSEST_MPP
    )
    wsi_sam_fields: int = setting(10, "fields drawn at random on each slide (10, as published)", ge=1)
    wsi_sam_augment: Literal["colour-and-flip", "flip", "none"] = setting(
        "colour-and-flip", "colour-and-flip (as published) | flip | none; embeddings are kept of what is not recoloured"
    )
    wsi_sam_epochs: int = setting(20, "passes over the fields", ge=1)
    wsi_sam_batch: int = setting(2, "fields whose mean loss is one step", ge=1)
    wsi_sam_learning_rate: float = setting(1e-3, "of AdamW, the same throughout", gt=0)
    wsi_sam_weight_decay: float = setting(0.01, "of AdamW", ge=0)
    wsi_sam_val_fraction: float = setting(0.2, "share of the patients whose fields choose the epoch", gt=0, lt=1)
    wsi_sam_precision: Literal["float32", "bfloat16"] = setting(
        "float32", "float32 | bfloat16 (image encoder and decoder; the loss and the weights stay float32)"
    )
    wsi_sam_cache_gib: float = setting(8.0, "room for embeddings, in memory or on disk; 0 = none are kept", ge=0)
    seed: int = seed_setting()
