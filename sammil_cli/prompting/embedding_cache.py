"""Embeddings of fields by the frozen image encoder: as long as there is room, no picture is embedded twice."""

from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file
from segment_anything.modeling import Sam
from torch import Tensor

from sammil_cli.regions.sam_engine.image_encoder import prepare
from sammil_cli.regions.sam_models.embed import Embedder, Seen
from sammil_cli.slides.pixels import RGB

Pair = tuple[Seen, Seen]  # of HR and LR, each of one picture
Key = tuple[str, int, bool]  # slide, number of the field, mirrored
_NAMES = ("high.embedding", "high.early", "low.embedding", "low.early")


class EmbeddingCache:
    """Embeds HR and LR of fields, and keeps what it is given a key for until its room is used up.

    Each picture is embedded by itself: what becomes of it does not depend on what was kept, nor on what lies beside it
    in a batch. So a run that goes on after a kill, with nothing kept, has the same numbers.

    `asked`, `computed`: pairs of pictures so far; `kept_bytes`: what they take.

    Args:
        room_bytes: for all that is kept.
        folder: where it is kept; None = in memory.
    """

    def __init__(self, sam: Sam, embedder: Embedder, *, room_bytes: int, folder: Path | None = None) -> None:
        self._sam, self._embedder = sam, embedder
        self._room, self._folder = room_bytes, folder
        self._kept: dict[Key, dict[str, Tensor] | Path] = {}
        self.asked = self.computed = self.kept_bytes = 0

    def pair(self, key: Key | None, read: Callable[[], tuple[RGB, RGB]]) -> Pair:
        """The embeddings of a field's pictures, on the model's device.

        Args:
            key: names the pictures; None = they are of no use later on.
            read: HR and LR; called where they are not kept.
        """
        self.asked += 1
        found = None if key is None else self._kept.get(key)
        if found is not None:
            tensors = load_file(found) if isinstance(found, Path) else found
            return _pair([tensors[name].to(self._sam.device) for name in _NAMES])
        self.computed += 1
        high, low = (self._embedder.see(prepare(picture, self._sam)) for picture in read())
        if key is not None:
            self._keep(key, dict(zip(_NAMES, (*high, *low), strict=True)))
        return high, low

    def _keep(self, key: Key, tensors: dict[str, Tensor]) -> None:
        size = sum(value.numel() * value.element_size() for value in tensors.values())
        if self.kept_bytes + size > self._room:
            return
        self.kept_bytes += size
        held = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        if self._folder is None:
            self._kept[key] = held
            return
        path = self._folder / f"{len(self._kept)}.safetensors"
        save_file(held, path)
        self._kept[key] = path


def _pair(tensors: list[Tensor]) -> Pair:
    return Seen(*tensors[:2]), Seen(*tensors[2:])


def pair_bytes(width: int, early_width: int, side_px: int) -> int:
    """What one pair takes: float32, both resolutions.

    Args:
        width, early_width: channels of embedding and early feature. side_px: of the pictures.
    """
    return 2 * 4 * (width + early_width) * (side_px // 16) ** 2
