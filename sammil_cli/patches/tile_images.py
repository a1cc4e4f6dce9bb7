"""Pre-cut tiles as pictures: looked at all together, then read one by one, by the guarded reader of pictures."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sammil_cli.errors import SlideError
from sammil_cli.slides.formats.image import ImageReader
from sammil_cli.slides.formats.image import open_slide as open_picture
from sammil_cli.slides.pixels import RGB
from sammil_cli.storage.regular_file import is_endless

_LARGEST_SIDE_PX = 8192  # as that of a patch
_DEPTH_AT, _DEEP = 24, 16  # where a PNG says how many bits a colour has
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class TileLook:
    """What a slide's tiles are like: their side, and how many of them viewers would turn."""

    side_px: int
    turned: int


def look_at(paths: Sequence[Path], threads: int) -> TileLook:
    """Looks at the heads of a slide's tiles; decodes none. Tiles whose heads cannot be read do not count.

    Raises:
        SlideError: `E_TILES`, the tiles are of several sizes, no squares, or too large; `E_READ`, none can be read;
            `E_FORMAT`, one is no 8-bit picture.
    """
    with ThreadPoolExecutor(threads) as pool:
        heads = list(pool.map(_head, paths))
    sizes: dict[tuple[int, int], list[str]] = defaultdict(list)
    for path, head in zip(paths, heads, strict=True):
        if head is not None:
            sizes[head[0]].append(path.name)
    if not sizes:
        raise SlideError("E_READ", f"none of its {len(paths)} tiles can be read", remedy="copy or export them again")
    if len(sizes) > 1:
        usual, *others = sorted(sizes.items(), key=lambda one: -len(one[1]))
        listed = "; ".join(f"{w} x {h} px: {_few(names)}" for (w, h), names in others)
        raise SlideError(
            "E_TILES",
            f"its tiles are of {len(sizes)} sizes: {usual[0][0]} x {usual[0][1]} px {len(usual[1])} of them; {listed}",
            remedy="take those of another size out of the folder, or pad them",
        )
    (width, height) = next(iter(sizes))
    if width != height or width > _LARGEST_SIDE_PX:
        wrong = f"no squares of at most {_LARGEST_SIDE_PX} px"
        raise SlideError("E_TILES", f"its tiles have {width} x {height} px, {wrong}", remedy="cut square tiles")
    return TileLook(side_px=width, turned=sum(head is not None and head[1] for head in heads))


def read_tile(path: Path, side_px: int | None = None) -> RGB:
    """One tile (side, side, 3); transparent pixels lie on white glass, and nothing is turned.

    Args:
        side_px: that it must have; None = any.

    Raises:
        SlideError: `E_READ`, it is damaged, empty or gone; `E_FORMAT`, no 8-bit PNG or JPEG; `E_TILES`, another size.
    """
    reader = _open(path)
    try:
        width, height = reader.size_px
        if side_px is not None and (width, height) != (side_px, side_px):
            message = f"it has {width} x {height} px, the others {side_px} x {side_px}"
            raise SlideError("E_TILES", message, remedy="take it out of the folder")
        return reader.read((0, 0), 0, (width, height))
    except SlideError as error:
        raise _of_tile(path, error) from None
    finally:
        reader.close()


def tile_readers(paths: Sequence[Path], side_px: int, run: range) -> Iterator[Callable[[], RGB]]:
    """What reads each tile of a run, for `patches.images.prepared`."""
    return (partial(read_tile, paths[index], side_px) for index in run)


def _head(path: Path) -> tuple[tuple[int, int], bool] | None:
    """Size of a tile, and whether viewers turn it; None where it cannot be read."""
    try:
        reader = _open(path)
    except SlideError as error:
        if error.code != "E_READ":
            raise
        return None
    try:
        return reader.size_px, bool(reader.remarks)
    finally:
        reader.close()


def _open(path: Path) -> ImageReader:
    try:
        if is_endless(path):  # in the place of a file that was here: it would be waited for
            raise SlideError("E_READ", "it is no file", remedy="put a file in its place")
        with path.open("rb") as file:
            start = file.read(_DEPTH_AT + 1)
        if start.startswith(b"\x89PNG") and start[_DEPTH_AT:] == bytes([_DEEP]):
            fix = "export it as 8-bit RGB; what 16 bits stand for, nothing says"
            raise SlideError("E_FORMAT", "not an 8-bit picture: it has 16 bits per colour", remedy=fix)
        return open_picture(path)
    except OSError as error:
        raise _of_tile(path, SlideError("E_READ", str(error.strerror), remedy="copy it again")) from None
    except SlideError as error:
        raise _of_tile(path, error) from None


def _of_tile(path: Path, error: SlideError) -> SlideError:
    """The error with the tile's name; a file that is no picture at all counts as one that cannot be read."""
    code = "E_READ" if error.code == "E_OPEN" else error.code
    return SlideError(code, f"{path.name}: {error.message}", remedy=error.remedy)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
