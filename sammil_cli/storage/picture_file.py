"""Pictures on disk: JPEG and PNG, by the name's suffix."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.storage.files import atomic_path

_JPEG_QUALITY = 88


def write_picture(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Writes a picture (h, w, 3) atomically.

    OpenCV encodes it, and Python opens the file: OpenCV crashes on a path that is no UTF-8.

    Raises:
        OSError: the picture cannot be encoded, or the file not written.
    """
    content = encode_picture(path.suffix, rgb)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def encode_picture(suffix: str, rgb: NDArray[np.uint8]) -> bytes:
    """A picture (h, w, 3) as the file of that suffix.

    Raises:
        OSError: it cannot be encoded.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if suffix == ".jpg" else []
    encoded, content = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    if not encoded:
        raise OSError(f"OpenCV cannot encode a {suffix}")
    return content.tobytes()
