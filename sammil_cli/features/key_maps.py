"""Key maps: from the names under which weights are published to those of timm's networks, and back.

`KEY_MAPS[name]` takes the state dict of a file. What it does not know keeps its name, and what is damaged its shape, so
that whoever loads the weights can say what is missing and what is unknown. Left out is only what belongs to another
part of the publisher's model, such as a text tower, or to its training.

`PUBLISHED_NAMES[name]` is the way back, for tests: weights by timm's names as the file would hold them.
"""

from collections.abc import Callable, Mapping

from sammil_cli.features.weight_forms import clip_forms, dino_forms, timm_forms, transformers_forms
from sammil_cli.features.weight_forms.renaming import State

KeyMap = Callable[[State], State]

_BOTH_WAYS: Mapping[str, tuple[KeyMap, KeyMap]] = {
    "timm": (dict, dict),
    "timm_encoder": (timm_forms.from_encoder, timm_forms.to_encoder),
    "timm_old_swin": (timm_forms.from_old_swin, timm_forms.to_old_swin),
    "transformers_vit": (transformers_forms.from_vit, transformers_forms.to_vit),
    "transformers_dinov2": (transformers_forms.from_dinov2, transformers_forms.to_dinov2),
    "dinov2": (dino_forms.from_dinov2, dino_forms.to_dinov2),
    "dinov2_teacher": (dino_forms.from_dinov2, dino_forms.to_dinov2_teacher),
    "dino_teacher": (dino_forms.from_dino_teacher, dino_forms.to_dino_teacher),
    "transformers_clip": (clip_forms.from_transformers, clip_forms.to_transformers),
    "open_clip": (clip_forms.from_open_clip, clip_forms.to_open_clip),
    "open_clip_timm": (clip_forms.from_open_clip_timm, clip_forms.to_open_clip_timm),
    "keep": (clip_forms.from_keep, clip_forms.to_keep),
}

KEY_MAPS: Mapping[str, KeyMap] = {name: to_timm for name, (to_timm, _) in _BOTH_WAYS.items()}
PUBLISHED_NAMES: Mapping[str, KeyMap] = {name: back for name, (_, back) in _BOTH_WAYS.items()}
