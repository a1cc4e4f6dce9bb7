"""Plug-ins of each kind, in the package, installed and in the project: found, counted, held to the contracts."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from plug_ins import COLOURS, PLUG_INS, STAGES, Placed, every_plug_in, in_the_project, write, write_raw
from slide_maker import RGB

from sammil_cli import choices
from sammil_cli.project.code_in_use import code_of_slide
from sammil_cli.storage.code import code_of
from sammil_cli.testing import drawn
from sammil_cli.testing.encoders import EncoderContract
from sammil_cli.testing.models import ModelContract
from sammil_cli.testing.proposers import ProposerContract
from sammil_cli.testing.segmenters import SegmenterContract
from sammil_cli.testing.slide_formats import SlideFormatContract


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
