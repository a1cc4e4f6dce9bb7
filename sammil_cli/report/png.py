"""A figure as the bytes of a PNG, its text as it stands."""

import io
import warnings
from typing import TYPE_CHECKING

from sammil_cli.storage.shown_text import shortened, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def to_png(figure: "Figure") -> bytes:
    """A figure as PNG; the same figure gives the same bytes.

    Names of slides and classes stand in it: `$` and TeX mean nothing, and what nobody sees is written out.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_usetex(False)
        text.set_text(shown(text.get_text()))
    stream = io.BytesIO()
    with warnings.catch_warnings():  # letters that the font lacks are drawn as boxes
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        FigureCanvasAgg(figure).print_figure(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def lettering(name: str, most: int) -> str:
    """A name as a figure has room for it: at most `most` characters, with its beginning and its end."""
    return shortened(shown(name), most)
