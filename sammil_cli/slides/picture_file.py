"""Pictures as files. OpenCV's own writer says of a full disk no more than False."""

from pathlib import Path

import cv2
import numpy as np

from sammil_cli.slides.pixels import RGB
from sammil_cli.storage.files import atomic_path


def write_picture(path: Path, rgb: RGB, *, quality: int | None = None) -> None:
    """Writes a picture (h, w, 3) as its suffix says, PNG or, with a quality in per cent, JPEG."""
    options = [] if quality is None else [cv2.IMWRITE_JPEG_QUALITY, quality]
    content = cv2.imencode(path.suffix, np.ascontiguousarray(rgb[..., ::-1]), options)[1]  # OpenCV has BGR
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.tobytes())
