"""The version of a step's code: results made by other code are stale."""

import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


@cache
def code_version(*folders: str) -> str:
    """Digest of the Python sources in some folders of the package (`tissue`, `slides`, …), in hex, 16 digits.

    Line ends are normalised, so that it is the same on every platform.
    """
    total = hashlib.sha256()
    for folder in sorted(folders):
        for file in sorted((PACKAGE / folder).rglob("*.py")):
            total.update(file.relative_to(PACKAGE).as_posix().encode())
            total.update(file.read_bytes().replace(b"\r\n", b"\n"))
    return total.hexdigest()[:16]
