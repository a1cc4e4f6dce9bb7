"""The official classes of SAM for pictures of 64 px, with random weights: what `vit_b` is in tests of checkpoints."""

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor


def build(checkpoint: None = None) -> Sam:
    """As a builder in `segment_anything.sam_model_registry`."""
    del checkpoint
    return Sam(
        ImageEncoderViT(
            img_size=64, embed_dim=16, depth=2, num_heads=2, out_chans=16, use_rel_pos=True, global_attn_indexes=(1,)
        ),
        PromptEncoder(embed_dim=16, image_embedding_size=(4, 4), input_image_size=(64, 64), mask_in_chans=16),
        MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=16, mlp_dim=32, num_heads=2),
            transformer_dim=16,
        ),
    )


def weights() -> dict[str, Tensor]:
    """A state dict, the same every time."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return {name: torch.randn_like(value) for name, value in build().state_dict().items()}
