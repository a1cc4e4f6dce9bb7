"""What WSI-SAM adds to a SAM, on disk: one file of ours, or `net_high.pth` and `net_low.pth` as published."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sammil_cli.errors import InputError, MissingError
from sammil_cli.regions.sam_models.build import EARLY_WIDTH, Colours, colours_of, load_sam
from sammil_cli.regions.wsi_sam.branch import PARTS
from sammil_cli.regions.wsi_sam.model import WsiSam
from sammil_cli.regions.wsi_sam.published_files import PUBLISHED_FILES
from sammil_cli.storage.files import Record, as_stored
from sammil_cli.storage.state_dict import load_state
from sammil_cli.storage.tensor_file import read_tensors, write_tensors
from sammil_cli.storage.weights import sha256_of

_GIVE = f"give a file of sammil wsi-sam train, or a folder with {' and '.join(PUBLISHED_FILES)}"
_OTHER_SAM = "set sam_model and sam_checkpoint to the SAM that they were trained on, or train: sammil wsi-sam train"


@dataclass(frozen=True, kw_only=True)
class TokenFacts:
    """What tokens were trained with.

    `sam_model`, `sam_sha256`: the frozen SAM, as a word and as its checkpoint's sha256; they are of use with it alone.
    `mpp`: µm per pixel of HR. `side_px`: of both pictures. `colours`: of pictures, see `load_sam`.
    """

    sam_model: str
    sam_sha256: str
    mpp: float
    side_px: int
    provenance: Record
    colours: Colours = "sam"


class Tokens(NamedTuple):
    """What files hold.

    `added`: by the names of `WsiSam.added`. `facts`: None of published ones. `decoders`: of published ones the copy of
    SAM's `mask_decoder` in each file, by its own names.
    """

    added: dict[str, Tensor]
    facts: TokenFacts | None
    decoders: dict[Path, dict[str, Tensor]]


def write_tokens(path: Path, model: WsiSam, facts: TokenFacts) -> None:
    """Writes what trains, as .safetensors, atomically; the same tokens and facts give the same bytes."""
    write_tensors(path, {name: value.float() for name, value in model.added().items()}, as_stored(asdict(facts)))


def read_tokens(high: Path, low: Path | None = None) -> Tokens:
    """Tokens of ours, a file; or published ones: `high` and `low`, or a folder that has both by their names.

    No code of a file is run. Names, shapes and the frozen part are compared with a SAM by `fit`.

    Raises:
        MissingError: a file is not there, is damaged, or has no tokens.
    """
    if low is None and high.is_dir():
        high, low = (high / name for name in PUBLISHED_FILES)
    for path in (high, *([low] if low else [])):
        if not path.is_file():
            raise MissingError(f"{path} does not exist", remedy=_GIVE)
    if low is None:
        return _read_ours(high)
    added: dict[str, Tensor] = {}
    decoders = {}
    for branch, path in (("high", high), ("low", low)):
        state = load_state(path)
        added |= {f"{branch}.{name}": value for name, value in state.items() if name.split(".")[0] in PARTS}
        decoders[path] = {name: value for name, value in state.items() if name.split(".")[0] not in PARTS}
    return Tokens(added, None, decoders)


def _read_ours(path: Path) -> Tokens:
    if path.suffix.lower() != ".safetensors":
        raise MissingError(f"{path} is no file of both resolutions' tokens", remedy=_GIVE)
    load_state(path)  # says what it is, if no such file at all
    try:
        added, written = read_tensors(path)
        facts = TypeAdapter(TokenFacts).validate_python(written)
    except (InputError, ValidationError):
        raise MissingError(f"{path} is damaged, or holds no tokens of WSI-SAM", remedy=_GIVE) from None
    return Tokens(added, facts, {})


def are_tokens(path: Path) -> bool:
    """Whether `read_tokens` is to read it, rather than `load_sam`: a folder, or a file with names of `WsiSam.added`."""
    if path.suffix.lower() != ".safetensors":
        return path.is_dir()
    try:
        with safe_open(path, framework="pt") as file:
            return any(name.startswith("high.") for name in file.keys())  # noqa: SIM118 - a file, no mapping
    except (SafetensorError, OSError):
        return False


def fit(model: WsiSam, tokens: Tokens, sam_sha256: str) -> None:
    """Gives a model its tokens.

    Args:
        sam_sha256: of the model's checkpoint.

    Raises:
        MissingError: they were trained on another SAM or with other colours, or have other names or shapes (the first
            is named).
    """
    check_sam(tokens, sam_sha256)
    trained = tokens.facts.colours if tokens.facts else "sam"
    if trained != (seen := colours_of(model.sam)):
        raise MissingError(
            f"the tokens were trained with sam_colours: {trained}, and this SAM sees {seen}",
            remedy=f"set sam_colours: {trained}",
        )
    _compare(tokens.added, model.added(), "the tokens")
    for path, decoder in tokens.decoders.items():
        own = model.sam.mask_decoder.state_dict()
        _compare(decoder, own, str(path))
        # It was frozen: what differs belongs to another SAM.
        for name, value in own.items():
            if not torch.equal(decoder[name].to(value), value):
                raise MissingError(
                    f"{path} was trained on another SAM: its own copy of mask_decoder.{name} has other numbers",
                    remedy=_OTHER_SAM,
                )
    with torch.no_grad():
        for name, parameter in model.added().items():
            parameter.copy_(tokens.added[name])


def check_sam(tokens: Tokens, sam_sha256: str) -> None:
    """Refuses tokens that say that they belong to another SAM.

    Raises:
        MissingError: with both sums.
    """
    if tokens.facts and tokens.facts.sam_sha256 != sam_sha256:
        raise MissingError(
            f"the tokens were trained on another SAM ({tokens.facts.sam_model}): its sha256 is "
            f"{tokens.facts.sam_sha256}, this one's is {sam_sha256}",
            remedy=_OTHER_SAM,
        )


def _compare(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], what: str) -> None:
    """Refuses other names or shapes, and values that are not finite."""
    for name in sorted(found.keys() | wanted.keys()):
        if name not in found:
            raise MissingError(f"{what}: {name} is missing", remedy=_GIVE)
        if name not in wanted:
            raise MissingError(f"{what}: there is no {name} in WSI-SAM", remedy=_GIVE)
        if found[name].shape != wanted[name].shape:
            shapes = (" x ".join(map(str, each[name].shape)) for each in (found, wanted))
            raise MissingError(
                f"{what}: {name} is {next(shapes)}, and this SAM wants {next(shapes)}", remedy=_OTHER_SAM
            )
        if not found[name].isfinite().all():
            raise MissingError(f"{what}: {name} holds numbers that are not finite", remedy="copy the file again")


def load_wsi_sam(
    sam_path: Path, word: str, tokens: Path, *, sam_sha256: str | None = None, colours: Colours = "sam"
) -> WsiSam:
    """A SAM with its tokens, in eval mode, in float32.

    Args:
        word: of `sam_models.build.SAM_MODELS`.
        tokens: see `read_tokens`.
        sam_sha256: of `sam_path`; None = it is read for it.
        colours: see `load_sam`.

    Raises:
        MissingError: see `load_sam`, `read_tokens` and `fit`.
    """
    read = read_tokens(tokens)
    model = WsiSam(load_sam(sam_path, word, colours), EARLY_WIDTH[word])
    fit(model, read, sam_sha256 or sha256_of(sam_path))
    return model.eval()
