"""µm per pixel: where the number comes from, whether it can be true, and what is odd about it."""

import math
import re
import statistics
import unicodedata
from collections.abc import Mapping

from sammil_cli.errors import SlideError

Mpp = tuple[float, float]  # µm per level-0 pixel in x and y

_POSSIBLE = (0.02, 100.0)  # outside of it the number is a slip
_USUAL = (0.1, 2.0)
_SQUARE = 0.02  # pixels whose sides differ by more are no squares
_NEARLY_SQUARE = 0.005
_OBJECTIVE_MPP = 10.0  # µm per pixel times power, of nearly all scanners: 0.25 at 40x, 0.5 at 20x
_OBJECTIVE_FACTOR = 1.6
_LONGEST_TEXT = 10_000  # characters of a description
_LIKE = 1.25  # resolutions that differ by less are of one kind
_SMALLEST_COHORT = 5
_RARE = 0.2
_PRINTERS_DPI = 1250.0  # 72, 96, 300, 1200 dots per inch are for paper; a slide has 12 700 at 2 µm per pixel

_INCH_UM = 25_400.0
_METRE_UM = 1e6
# The lengths of the OME schema that a pixel may have, and what else people write for them.
_UNITS_UM = {
    **{"m": _METRE_UM, "dm": 1e5, "cm": 1e4, "mm": 1e3, "μm": 1.0, "nm": 1e-3, "pm": 1e-6, "Å": 1e-4},
    **{"in": _INCH_UM, "thou": _INCH_UM / 1e3, "li": _INCH_UM / 12, "pt": _INCH_UM / 72},
    **{"ft": 12 * _INCH_UM, "yd": 36 * _INCH_UM},
    **{"um": 1.0, "inch": _INCH_UM, "angstrom": 1e-4},
    **dict.fromkeys(("micron", "microns", "micrometer", "micrometre", "micrometers", "micrometres"), 1.0),
    **dict.fromkeys(("millimeter", "millimetre"), 1e3),
    **dict.fromkeys(("centimeter", "centimetre"), 1e4),
    **dict.fromkeys(("nanometer", "nanometre"), 1e-3),
}

TIFF_TAGS = "TIFF tags"
HOW_TO_ADD = "add to data/slides.csv (first line slide_id,mpp)"


def resolve_mpp(mpp: Mpp | None, source: str, slide_id: str, override: float | None) -> tuple[float, str]:
    """µm per level-0 pixel and where the number came from; never guessed.

    Args:
        mpp: what the file says, None = nothing.
        source: where it says it, or why nothing can be made of what it says.
        override: what the user says; it wins.

    Raises:
        SlideError: `E_MPP`, the file does not say, or says something that cannot be.
    """
    if override is not None:
        return override, "slides.csv"
    fix = f"{HOW_TO_ADD}: {table_line(slide_id)}"
    if mpp is None:
        reason = f": {source}" if source else ""
        raise SlideError("E_MPP", f"the file does not say its resolution (mpp){reason}", remedy=fix)
    mpp_x, mpp_y = mpp
    if min(mpp) <= 0:
        raise SlideError("E_MPP", f"{min(mpp):g} µm per pixel ({source}) cannot be right", remedy=fix)
    if abs(mpp_x - mpp_y) > _SQUARE * max(mpp_x, mpp_y):
        raise SlideError("E_MPP", f"pixels are not square: {mpp_x:g} x {mpp_y:g} µm", remedy=fix)
    mean = (mpp_x + mpp_y) / 2
    if not _POSSIBLE[0] <= mean <= _POSSIBLE[1]:
        raise SlideError("E_MPP", f"{mean:g} µm per pixel ({source}) cannot be right", remedy=fix)
    return mean, source


def table_line(slide_id: str) -> str:
    """The line that gives a slide its resolution in `data/slides.csv`."""
    quoted = f'"{slide_id}"' if "," in slide_id else slide_id
    return f"{quoted},<µm per pixel of level 0>"


def from_tiff_tags(x_per_unit: float, y_per_unit: float, unit: str) -> Mpp | None:
    """µm per pixel from TIFF's resolution tags; None where they say nothing, or the resolution of a printer.

    Args:
        unit: `inch` or `centimeter`; anything else is no length.
    """
    length_um = _UNITS_UM[unit] if unit in ("inch", "centimeter") else None
    if length_um is None or not (0 < x_per_unit < math.inf and 0 < y_per_unit < math.inf):
        return None
    if max(x_per_unit, y_per_unit) * _INCH_UM / length_um <= _PRINTERS_DPI:
        return None
    return length_um / x_per_unit, length_um / y_per_unit


def number(text: str) -> float | None:
    """A number as files have it, also with the comma of some countries; None where the text is no finite number."""
    if not re.fullmatch(r"\s*[+-]?([0-9]+[.,]?[0-9]*|[.,][0-9]+)([eE][+-]?[0-9]+)?\s*", text):
        return None
    value = float(text.replace(",", "."))
    return value if math.isfinite(value) else None


def in_aperio(description: str, name: str) -> str:
    """What Aperio's description says under a name, all of it where it says several things: `0.25 / 0.5`."""
    found = re.findall(rf"\|\s*{name}\s*=([^|\r\n]*)", description[:_LONGEST_TEXT])
    return " / ".join(dict.fromkeys(text.strip() for text in found))


def no_number(name: str, text: str) -> str:
    """Why a resolution is not known, for `resolve_mpp`."""
    return f"{name} is {text[:40]!r}, not one number"


def micrometres(text: str, unit: str) -> float | None:
    """A length in µm; None where text is no number, or unit (`nm`, `Å`, `in`, …) no length, such as `pixel`."""
    value = number(text)
    factor = unit_um(unit)
    return None if value is None or factor is None else value * factor


def unit_um(unit: str) -> float | None:
    """How many µm a unit of length has, None where it is none; both signs for micro and for Å are known."""
    word = unicodedata.normalize("NFKC", unit).strip()
    return _UNITS_UM.get(word if len(word) <= 2 else word.lower())  # Mm is no mm


def magnification(text: str) -> float | None:
    """The power of a lens: 20 of `20`, `20x`, `Plan-Apochromat 20x/0.8`; None where the text says none."""
    found = re.search(r"(?<![0-9.,])([0-9]+(?:[.,][0-9]+)?)\s*[xX×]", text)
    value = number(found.group(1) if found else text)
    return value if value is not None and value > 0 else None


def flags(mpp: float, stored: Mpp | None, objective: float | None) -> list[str]:
    """What is odd about a slide's resolution; none of it stops the slide.

    Args:
        mpp: what is used.
        stored: what the file says in x and y.
        objective: the power of the lens, such as 40; None = unknown.
    """
    found = []
    if not _USUAL[0] <= mpp <= _USUAL[1]:
        found.append(f"{mpp:g} µm per pixel is unusual ({_USUAL[0]:g} to {_USUAL[1]:g})")
    if stored is not None:
        x, y = stored
        if abs(x - y) > _NEARLY_SQUARE * max(x, y):
            found.append(f"x and y differ: {x:g}, {y:g} µm per pixel")
        file_mpp = (x + y) / 2
        if file_mpp > 0 and max(file_mpp, mpp) > _LIKE * min(file_mpp, mpp):
            found.append(f"slides.csv says {mpp:g}, the file {file_mpp:g} µm per pixel")
    if objective is not None and objective > 0:
        expected = _OBJECTIVE_MPP / objective
        if max(mpp, expected) > _OBJECTIVE_FACTOR * min(mpp, expected):
            found.append(f"{mpp:.4g} µm per pixel does not go with {objective:g}x (about {expected:.3g})")
    return found


def outliers(mpp: Mapping[str, float]) -> dict[str, str]:
    """Slides whose resolution is far from the cohort's median and shared by few of it; why, by slide id.

    Two large groups (20x and 40x) are a mixed cohort, not outliers.
    """
    if len(mpp) < _SMALLEST_COHORT:
        return {}
    median = statistics.median_low(mpp.values())
    found = {}
    for slide_id, value in mpp.items():
        alike = sum(max(value, other) <= _LIKE * min(value, other) for other in mpp.values())
        if max(value, median) > _LIKE * min(value, median) and alike < _RARE * len(mpp):
            found[slide_id] = f"unlike the other slides: {value:.4g} µm per pixel, most have about {median:.4g}"
    return found
