"""Who drew a slide's picture, as the picture itself says: a text chunk of the PNG, right behind its header."""

import json
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from sammil_cli.errors import InputError
from sammil_cli.storage.guarded_json import parse_json

_KEYWORD = b"sammil drawn by"
_HEADER = 33  # bytes of a PNG's signature and its chunk IHDR
_MOST = 1 << 20


@dataclass(frozen=True, kw_only=True)
class DrawnBy:
    """The names of the models; `seen`: whether any of them was trained or chosen on the slide, None = not known."""

    models: tuple[str, ...]
    seen: bool | None


def signed(png: bytes, by: DrawnBy) -> bytes:
    """A picture that says who drew it (PNG, 11.3.3.2: tEXt)."""
    text = json.dumps({"models": by.models, "seen": by.seen}).encode()  # ASCII
    body = b"tEXt" + _KEYWORD + b"\0" + text
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:_HEADER] + chunk + png[_HEADER:]


def drawn_by(path: Path) -> DrawnBy | None:
    """Who drew the picture in a file; None where it does not say so, as those of earlier versions."""
    try:
        with path.open("rb") as stream:
            stream.seek(_HEADER)
            length, kind = struct.unpack(">I4s", stream.read(8))
            body = stream.read(length) if kind == b"tEXt" and length < _MOST else b""
        keyword, _, text = body.partition(b"\0")
        said = parse_json(text, path) if keyword == _KEYWORD else None
    except (OSError, struct.error, InputError):
        return None
    if not isinstance(said, dict) or not isinstance(said.get("models"), list):
        return None
    seen = said.get("seen")
    return DrawnBy(models=tuple(map(str, said["models"])), seen=seen if isinstance(seen, bool) else None)
