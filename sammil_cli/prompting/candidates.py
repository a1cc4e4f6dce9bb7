"""Who is judged: a SAM alone, a SAM with WSI-SAM's tokens, and what needs no model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from skimage.filters import threshold_otsu
from torch import Tensor

from sammil_cli.backends.backend import Precision
from sammil_cli.choices import one_of
from sammil_cli.config import SamSettings
from sammil_cli.errors import InputError, MissingError
from sammil_cli.prompting.dice import Mask
from sammil_cli.prompting.promptable import PlainSam, Promptable, TwoResolutions
from sammil_cli.regions.proposers import sam, wsi_sam
from sammil_cli.regions.sam_models.build import EARLY_WIDTH, SAM_MODELS, Colours, load_sam
from sammil_cli.regions.sam_models.embed import Embedder, Seen
from sammil_cli.regions.wsi_sam.model import WsiSam
from sammil_cli.regions.wsi_sam.published_files import PUBLISHED_FILES
from sammil_cli.regions.wsi_sam.tokens import TokenFacts, are_tokens, check_sam, fit, read_tokens
from sammil_cli.slides.pixels import RGB
from sammil_cli.storage.files import Record
from sammil_cli.storage.weights import WantedWeights, sha256_of
from sammil_cli.tissue.segmenters.saturation import saturation_of

SAM, WSI_SAM = "sam", "wsi-sam"
FILLED_BOX, DENSITY, SATURATION = "filled box", "Otsu on optical density in the box", "Otsu on saturation in the box"
_HOW = "write --checkpoint NAME=FILE; NAME=vit_b:FILE for another sam_model, NAME=vit_b,min-max:FILE for MedSAM"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A model by its files: `word` of `SAM_MODELS`, the frozen SAM's checkpoint, and tokens where it has some.

    `colours`: that the SAM sees, see `load_sam`.
    """

    name: str
    word: str
    sam: Path
    sam_sha256: str
    colours: Colours
    tokens: Path | None = None
    tokens_sha256: str | None = None

    @property
    def facts(self) -> TokenFacts | None:
        """What the tokens were trained with; None without tokens, and of published ones."""
        return None if self.tokens is None else read_tokens(self.tokens).facts

    def described(self) -> Record:
        """By what it can be found again."""
        return {
            "sam_model": self.word,
            "sam_sha256": self.sam_sha256,
            "sam_colours": self.colours,
            "tokens_sha256": self.tokens_sha256,
            "trained_mpp": None if (facts := self.facts) is None else facts.mpp,
        }


def find_candidates(
    settings: SamSettings, models: Sequence[str], checkpoints: Sequence[str], tokens: Path | None
) -> list[Candidate]:
    """The models that are asked for, by name; their files are there, and tokens belong to their SAM.

    Args:
        models: of `SAM` and `WSI_SAM`: the SAM of the settings, alone and with tokens.
        checkpoints: `NAME=FILE`, `NAME=WORD:FILE` or `NAME=WORD,min-max:FILE`, a checkpoint of a SAM; or tokens, on the
            SAM of the settings.
        tokens: those of a training run, which come before `wsi_sam_tokens`.

    Raises:
        InputError: an unknown model, a name that is taken or cannot be read, or no tokens for `WSI_SAM`.
        MissingError: a file is not there, or tokens are of another SAM.
    """
    path, sha256 = sam.wanted_weights(settings.model_dump()).find()
    plain = Candidate(name=SAM, word=settings.sam_model, sam=path, sam_sha256=sha256, colours=settings.sam_colours)
    found: list[Candidate] = []
    for name in models:
        if name not in (SAM, WSI_SAM):
            raise InputError(f"there is no model {name!r} to judge", remedy=f"{one_of(name, (SAM, WSI_SAM))}; {_HOW}")
        found.append(plain if name == SAM else _with_tokens(plain, WSI_SAM, _own_tokens(settings, tokens)))
    found += [_checkpoint(plain, text) for text in checkpoints]
    names = [candidate.name for candidate in found]
    for name in names:
        if names.count(name) > 1 or name in (FILLED_BOX, DENSITY, SATURATION):
            raise InputError(f"two of what is judged are called {name!r}", remedy="give each its own name")
    return found


def _own_tokens(settings: SamSettings, trained: Path | None) -> tuple[Path, str]:
    """Tokens with their sha256."""
    if trained is not None:
        return _tokens(trained)
    wanted = wsi_sam.wanted_weights(settings.model_dump()).beside
    if wanted is None or wanted.own is None:
        raise InputError(
            f"{WSI_SAM} is to be judged, and no tokens are named",
            remedy="give the folder of a training (--run runs/wsi_sam), or set wsi_sam_tokens",
        )
    return wanted.find()


def _tokens(path: Path) -> tuple[Path, str]:
    return WantedWeights(published=None, key="wsi_sam_tokens", own=path, parts=PUBLISHED_FILES).find()


def _checkpoint(plain: Candidate, text: str) -> Candidate:
    name, given, rest = text.partition("=")
    model, colon, file = rest.partition(":")
    word, comma, stretched = model.partition(",")
    colours: Colours = "min-max" if comma else "sam"
    if not colon or word not in SAM_MODELS or (comma and stretched != "min-max"):
        word, colours, file = plain.word, plain.colours, rest
    if not (name.strip() and given and file):
        raise InputError(f"--checkpoint {text!r} names no file", remedy=_HOW)
    path = Path(file)
    if not path.exists():
        raise MissingError(f"{path} does not exist (--checkpoint {name})", remedy=_HOW)
    if are_tokens(path):
        if (word, colours) != (plain.word, plain.colours):
            raise InputError(
                f"--checkpoint {text!r}: {path} holds tokens, which are judged on the SAM of params.yaml "
                f"(sam_model: {plain.word}, sam_colours: {plain.colours})",
                remedy=f"write {name.strip()}={path}, or set sam_model, sam_checkpoint and sam_colours",
            )
        return _with_tokens(plain, name.strip(), _tokens(path))
    return Candidate(name=name.strip(), word=word, sam=path, sam_sha256=sha256_of(path), colours=colours)


def _with_tokens(plain: Candidate, name: str, tokens: tuple[Path, str]) -> Candidate:
    path, sha256 = tokens
    check_sam(read_tokens(path), plain.sam_sha256)
    return replace(plain, name=name, tokens=path, tokens_sha256=sha256)


def loaded(
    candidates: Sequence[Candidate], device: str, precision: Precision
) -> Iterator[tuple[int, dict[str, Promptable]]]:
    """The models on a device, with the side of their pictures: those of one SAM together, one SAM at a time.

    Raises:
        MissingError: weights that do not fit the model.
    """
    for (path, word, colours), group in groupby(sorted(candidates, key=_sam_of), _sam_of):
        frozen = load_sam(path, word, colours).to(device)
        embedder = _Remembering(frozen, precision)
        models: dict[str, Promptable] = {}
        for one in group:
            if one.tokens is None:
                models[one.name] = PlainSam(frozen, embedder)
                continue
            model = WsiSam(frozen, EARLY_WIDTH[word])
            fit(model, read_tokens(one.tokens), one.sam_sha256)
            models[one.name] = TwoResolutions(model.to(device).eval(), embedder)
        yield int(frozen.image_encoder.img_size), models


def _sam_of(candidate: Candidate) -> tuple[Path, str, Colours]:
    return candidate.sam, candidate.word, candidate.colours


class _Remembering(Embedder):
    """Embeds a field's pictures once for all models that look at it: the last two are kept."""

    _kept: tuple[tuple[Tensor, Seen], ...] = ()

    def __call__(self, pixels: Tensor) -> Tensor:
        return self.see(pixels).embedding

    def see(self, pixels: Tensor) -> Seen:
        for picture, seen in self._kept:
            if torch.equal(picture, pixels):
                return seen
        seen = super().see(pixels)
        self._kept = (*self._kept[-1:], (pixels, seen))
        return seen


def _filled(picture: RGB, box: Mask) -> Mask:
    return box


def _dense(picture: RGB, box: Mask) -> Mask:
    return _above_otsu(-np.log10((picture.astype(np.float64) + 1) / 256).mean(2), box)


def _saturated(picture: RGB, box: Mask) -> Mask:
    return _above_otsu(saturation_of(picture).astype(np.float64), box)


def _above_otsu(stain: np.ndarray, box: Mask) -> Mask:
    """What is stained more than Otsu's threshold of the box (h, w), in it; all of a box of one colour."""
    inside = stain[box]
    if not inside.size or inside.min() == inside.max():
        return box
    found: Mask = box & (stain > threshold_otsu(inside))  # type: ignore[no-untyped-call]
    return found


# Masks (h, w) of a picture and the box (h, w, True inside) on it, without a model: what a model has to beat.
REFERENCES: Mapping[str, Callable[[RGB, Mask], Mask]] = {FILLED_BOX: _filled, DENSITY: _dense, SATURATION: _saturated}
