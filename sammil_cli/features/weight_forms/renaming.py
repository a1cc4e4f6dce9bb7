"""What key maps are made of: weights under other names, queries, keys and values in one, places on another grid."""

import re
from collections.abc import Sequence

import torch
from torch.nn.functional import interpolate

State = dict[str, torch.Tensor]
Pairs = Sequence[tuple[str, str]]  # how names begin, there and here; {} stands for the number of a block

_PARTS = ("q", "k", "v")
_ONE = re.compile(r"(blocks\.\d+\.attn)\.q\.(weight|bias)")


def renamed(state: State, pairs: Pairs) -> State:
    """The state with other names, by the first pair that fits; a name that none fits stays."""
    rules = [(re.compile(re.escape(old).replace(r"\{\}", r"(\d+)")), new) for old, new in pairs]
    found: State = {}
    for name, value in state.items():
        for pattern, new in rules:
            if match := pattern.match(name):
                name = new.format(*match.groups()) + name[match.end() :]
                break
        found[name] = value
    return found


def turned(pairs: Pairs) -> Pairs:
    """The pairs for the way back."""
    return [(new, old) for old, new in pairs]


def without(state: State, beginnings: tuple[str, ...]) -> State:
    """The state but for names that begin so."""
    return {name: value for name, value in state.items() if not name.startswith(beginnings)}


def joined(state: State) -> State:
    """Weights `blocks.0.attn.q.`, `k.` and `v.` in one, `qkv.`, in this order, as timm keeps them.

    Those of a block that lacks one, or where they differ in width, stay.
    """
    found = dict(state)
    for name in state:
        if not (match := _ONE.fullmatch(name)):
            continue
        names = [f"{match[1]}.{part}.{match[2]}" for part in _PARTS]
        values = [state[one] for one in names if one in state]
        if len(values) == len(_PARTS) and len({value.shape[1:] for value in values}) == 1:
            for one in names:
                del found[one]
            found[f"{match[1]}.qkv.{match[2]}"] = torch.cat(values)
    return found


def parted(state: State) -> State:
    """The way back from `joined`."""
    found: State = {}
    for name, value in state.items():
        if ".attn.qkv." in name:
            thirds = value.chunk(len(_PARTS))
            found |= {name.replace(".qkv.", f".{part}."): one for part, one in zip(_PARTS, thirds, strict=True)}
        else:
            found[name] = value
    return found


def class_place_folded(state: State) -> State:
    """The class token with its place added to it, in a network with registers: timm gives places to patches only.

    `pos_embed` (1, 1 + n, d) becomes (1, n, d). Registers have no place in either form.
    """
    token, places = state.get("cls_token"), state.get("pos_embed")
    if "reg_token" not in state or token is None or places is None:
        return state
    if token.ndim != 3 or places.ndim != 3 or token.shape[2] != places.shape[2]:
        return state
    return {**state, "cls_token": token + places[:, :1], "pos_embed": places[:, 1:]}


def class_place_unfolded(state: State) -> State:
    """A way back from `class_place_folded`: half of the token is its place, so that the sum is the same to the bit."""
    if "reg_token" not in state:
        return state
    half = state["cls_token"] / 2
    return {**state, "cls_token": half, "pos_embed": torch.cat([half, state["pos_embed"]], dim=1)}


def on_grid(state: State, px: int, *, kludge: float = 0.0) -> State:
    """The places of class token and patches (1, 1 + n², d) for images of `px`: bicubic, not antialiased.

    So do DINO and transformers' Dinov2, at every image. timm's own way smooths besides, which gives other numbers.
    Places that are on the grid already stay as they are, and so do those of no square.

    Args:
        kludge: what DINO adds to the side of the new grid, against rounding, before it takes the quotient of sides.
    """
    places, kernel = state.get("pos_embed"), state.get("patch_embed.proj.weight")
    if places is None or kernel is None or places.ndim != 3 or kernel.ndim != 4:
        return state
    count, side = places.shape[1] - 1, px // kernel.shape[-1]
    old = round(max(count, 0) ** 0.5)
    if old * old != count or old in (0, side):
        return state
    grid = places[:, 1:].float().reshape(1, old, old, -1).permute(0, 3, 1, 2)
    how = {"scale_factor": ((side + kludge) / old,) * 2} if kludge else {"size": (side, side)}
    fitted = interpolate(grid, mode="bicubic", align_corners=False, **how)
    tiles = fitted.permute(0, 2, 3, 1).reshape(1, side * side, -1)
    return {**state, "pos_embed": torch.cat([places[:, :1].float(), tiles], dim=1)}


def gated(state: State) -> bool:
    """Whether the perceptrons are SwiGLU: the first layer makes gate and value, twice what the second takes."""
    first, second = state.get("blocks.0.mlp.fc1.weight"), state.get("blocks.0.mlp.fc2.weight")
    return first is not None and second is not None and first.shape[0] == 2 * second.shape[1]
