"""A figure as the bytes of a PNG."""

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def to_png(figure: Figure) -> bytes:
    """A figure as PNG; the same figure gives the same bytes."""
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
