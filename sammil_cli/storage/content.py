"""What a file is by its first bytes, whatever its name says: for messages on files that are not what they should be."""

import re
from dataclasses import dataclass
from pathlib import Path

_HEAD = 4096  # bytes
_SHOWN = 60  # characters of a text
_AGAIN = "download it again"
_UNPACK = "unpack it"
_XML = "copy or download the file itself; annotations belong elsewhere"
# (offset, bytes, what it is, fix: what to do, or the suffix that it should have)
_MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"PK\x03\x04", "a zip archive", _UNPACK),
    (0, b"PK\x05\x06", "an empty zip archive", "pack or copy it again"),
    (0, b"\x1f\x8b", "a gzip archive", _UNPACK),
    (0, b"BZh", "a bzip2 archive", _UNPACK),
    (0, b"\xfd7zXZ\0", "an xz archive", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a rar archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"%PDF", "a PDF document", "copy the file itself"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document of an older Microsoft Office", "copy the file itself"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", "copy the file itself; features belong elsewhere"),
    (0, b"L\0\0\0\x01\x14\x02\0", "a shortcut of Windows", "copy the file that it points to"),
    (0, b"\0\x05\x16\x07", "what macOS keeps beside a file, without its content", "copy the file itself"),
    (128, b"DICM", "a DICOM file", ".dcm"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG picture", ".png"),
    (0, b"\xff\xd8\xff", "a JPEG picture", ".jpg"),
    (0, b"II*\0", "a TIFF", ".tif"),
    (0, b"MM\0*", "a TIFF", ".tif"),
    (0, b"II+\0", "a BigTIFF", ".tif"),
    (0, b"MM\0+", "a BigTIFF", ".tif"),
    (0, b"ZISRAWFILE", "a Zeiss CZI file", ".czi"),
    (4, b"jP  \r\n\x87\n", "a JPEG 2000 picture", "convert it with vips tiffsave, to pyramidal TIFF"),
    (0, b"GIF8", "a GIF picture", "convert it with vips tiffsave, to pyramidal TIFF"),
)


@dataclass(frozen=True)
class Content:
    """`what` a file is (`a zip archive`), and the `fix` where it should be something else.

    `suffix`: of files with such content, where that is all that is amiss; "" = there is more. `plain`: text of no kind
    that is known, or blank.
    """

    what: str
    fix: str
    suffix: str = ""
    plain: bool = False


def content_of(path: Path) -> Content | None:
    """What a file is; None where its first bytes do not say it, or it cannot be read."""
    try:
        with path.open("rb") as stream:
            head, size = stream.read(_HEAD), stream.seek(0, 2)
    except OSError:
        return None
    return content_of_bytes(head, size)


def content_of_bytes(head: bytes, size: int) -> Content | None:
    """The same of the first bytes of a file of `size` bytes."""
    for offset, magic, what, fix in _MAGIC:
        if head.startswith(magic, offset):
            return Content(what, f"rename it to end in {fix}", fix) if fix[0] == "." else Content(what, fix)
    if head and not head.strip(b"\0"):
        return Content(f"zeros from its first byte on ({size} bytes): a copy that was not finished", _AGAIN)
    text = _text(head) if head else None
    return None if text is None else _content_of_text(text, size)


def _text(head: bytes) -> str | None:
    """The first characters, if they are text: no control characters but tabs and line ends."""
    code = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    text = head.decode(code, "replace")
    if len(head) == _HEAD:
        text = text.rstrip("\ufffd")  # a character that was cut
    odd = sum(not (c.isprintable() or c in "\t\r\n\f") or c == "\ufffd" for c in text)
    return None if odd else text.strip()


def _content_of_text(text: str, size: int) -> Content:
    low = text.lower()
    if text.startswith("version https://git-lfs.github.com/spec/"):
        length = re.search(r"^size (\d+)", text, re.MULTILINE)
        meant = f" of a file of {length.group(1)} bytes" if length else ""
        return Content(f"a Git LFS pointer ({size} bytes){meant}, not the file itself", "run: git lfs pull")
    if re.match(r"[./\\]*(git)?[./\\]*annex[/\\]objects[/\\]", low):
        return Content("a git-annex pointer, not the file itself", "run: git annex get FILE")
    if re.match(r"(md5: \w+\n.*)?outs:\s*\n- md5:", low, re.DOTALL):
        return Content("a pointer of DVC, not the file itself", "run: dvc pull")
    if re.match(r"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<(!doctype )?html", low, re.DOTALL):
        title = re.search(r"<title[^>]*>\s*(.*?)\s*</title", text, re.DOTALL | re.IGNORECASE)
        named = f" with the title {_shown(title.group(1))}" if title and title.group(1) else ""
        return Content(f"a web page{named}", f"{_AGAIN}: the link may need a login or lead to a page about the file")
    if low.startswith("<?xml") or re.match(r"<[a-z][\w:.-]*[\s>/]", low):
        return Content(f"XML text that begins {_shown(text)}", _XML)
    if text[:1] in ("{", "["):
        return Content(f"JSON text that begins {_shown(text)}", f"{_AGAIN}: this may be a server's answer")
    if not text:
        return Content(f"blank ({size} bytes)", _AGAIN, plain=True)
    return Content(f"text that begins {_shown(text)}", "copy or download the file itself", plain=True)


def _shown(text: str) -> str:
    line = " ".join(text[: 2 * _SHOWN].split())
    return repr(line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…")
