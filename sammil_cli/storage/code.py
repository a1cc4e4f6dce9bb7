"""The version of a step's code: results made by other code are stale."""

import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


@cache
def code_version(*places: str) -> str:
    """Digest of the Python sources in some places of the package (`tissue`, `stages/sam.py`, …), in hex, 16 digits.

    Line ends are normalised, so that it is the same on every platform.
    """
    total = hashlib.sha256()
    for place in sorted(places):
        path = PACKAGE / place
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            total.update(file.relative_to(PACKAGE).as_posix().encode())
            total.update(file.read_bytes().replace(b"\r\n", b"\n"))
    return total.hexdigest()[:16]
