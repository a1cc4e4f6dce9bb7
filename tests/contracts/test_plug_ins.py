"""Plug-ins of each kind, in the package, installed and in the project: found, held to the contracts, run, counted."""

import importlib
import json
import os
import shutil
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import pytest
from csv_rows import by_slide
from slide_maker import RGB, draw_tissue
from study_fixtures import SMALL, call, set_params, training_inline

from sammil_cli import choices
from sammil_cli.choices import Kind
from sammil_cli.config import load_settings
from sammil_cli.errors import InputError
from sammil_cli.project.code_in_use import code_of_slide, code_of_stage
from sammil_cli.project.project import Project
from sammil_cli.storage.code import code_of
from sammil_cli.testing import drawn
from sammil_cli.testing.encoders import EncoderContract
from sammil_cli.testing.models import ModelContract
from sammil_cli.testing.proposers import ProposerContract
from sammil_cli.testing.segmenters import SegmenterContract
from sammil_cli.testing.slide_formats import SlideFormatContract

Sammil = Callable[..., Any]
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
    downsamples, tiles_px = (1.0,), ((64, 64),)

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


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Nothing that a test finds is remembered after it."""
    yield monkeypatch
    monkeypatch.undo()
    ours = {f"{one.kind.folder}.{word.replace('-', '_')}" for word, one in PLUG_INS.items()}
    for name in [name for name in sys.modules if name in ours or name.partition(".")[0] in FOREIGN]:
        parent, _, stem = name.rpartition(".")
        del sys.modules[name]
        if name in ours:
            delattr(sys.modules[parent], stem)
    forget()


def forget() -> None:
    for cached in (choices._own, choices._installed, code_of):
        cached.cache_clear()


@pytest.fixture(params=WAYS, ids=[way.__name__ for way in WAYS])
def placed(request: pytest.FixtureRequest, tmp_path: Path, clean: pytest.MonkeyPatch) -> Placed:
    """All five plug-ins, found in one way."""
    forget()
    found: Placed = request.param(tmp_path, PLUG_INS, clean)
    return found


def versions() -> dict[str, str]:
    """The code of a result that is made with each plug-in, and of one that is made with none."""
    code_of.cache_clear()
    found = {word: code_of_slide(stage, word=word).version for word, stage in STAGES.items()}
    return found | {"raw": code_of_slide("patch", Path("a.rawslide")).version, "none": code_of_slide("patch").version}


@every_plug_in
def test_a_plug_in_is_listed_and_loaded(placed: Placed, word: str) -> None:
    kind, (module, path) = PLUG_INS[word].kind, placed[word]
    assert word in choices.names(kind)
    assert [other for other in choices.PICKED if word in choices.names(other)] == [kind][: kind is not choices.FORMATS]
    assert choices.module_name(kind, word) == module
    assert module not in sys.modules
    loaded = choices.load(kind, word)
    assert loaded.__name__ == module
    assert Path(str(loaded.__file__)) == path
    assert hasattr(loaded, kind.offers)


@every_plug_in
def test_what_a_plug_in_means_is_part_of_what_it_makes_and_of_nothing_else(placed: Placed, word: str) -> None:
    module, path = placed[word]
    code = code_of_slide("patch", Path("a.rawslide")) if word == "raw" else code_of_slide(STAGES[word], word=word)
    assert module in code.files
    assert {name for name, _ in placed.values()} & set(code.files) == {module}
    before, text = versions(), path.read_text(encoding="utf-8")
    path.write_text(f"# a remark\n{text}", encoding="utf-8")
    assert versions() == before
    assert text.count(PLUG_INS[word].edit[0]) == 1
    path.write_text(text.replace(*PLUG_INS[word].edit), encoding="utf-8")
    after = versions()
    assert {other for other in before if after[other] != before[other]} == {word}


def test_what_a_plug_in_of_the_project_imports_from_beside_it_counts_too(
    tmp_path: Path, clean: pytest.MonkeyPatch
) -> None:
    helped = COLOURS.replace("import numpy as np", "import numpy as np\n\nfrom .measure import spread").replace(
        "shares.std(0)", "spread(shares)"
    )
    in_the_project(tmp_path, {"colours": replace(PLUG_INS["colours"], text=helped)}, clean)
    path = write(tmp_path / "plugins", "measure", "def spread(shares):\n    return shares.std(0)\n")
    assert choices.load(choices.ENCODERS, "colours").build(weights=None, device="cpu", backbone=None, input_px=64)
    assert [word for kind in choices.PICKED for word in choices.names(kind) if word == "measure"] == []
    code = code_of_slide("extract", word="colours")
    assert {"sammil_plugins.colours", "sammil_plugins.measure"} <= set(code.files)
    path.write_text("def spread(shares):\n    return shares.var(0)\n")
    code_of.cache_clear()
    assert code_of_slide("extract", word="colours").version != code.version


def test_plug_ins_of_another_project_are_not_those_of_this_one(tmp_path: Path, clean: pytest.MonkeyPatch) -> None:
    for project in ("one", "two"):
        (tmp_path / project).mkdir()
        text = COLOURS.replace("Mean", f"In project {project}: mean")
        in_the_project(tmp_path / project, {"colours": replace(PLUG_INS["colours"], text=text)}, clean)
        loaded = choices.load(choices.ENCODERS, "colours")
        assert Path(str(loaded.__file__)) == tmp_path / project / "plugins/colours.py"
        assert f"In project {project}:" in str(loaded.__doc__)
    clean.chdir(tmp_path)
    assert "colours" not in choices.names(choices.ENCODERS)


# ---------------------------------------------------------------------------------------------- the contracts


class TestSegmenter(SegmenterContract):
    @pytest.fixture
    def word(self, placed: Placed) -> str:
        return "dark"


class TestProposer(ProposerContract):
    @pytest.fixture
    def word(self, placed: Placed) -> str:
        return "blue"


class TestEncoder(EncoderContract):
    @pytest.fixture
    def word(self, placed: Placed) -> str:
        return "colours"


class TestModel(ModelContract):
    @pytest.fixture
    def word(self, tmp_path: Path, clean: pytest.MonkeyPatch) -> str:
        in_the_project(tmp_path, PLUG_INS, clean)
        return "norm-weighted"


def test_a_model_predicts_and_learns_wherever_it_was_found(placed: Placed) -> None:
    ModelContract().test_predicting_and_learning_change_no_bag_and_no_weights("norm-weighted")


class TestSlideFormat(SlideFormatContract):
    @pytest.fixture
    def word(self, placed: Placed) -> str:
        return "raw"

    @pytest.fixture
    def slide(self, word: str, tmp_path: Path) -> tuple[Path, RGB]:
        pixels = drawn.draw_tissue()
        return write_raw(tmp_path / "slides/a.rawslide", pixels), pixels


# ---------------------------------------------------------------------------------------------- the pipeline

SLIDES = [f"slide_{index}" for index in range(4)]
TELLS = """
import os
from pathlib import Path

with Path("imported.txt").open("a") as stream:
    stream.write(f"{__name__} {os.getpid()}\\n")
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A project with a plug-in of each kind and slides in the plug-in's own format after all stages; what was said."""
    folder = tmp_path_factory.mktemp("plugged") / "study"
    assert call("init", folder, "--preset", "demo", "--no-dvc").code == 0
    for index, slide in enumerate(SLIDES):
        write_raw(folder / f"data/slides/{slide}.rawslide", draw_tissue(seed=index, tumour=index % 2 == 1)[:512, :640])
    labels = [f"{slide},{('normal', 'tumour')[index % 2]}" for index, slide in enumerate(SLIDES)]
    (folder / "data/labels.csv").write_text("\n".join(["slide_id,label", *labels, ""]))
    chosen = {"segmenter": "dark", "proposer": "blue", "encoder": "colours", "model": "norm-weighted"}
    set_params(folder, **SMALL | chosen | {"folds": 2, "epochs": 2, "patience": 2, "protocol": "paper"})
    with pytest.MonkeyPatch.context() as patch, training_inline():
        in_the_project(folder, {word: replace(one, text=one.text + TELLS) for word, one in PLUG_INS.items()}, patch)
        forget()
        answers = {verb: call(verb, "--workers", 1) for verb in ("segment", "patch", "sam", "extract", "train")}
        answers["evaluate"] = call("evaluate")
    yield folder, answers
    forget()


@pytest.fixture
def done(study: tuple[Path, dict[str, Any]], tmp_path: Path, clean: pytest.MonkeyPatch) -> Path:
    """A copy of the project, as working directory."""
    folder = tmp_path / "done"
    shutil.copytree(study[0], folder)
    clean.chdir(folder)
    forget()
    return folder


def test_every_stage_runs_on_plug_ins_in_processes_of_its_own(study: tuple[Path, dict[str, Any]], done: Path) -> None:
    assert {verb: answer.code for verb, answer in study[1].items()} == dict.fromkeys(study[1], 0), study[1]
    for verb in ("segment", "patch", "sam", "extract"):
        rows = by_slide(Path(f"artifacts/process_lists/{verb}.csv"))
        assert {slide: row["status"] for slide, row in rows.items()} == dict.fromkeys(SLIDES, "done")
    imported = {tuple(line.split()) for line in Path("imported.txt").read_text(encoding="utf-8").splitlines()}
    elsewhere = {module for module, process in imported if process != str(os.getpid())}
    assert elsewhere == {f"sammil_plugins.{word}" for word in ("dark", "blue", "colours", "raw")}
    tissue = json.loads(Path("artifacts/tissue/slide_1.geojson").read_text(encoding="utf-8"))["sammil"]
    assert tissue["mpp_source"] == "head"
    assert tissue["key"]["settings"]["segmenter"] == "dark"
    with h5py.File("artifacts/regions/slide_1.h5") as regions, h5py.File("artifacts/bags/slide_1.h5") as bag:
        assert len(regions["area_px"]) > 0
        assert json.loads(regions.attrs["provenance"])["key"]["settings"]["proposer"] == "blue"
        assert (bag.attrs["encoder_name"], bag["features"].shape[1]) == ("colours", 6)
    facts = json.loads(Path("runs/models/repeat_0_fold_1/model.json").read_text(encoding="utf-8"))
    assert facts["model"] == "norm-weighted"
    assert len(Path("runs/predictions.csv").read_text(encoding="utf-8").splitlines()) == 1 + len(SLIDES)


def test_the_code_of_each_stage_is_that_of_the_plug_ins_in_use(done: Path) -> None:
    settings = load_settings(done / "params.yaml")
    used = {
        stage: sorted(name for name in code_of_stage(stage, Project(), settings).files if "sammil_plugins." in name)
        for stage in ("segment", "patch", "sam", "extract", "train", "evaluate", "visualize")
    }
    dark, blue, colours, norm, raw = (f"sammil_plugins.{word.replace('-', '_')}" for word in PLUG_INS)
    assert used == {
        "segment": [dark, raw],
        "patch": [],
        "sam": [blue, raw],
        "extract": [colours, raw],
        "train": [norm],
        "evaluate": [norm],
        "visualize": [norm, raw],
    }


def test_a_remark_in_a_plug_in_costs_nothing_and_an_edit_what_it_makes(done: Path, sammil: Sammil) -> None:
    path = done / "plugins/dark.py"
    text = path.read_text(encoding="utf-8")
    for edited, status in ((f"# a remark\n{text}", "reused"), (text.replace(*PLUG_INS["dark"].edit), "done")):
        path.write_text(edited, encoding="utf-8")
        forget()
        assert sammil("segment", "--workers", 1).code == 0
        rows = by_slide(Path("artifacts/process_lists/segment.csv"))
        assert {slide: row["status"] for slide, row in rows.items()} == dict.fromkeys(SLIDES, status)


# ---------------------------------------------------------------------------------------------- what is refused


def run(sammil: Sammil, word: str, name: str) -> Any:
    """Runs the stage of a plug-in with another choice of its kind; formats take part whatever is chosen."""
    if word == "raw":
        return sammil("segment")
    return sammil(STAGES[word], "-S", f"{PLUG_INS[word].kind.setting}={name}")


@every_plug_in
def test_two_of_one_name_are_refused_with_both_named(done: Path, sammil: Sammil, word: str) -> None:
    own = sorted(choices._own(PLUG_INS[word].kind.folder))[0]
    write(done / "plugins", own, PLUG_INS[word].text)
    answer = run(sammil, word, own.replace("_", "-"))
    assert answer.code == 2
    assert f"there are two of the {PLUG_INS[word].kind.noun}" in flat(answer.err)
    assert f"{PLUG_INS[word].kind.folder}.{own} and sammil_plugins.{own}" in flat(answer.err)
    assert "rename one" in answer.err


def test_an_installed_one_and_one_of_the_project_or_of_our_own_clash_too(
    tmp_path: Path, clean: pytest.MonkeyPatch
) -> None:
    forget()
    installed(tmp_path, {"norm": PLUG_INS["norm-weighted"], "mean": PLUG_INS["norm-weighted"]}, clean)
    in_the_project(tmp_path, {"norm": PLUG_INS["norm-weighted"]}, clean)
    for word, both in (
        ("norm", "foreign_pkg.norm and sammil_plugins.norm"),
        ("mean", "sammil_cli.mil.models.mean and foreign_pkg.mean"),
    ):
        with pytest.raises(InputError, match=both) as caught:
            choices.load(choices.MODELS, word)
        assert (caught.value.exit_code, caught.value.remedy) == (2, "rename one")
    assert choices.load(choices.MODELS, "max").__name__ == "sammil_cli.mil.models.max"


@every_plug_in
def test_one_that_cannot_be_imported_is_refused_with_why(done: Path, sammil: Sammil, word: str) -> None:
    write(done / "plugins", "broken", f"import no_such_library\n{PLUG_INS[word].text}")
    answer = run(sammil, word, "broken")
    assert answer.code == 2
    said = f"the {PLUG_INS[word].kind.noun} 'broken' (sammil_plugins.broken) cannot be imported: ModuleNotFoundError: "
    assert f"{said}No module named" in flat(answer.err)
    assert "mend that file, or install what it needs" in flat(answer.err)
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("word", STAGES)
def test_one_without_what_makes_it_one_is_refused_with_what_it_lacks(done: Path, sammil: Sammil, word: str) -> None:
    write(done / "plugins", "bare", '"""Nothing yet."""\n')
    answer = run(sammil, word, "bare")
    assert answer.code == 2
    assert f"unknown {PLUG_INS[word].kind.noun} 'bare'" in flat(answer.err)
    assert f"plugins/bare.py defines no {PLUG_INS[word].kind.offers}" in flat(answer.err)
    assert "Traceback" not in answer.err


@every_plug_in
def test_an_installed_one_that_lacks_it_or_is_not_there_is_refused(
    tmp_path: Path, clean: pytest.MonkeyPatch, word: str
) -> None:
    forget()
    kind = PLUG_INS[word].kind
    bare = replace(PLUG_INS[word], text='"""Nothing yet."""\n')
    placed = installed(tmp_path, {"bare": bare, "gone": bare}, clean)
    placed["gone"][1].unlink()
    for name, said, remedy in (
        ("bare", f"(foreign_pkg.bare) has no {kind.offers}", "docs/add-your-own.md"),
        ("gone", "(foreign_pkg.gone) cannot be imported: ModuleNotFoundError: No module named", "mend that file"),
    ):
        assert name in choices.names(kind)
        with pytest.raises(InputError) as caught:
            choices.load(kind, name)
        assert said in caught.value.message
        assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{DARK}\n1 / 0\n", "(sammil_plugins.broken) cannot be imported: ZeroDivisionError"),
        (f"{DARK}\ndef (:\n", "the plug-in plugins/broken.py cannot be read: invalid syntax"),
        (DARK.replace("SETTINGS", "_SETTINGS"), "(sammil_plugins.broken) has no SETTINGS"),
    ],
)
def test_one_that_breaks_where_it_is_imported_or_lacks_a_constant_is_refused(
    done: Path, sammil: Sammil, text: str, said: str
) -> None:
    write(done / "plugins", "broken", text)
    answer = run(sammil, "dark", "broken")
    assert answer.code == 2
    assert said in flat(answer.err)


def test_the_lock_of_an_editor_is_no_plug_in(done: Path) -> None:
    (done / "plugins/.#dark.py").symlink_to("me@here.4711")
    assert "dark" in choices.names(choices.SEGMENTERS)


def test_a_hint_that_is_no_plain_text_is_none(done: Path) -> None:
    write(done / "plugins", "hinted", f"HINT = str(1)\n{DARK}")
    assert choices.hints(choices.SEGMENTERS)["hinted"] == ""


def flat(text: str) -> str:
    """What was said, without the breaks of its lines."""
    return " ".join(text.split())
