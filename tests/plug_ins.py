"""A plug-in of each kind, as its author would write it, and the three ways in which one is found."""

import importlib
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest
from slide_maker import RGB

from sammil_cli import choices
from sammil_cli.choices import Kind
from sammil_cli.storage.code import code_of

Placed = dict[str, tuple[str, Path]]  # word -> module and file


@dataclass(frozen=True, kw_only=True)
class PlugIn:
    """`edit`: what stands in the text, and what changes its meaning when it stands there instead."""

    kind: Kind
    text: str
    edit: tuple[str, str]


DARK = '''
"""Darker than the glass, by grey level."""

import cv2
import numpy as np

SETTINGS = ()


def foreground(rgb, excluded, spec, *, median_px):
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    dark = (grey < np.percentile(grey, 99) - 15).astype(np.uint8)
    return cv2.medianBlur(dark, max(1, median_px) | 1) > 0
'''

BLUE = '''
"""Areas that are bluer than red, in one piece."""

import cv2
import numpy as np

from sammil_cli.regions.region_map import Proposal
from sammil_cli.regions.region_mask import RegionMask

SETTINGS = ("superpixel_area_px",)


def make(settings, device):
    return Blue(settings["superpixel_area_px"] // 100)


class Blue:
    partition = False
    weights_sha256 = None

    def __init__(self, least_px):
        self._least_px = least_px

    def propose(self, view):
        blurred = cv2.GaussianBlur(view.image, (0, 0), 1.5).astype(np.int16)
        blue = view.tissue & (blurred[..., 2] > blurred[..., 0] - 25)
        count, labels, boxes, _ = cv2.connectedComponentsWithStats(blue.astype(np.uint8))
        kept = [label for label in range(1, count) if boxes[label, cv2.CC_STAT_AREA] >= self._least_px]
        return [Proposal(mask=RegionMask.of(labels == label)) for label in kept]
'''

COLOURS = '''
"""Mean and deviation of red, green and blue."""

import numpy as np


class Colours:
    name, dim, weights_sha256 = "colours", 6, None

    def prepare(self, patch):
        shares = patch.reshape(-1, 3) / 255
        return np.concatenate([shares.mean(0), shares.std(0)]).astype(np.float32)

    def encode(self, batch):
        return batch.copy()


def build(*, weights, device, backbone, input_px):
    return Colours()
'''

NORM = '''
"""Attention by the norm of the embedding."""

import torch
from torch import nn

from sammil_cli.mil.contract import MILModel, Output, attention_evidence


class Model(MILModel):
    """The larger an embedded instance, the more it weighs."""

    def __init__(self, spec, options):
        super().__init__(spec, options)
        self.embed = nn.Sequential(nn.Linear(spec.dim, 64), nn.ReLU(), nn.Dropout(spec.dropout))
        self.classifier = nn.Linear(64, spec.classes)

    def forward(self, bag):
        embedded = self.embed(bag.instances(self.spec.group_features))
        attention = torch.softmax(embedded.norm(dim=1), dim=0)
        evidence = attention_evidence(attention, embedded, self.classifier)
        return Output(logits=self.classifier(attention @ embedded), attention=attention, evidence=evidence)
'''

RAW = '''
"""Raw pixels behind a head: RAWSLIDE, width, height, µm per pixel."""

import struct

import numpy as np

from sammil_cli.slides.slide import UnknownContentError

PRIORITY = 9
SUFFIXES = (".rawslide",)
HEAD = "<8sIId"


class RawReader:
    kind, mpp_source, objective = "raw", "head", None
    downsamples, tiles_px, remarks = (1.0,), ((64, 64),), ()

    def __init__(self, path, width, height, mpp):
        self.size_px, self.bounds_px, self.mpp = (width, height), (0, 0, width, height), (mpp, mpp)
        self._pixels = np.memmap(path, np.uint8, "r", struct.calcsize(HEAD), (height, width, 3))

    def read(self, xy, level, size_px):
        (x, y), (width, height) = xy, size_px
        image = np.full((height, width, 3), 255, np.uint8)
        seen = self._pixels[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)]
        left, top = max(0, -x), max(0, -y)
        image[top : top + seen.shape[0], left : left + seen.shape[1]] = seen
        return image

    def close(self):
        pass


def open_slide(path):
    with path.open("rb") as stream:
        head = stream.read(struct.calcsize(HEAD))
    if len(head) < struct.calcsize(HEAD) or not head.startswith(b"RAWSLIDE"):
        raise UnknownContentError("it does not begin as a raw slide does")
    return RawReader(path, *struct.unpack(HEAD, head)[1:])
'''

PLUG_INS = {
    "dark": PlugIn(kind=choices.SEGMENTERS, text=DARK, edit=("- 15", "- 25")),
    "blue": PlugIn(kind=choices.PROPOSERS, text=BLUE, edit=("// 100", "// 50")),
    "colours": PlugIn(kind=choices.ENCODERS, text=COLOURS, edit=("shares.std(0)", "shares.var(0)")),
    "norm-weighted": PlugIn(
        kind=choices.MODELS, text=NORM, edit=("softmax(embedded.norm", "softmax(2 * embedded.norm")
    ),
    "raw": PlugIn(
        kind=choices.FORMATS, text=RAW, edit=("np.full((height, width, 3), 255", "np.full((height, width, 3), 254")
    ),
}
FOREIGN = ("foreign_pkg", "sammil_plugins")
SLIDES = [f"slide_{index}" for index in range(4)]
STAGES = {"dark": "segment", "blue": "sam", "colours": "extract", "norm-weighted": "train"}

every_plug_in = pytest.mark.parametrize("word", PLUG_INS)


def write_raw(path: Path, rgb: RGB, mpp: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<8sIId", b"RAWSLIDE", rgb.shape[1], rgb.shape[0], mpp) + rgb.tobytes())
    return path


def write(folder: Path, word: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{word.replace('-', '_')}.py"
    path.write_text(text.lstrip(), encoding="utf-8")
    return path


# ---------------------------------------------------------------------------------------------- three ways to be found


def in_the_package(folder: Path, plug_ins: dict[str, PlugIn], patch: pytest.MonkeyPatch) -> Placed:
    """As files beside our own: the folder of each kind is lent another one."""
    placed = {}
    for word, plug_in in plug_ins.items():
        package = importlib.import_module(plug_in.kind.folder)
        path = write(folder / "more" / package.__name__, word, plug_in.text)
        patch.setattr(package, "__path__", [*package.__path__, str(path.parent)])
        placed[word] = (f"{package.__name__}.{path.stem}", path)
    return placed


def installed(folder: Path, plug_ins: dict[str, PlugIn], patch: pytest.MonkeyPatch) -> Placed:
    """As modules of a foreign package that names them as its entry points."""
    patch.syspath_prepend(folder / "site")
    paths = {word: write(folder / "site/foreign_pkg", word, plug_in.text) for word, plug_in in plug_ins.items()}
    write(folder / "site/foreign_pkg", "__init__", '"""A package that sammil knows nothing of."""\n')
    facts = folder / "site/foreign_pkg-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign-pkg\nVersion: 1.0\n")
    groups = (
        f"[{plug_in.kind.group}]\n{word} = foreign_pkg.{paths[word].stem}\n" for word, plug_in in plug_ins.items()
    )
    (facts / "entry_points.txt").write_text("\n".join(groups))
    return {word: (f"foreign_pkg.{path.stem}", path) for word, path in paths.items()}


def in_the_project(folder: Path, plug_ins: dict[str, PlugIn], patch: pytest.MonkeyPatch) -> Placed:
    """As files of the project's own, the working directory."""
    patch.chdir(folder)
    paths = {word: write(folder / "plugins", word, plug_in.text) for word, plug_in in plug_ins.items()}
    return {word: (f"sammil_plugins.{path.stem}", path) for word, path in paths.items()}


WAYS = (in_the_package, installed, in_the_project)


def forget() -> None:
    for cached in (choices._own, choices._installed, code_of):
        cached.cache_clear()


def flat(text: str) -> str:
    """What was said, without the breaks of its lines."""
    return " ".join(text.split())
