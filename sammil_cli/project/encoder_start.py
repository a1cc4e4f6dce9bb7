"""What a new project takes from its encoder: the patches that suit it; and what is said of its weights."""

from sammil_cli import choices
from sammil_cli.config import Settings
from sammil_cli.features.own_patches import OwnPatches
from sammil_cli.storage.weights import WantedWeights


def settings_for(word: str) -> dict[str, object]:
    """The settings that suit an encoder: its word, and side and µm per pixel of its patches, as far as they are known.

    Raises:
        InputError: there is no such encoder; the remedy has a near word.
    """
    own: OwnPatches | None = getattr(choices.load(choices.ENCODERS, word), "PATCHES", None)
    found: dict[str, object] = {"encoder": word}
    if own is not None:
        found |= {"patch_px": own.px} | ({"patch_mpp": own.mpp} if own.mpp else {})
    return found


def lines_on(word: str) -> list[str]:
    """What to know of an encoder before it is used: the patches that it is for, its weights, and who may use them."""
    encoder = choices.load(choices.ENCODERS, word)
    row, own = getattr(encoder, "row", None), getattr(encoder, "PATCHES", None)
    lines = [f"encoder {word}" + (f": {row.title}, {row.about}" if row else "")]
    if own is not None:
        at = f"{own.mpp:g} µm per pixel" if own.mpp else "a resolution that nobody states: choose patch_mpp yourself"
        lines.append(f"  patches  {own.px} px at {at}")
    if not hasattr(encoder, "wanted_weights"):
        return [*lines, "  weights  none needed"]
    wanted: WantedWeights = encoder.wanted_weights(Settings(encoder=word).model_dump())
    if (published := wanted.published) is None:
        return [*lines, "  weights  your own: set encoder_backbone and encoder_weights in params.yaml"]
    gated = f"gated: ask for access at {published.page}, then " if published.gated else ""
    return [*lines, f"  weights  {gated}sammil weights fetch {published.word}", f"  licence  {published.terms}"]
