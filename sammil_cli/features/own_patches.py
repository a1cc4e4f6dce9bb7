"""The patches that an encoder is for, and what is odd about others."""

from dataclasses import dataclass

MPP_SPREAD = 1.1  # scanners of one magnification differ by less


@dataclass(frozen=True, kw_only=True)
class OwnPatches:
    """Patches as an encoder was trained on them.

    `px`: their side; `mpp`: µm per pixel, None = nobody says. `other_mpps`: others that it was trained at besides.
    """

    px: int
    mpp: float | None
    other_mpps: tuple[float, ...] = ()


def mpp_remark(word: str, own: OwnPatches, *, px: int, mpp: float, enlarged: float = 1.0) -> str:
    """What is odd about patches that an encoder is to see; empty where nothing is, or nobody knows.

    An encoder resizes what it is given, so that it sees a patch of another side at another resolution.

    Args:
        px, mpp: side and µm per pixel of the patches. enlarged: how much larger its input side is than its own.
    """
    seen = mpp * px / (own.px * enlarged)
    known = sorted({own.mpp, *own.other_mpps}) if own.mpp else []
    if not known or not mpp > 0 or any(one / MPP_SPREAD <= seen <= one * MPP_SPREAD for one in known):
        return ""
    *most, last = (f"{one:g}" for one in known)
    said = f"{', '.join(most)} or {last}" if most else last
    sees = f"these patches have {mpp:.3g}"
    if f"{seen:.3g}" != f"{mpp:.3g}":
        sees = f"sees these patches, {px} px at {mpp:.3g}, at {seen:.3g}"
        return f"encoder-mpp: {word} is for {said} µm per pixel, and {sees}"
    return f"encoder-mpp: {word} is for {said} µm per pixel, {sees}"
