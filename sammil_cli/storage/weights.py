"""Weight files: which are published, where they are looked for, and that they are the right ones."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from sammil_cli.choices import Named
from sammil_cli.errors import MissingError, limit_met
from sammil_cli.storage.files import sha256_file

FOLDER_VARIABLE = "SAMMIL_WEIGHTS"
_SLACK_MB = 1.0  # a published size is right to less than this
MOST_BYTES = 20_000_000_000  # of a file whose size is not published; the largest encoders have a fourth of it
COMMERCIAL_USE = {True: "yes", False: "no", None: "not stated"}


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """A file on the Hugging Face hub: of the repository `repo` (`owner/name`), at `revision`, a commit of 40 hex."""

    repo: str
    revision: str
    file: str

    @property
    def url(self) -> str:
        """Where a browser gets it."""
        return f"{self.page}/resolve/{self.revision}/{self.file}"

    @property
    def page(self) -> str:
        """What its authors say of it, and where they are asked for access."""
        return f"https://huggingface.co/{self.repo}"


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """A published weight file, pinned: `sha256` of the content that `url` serves.

    `word` names it on the command line, `used_by` are the settings that ask for it, `page` is what its publisher says
    of it, `megabytes` (1e6 bytes) is the published size, None = not known. `commercial`: whether the licence allows
    commercial use; None = it does not say, or its authors contradict themselves. `hub`: the file there, where it is
    fetched through huggingface_hub; `gated` = its authors have to grant access first.
    """

    word: str
    used_by: str
    file_name: str
    url: str
    sha256: str
    megabytes: float | None
    licence: str
    page: str
    commercial: bool | None = None
    hub: HubFile | None = None
    gated: bool = False

    @property
    def size(self) -> str:
        """The size in words."""
        return "unknown" if self.megabytes is None else f"{self.megabytes:,.1f} MB"

    @property
    def access(self) -> str:
        """Who can fetch it."""
        return "gated" if self.gated else "open"

    @property
    def terms(self) -> str:
        """The licence, and what it allows."""
        return f"{self.licence}; commercial use: {COMMERCIAL_USE[self.commercial]}"

    @property
    def own_instead(self) -> str:
        """The setting that takes a file of the user's own in its place; empty where that is for the reader to find."""
        return "encoder_weights" if self.used_by.startswith("encoder:") else ""

    @property
    def least_bytes(self) -> int:
        """The file is no shorter: published sizes are rounded."""
        return 1 if self.megabytes is None else max(0, round((self.megabytes - _SLACK_MB) * 1e6))

    @property
    def most_bytes(self) -> int:
        """The file is no longer."""
        return MOST_BYTES if self.megabytes is None else round((self.megabytes + _SLACK_MB) * 1e6)

    def fits(self, count: int) -> bool:
        """Whether a file of this size in bytes may be this one."""
        return self.least_bytes <= count <= self.most_bytes


@dataclass(frozen=True, kw_only=True)
class WantedWeights:
    """The weight file that settings ask for: `published`, or the user's `own`, which the setting `key` names.

    `own_sha256`: what `own` is pinned to; None = any content will do.
    `parts`: the files that are read of `own` where it is a folder; its sha256 is then `sum_of` theirs.
    `beside`: what is read besides, such as what was trained on top of these weights.
    """

    published: WeightFile | None
    key: str
    own: Path | None = None
    own_sha256: str | None = None
    parts: tuple[str, ...] = ()
    beside: "WantedWeights | None" = None

    @classmethod
    def of_encoder(cls, settings: Named, published: WeightFile | None) -> "WantedWeights":
        """What an encoder wants: its published file, or the user's `encoder_weights`, of any content."""
        own = settings["encoder_weights"]
        return cls(published=published, key="encoder_weights", own=Path(own) if own else None)

    @property
    def to_fetch(self) -> WeightFile | None:
        """The published file, where that is what is read."""
        return self.published if self.own is None else None

    @property
    def sha256(self) -> str | None:
        """What is pinned, whether it is here or not."""
        return self.to_fetch.sha256 if self.to_fetch else self.own_sha256

    def find(self) -> tuple[Path, str]:
        """The file and its sha256.

        Raises:
            MissingError: it is not here, or its content is not what is pinned.
        """
        if self.to_fetch:
            return find_weights(self.to_fetch), self.to_fetch.sha256
        if self.own is None:
            raise MissingError("a weight file of your own is needed, none is published", remedy=f"set {self.key}")
        files = [self.own / name for name in self.parts] if self.parts and self.own.is_dir() else [self.own]
        if lost := [path for path in files if not path.is_file()]:
            way = "; null = the published file" if self.published else ""
            raise MissingError(f"{lost[0]} does not exist", remedy=f"correct {self.key}{way}")
        found = sum_of([sha256_of(path) for path in files])
        if self.own_sha256 not in (None, found):
            raise MissingError(
                f"{self.own} is not the pinned file: sha256 {found}, expected {self.own_sha256}",
                remedy=f"put the right file there; or, if this is the one you mean, set {self.key}_sha256: {found}",
            )
        return self.own, found

    def files(self) -> list[tuple[Path, str]]:
        """`find`, then that of `beside`."""
        return [self.find(), *(self.beside.files() if self.beside else ())]

    def identify(self) -> str:
        """The sha256 of all that is read: of several files `sum_of` theirs.

        Raises:
            MissingError: see `find`.
        """
        return sum_of([sha256 for _, sha256 in self.files()])


def sum_of(sums: Sequence[str]) -> str:
    """The sha256 of one file, or of the sums of several, in hex, one after the other."""
    return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()


def weight_folders() -> list[Path]:
    """Where weights are looked for: the folders in SAMMIL_WEIGHTS (a colon between them), then the user's cache."""
    named = os.environ.get(FOLDER_VARIABLE, "").split(os.pathsep)
    return [*(Path(part) for part in named if part), user_cache_path("sammil") / "weights"]


def copies(pinned: WeightFile) -> list[Path]:
    """The local files of this name, in the order of `weight_folders()`; none is opened."""
    return [path for folder in weight_folders() if (path := folder / pinned.file_name).is_file()]


def sha256_of(path: Path) -> str:
    """The sha256 of a weight file.

    Raises:
        MissingError: it cannot be read.
    """
    try:
        return sha256_file(path)
    except OSError as error:
        if met := limit_met(error):
            raise met from None
        raise MissingError(f"{path} cannot be read: {error.strerror}", remedy="see to its permissions") from None


def verified_copy(pinned: WeightFile) -> Path | None:
    """The first local file with the pinned content."""
    return next((path for path in copies(pinned) if sha256_of(path) == pinned.sha256), None)


def find_weights(pinned: WeightFile) -> Path:
    """`verified_copy`, or how to get one.

    Raises:
        MissingError: no file was found, or its content is not the pinned one.
    """
    if (path := verified_copy(pinned)) is not None:
        return path
    raise damaged(pinned, here[0]) if (here := copies(pinned)) else missing(pinned)


def damaged(pinned: WeightFile, path: Path) -> MissingError:
    """The error of a file with another content than the published one."""
    whole = "MB" if pinned.megabytes is None else f"of {pinned.size}"
    key = pinned.own_instead
    own = f"; or, if this is the file that you mean, set {key}: {path} in params.yaml" if key else ""
    return MissingError(
        f"{path} is not the published file: sha256 {sha256_of(path)}, expected {pinned.sha256} "
        f"({path.stat().st_size / 1e6:,.1f} {whole})",
        remedy=f"fetch it again: sammil weights fetch {pinned.word}{own}",
    )


def missing(pinned: WeightFile) -> MissingError:
    """The error of a file that is not here: what it is, where it was looked for, and every way to get it."""
    word, folders = pinned.word, weight_folders()
    whose = [f"({FOLDER_VARIABLE})"] * (len(folders) - 1) + ["(the cache)"]
    looked = "\n    ".join(f"{folder / pinned.file_name} {of}" for folder, of in zip(folders, whose, strict=True))
    gated = f"  access   gated: its authors grant it at {pinned.page}\n" if pinned.gated else ""
    return MissingError(
        f"the weights {pinned.file_name} are not here; looked for\n    {looked}\n"
        f"  for      {pinned.used_by}\n"
        f"  size     {pinned.size}\n"
        f"  sha256   {pinned.sha256}\n"
        f"  licence  {pinned.terms}\n{gated}"
        f"  source   {pinned.page}",
        remedy=f"sammil weights fetch {word}; or --download with sammil sam, extract, ablate\n"
        f"  by hand: fetch {pinned.url}\n"
        f"           as {pinned.file_name} into one of the folders above, or set {FOLDER_VARIABLE} to its folder\n"
        f"{carried_over(word)}\n"
        "  container: docker run -v /my/weights:/weights …",
    )


def carried_over(word: str) -> str:
    """How the weights come to a machine without a network."""
    return (
        "  no network: on another machine\n"
        f"           sammil weights fetch {word} && sammil weights export {word} weights.tar\n"
        "           and here: sammil weights fetch --from weights.tar"
    )
