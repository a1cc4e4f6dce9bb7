"""The registry of published encoders: one row each, `encoders/<word>.json`; docs/encoders.md is made of them.

What a row may hold is `EncoderRow`, for people and editors in `encoder_row.schema.json` (a test keeps it the same).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from sammil_cli.errors import InputError
from sammil_cli.storage.guarded_json import read_json
from sammil_cli.storage.weights import HubFile

FOLDER = Path(__file__).parent / "encoders"
SCHEMA = Path(__file__).parent / "encoder_row.schema.json"

Pooling = Literal["cls", "cls-mean", "mean", "pooled"]
Colour = tuple[float, float, float]  # of red, green, blue
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Side = Annotated[int, Field(ge=32, le=2048)]  # px


@dataclass(frozen=True, kw_only=True)
class _Facts:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True)
class HubSource(_Facts):
    """A file on the Hugging Face hub, in one revision. `megabytes`: 1e6 bytes; None = not known.

    `kept_as`: its name here, where it is another than those of all published files.
    """

    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Annotated[str, Field(pattern="^[0-9a-f]{40}$")]
    file: str
    sha256: Sha256
    megabytes: float | None = None
    kept_as: str | None = None

    @property
    def hub(self) -> HubFile:
        """The file as it is fetched."""
        return HubFile(repo=self.repo, revision=self.revision, file=self.file)

    @property
    def page(self) -> str:
        """What its publisher says of it."""
        return self.hub.page

    @property
    def url(self) -> str:
        """What serves the file."""
        return self.hub.url


@dataclass(frozen=True, kw_only=True)
class WebSource(_Facts):
    """A file that a plain address serves, such as a release on GitHub; the fields are as in `HubSource`."""

    url: Annotated[str, Field(pattern="^https://")]
    page: Annotated[str, Field(pattern="^https://")]
    file: str
    sha256: Sha256
    megabytes: float | None = None
    kept_as: str | None = None


@dataclass(frozen=True, kw_only=True)
class Licence(_Facts):
    """`commercial`: whether commercial use is allowed; None = not stated, or contested: the `note` says it."""

    name: str
    commercial: bool | None
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class Parameters(_Facts):
    """The parameters of the network that is run. `from_`: who counted them (`from` in the file)."""

    count: Annotated[int, Field(gt=0)]
    from_: Annotated[str, Field(alias="from")]


@dataclass(frozen=True, kw_only=True)
class TrainedMpp(_Facts):
    """µm per pixel of the patches; None = nobody says. `from_`: who does (`from` in the file).

    `others`: at which it was trained besides.
    """

    value: Annotated[float, Field(gt=0)] | None
    from_: Annotated[Literal["card", "paper", "convention"], Field(alias="from")]
    others: tuple[Annotated[float, Field(gt=0)], ...] = ()


@dataclass(frozen=True, kw_only=True)
class NetworkCall(_Facts):
    """How a library builds the network. Options that end in `_layer` name a layer: `SwiGLUPacked`, `SiLU`.

    `keys`: the map from the published names of weights to the library's, in `key_maps`; `timm` = they are the same.
    `head`: one in `network_parts`, in place of the library's.
    """

    library: Literal["timm"]
    name: str
    options: Mapping[str, bool | int | float | str | list[int]]
    keys: str
    head: Literal["KeepHead"] | None = None


@dataclass(frozen=True, kw_only=True)
class Preparation(_Facts):
    """A patch is resized to the side `resize_px`, cropped about its centre to `input_px` and normalised (of 0..1)."""

    input_px: Side
    resize_px: Side
    interpolation: Literal["bilinear", "bicubic"]
    mean: Colour
    sd: Colour

    def at(self, input_px: int) -> "Preparation":
        """The same for another side that the network sees: patches are then resized to it, and none is cropped."""
        return self if input_px == self.input_px else replace(self, input_px=input_px, resize_px=input_px)


@dataclass(frozen=True, kw_only=True)
class RowFacts(_Facts):
    """What the file of a row holds.

    `citation`: a DOI; None = there is no paper. `patch_px`: the side of the patches to cut, at `mpp`. `pooling`: cls =
    the class token, mean = the mean of the patch tokens (no registers), cls-mean = both, one after the other, pooled =
    what the network gives; `poolings`: others that make sense. `dim`: length of the features with `pooling`.
    `precision`: what its card computes in.
    """

    title: str
    about: str
    source: HubSource | WebSource
    access: Literal["open", "gated"]
    licence: Licence
    citation: str | None
    parameters: Parameters
    mpp: TrainedMpp
    patch_px: Side
    network: NetworkCall
    preparation: Preparation
    pooling: Pooling
    poolings: tuple[Pooling, ...] = ()
    dim: Annotated[int, Field(gt=0)]
    precision: Literal["float32", "float16", "bfloat16"]
    verified: tuple[str, ...]
    unverified: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class EncoderRow(RowFacts):
    """A published encoder: what `encoders/<word>.json` holds, and its word."""

    word: str

    def revision_of(self, sha256: str) -> str | None:
        """The revision of a file of weights; None where it is not the published one, or has none."""
        return getattr(self.source, "revision", None) if sha256 == self.source.sha256 else None

    def dim_with(self, pooling: Pooling) -> int:
        """The length of features with another pooling."""
        width = self.dim // 2 if self.pooling == "cls-mean" else self.dim
        return 2 * width if pooling == "cls-mean" else width

    def pooling_or(self, other: str | None) -> Pooling:
        """The pooling that a setting asks for; None = the row's.

        Raises:
            InputError: the encoder has no such pooling.
        """
        known = dict.fromkeys((self.pooling, *self.poolings))
        found = next((one for one in known if one == (other or self.pooling)), None)
        if found is None:
            raise InputError(
                f"{self.word} has no pooling {other!r}", remedy=f"set encoder_pooling: {' or '.join(known)}"
            )
        return found


@cache
def encoder_row(word: str) -> EncoderRow:
    """The row of a published encoder.

    Raises:
        InputError: the row is missing or damaged, and with it the installation.
    """
    path = FOLDER / f"{word}.json"
    try:
        facts = _reader().validate_python(read_json(path, remedy="install sammil anew"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", remedy="install sammil anew") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: {where}: {first['msg'].lower()}", remedy=f"compare it with {SCHEMA.name}") from None
    return EncoderRow(word=word, **vars(facts))


def schema() -> str:
    """The JSON Schema of a row, as it is kept in `SCHEMA`."""
    written = {"$schema": "https://json-schema.org/draft/2020-12/schema", **_reader().json_schema()}
    return json.dumps(written, indent=2, ensure_ascii=False) + "\n"


@cache
def _reader() -> TypeAdapter[RowFacts]:
    return TypeAdapter(RowFacts)
