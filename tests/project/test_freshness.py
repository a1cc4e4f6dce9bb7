"""What an edit makes stale: results in the store by their keys, and stages in the eyes of DVC."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from slide_maker import draw_asymmetric, write_pyramid

from sammil_cli.config import ON_REQUEST, Settings, check
from sammil_cli.project.code_in_use import code_of_slide, code_of_stage, write_code_files
from sammil_cli.project.presets import preset
from sammil_cli.project.project import Project
from sammil_cli.storage import code
from sammil_cli.storage.code import code_of

PACKAGE = code.PACKAGE
SLIDE = Path("data/slides/a.tif")
DEMO = check(preset("demo"), "demo")  # saturation, superpixels, texture, sam-mil

PIXELS = {"segment", "sam", "extract", "visualize"}  # they open slides
LEARNING = {"train", "evaluate", "visualize"}
ALL = {"patch", *PIXELS, *LEARNING}
WORDS = {
    "segment": DEMO.segmenter,
    "patch": None,
    "sam": DEMO.proposer,
    "extract": DEMO.encoder,
    "train": DEMO.model,
    "visualize": DEMO.model,
}
COMMENT, STATEMENT = "# a comment", "EDITED = 1"


def appended(text: str) -> tuple[str, str]:
    return r"\Z", f"\n\n{text}\n"


# edit: (file, what is replaced, by what) -> results that are stale by their keys, stages that DVC runs again
EDITS: dict[str, tuple[str, tuple[str, str], set[str], set[str]]] = {
    "a comment in a module of all": ("storage/files.py", appended(COMMENT), set(), set()),
    "a docstring": ("tissue/segment.py", ('"""Reads the whole slide', '"""Looks at the whole slide'), set(), set()),
    "formatting": ("mil/groups.py", ("\n\n\n", "\n\n\n\n"), set(), set()),
    "a message on the screen": ("stages/train.py", ("trained before with", "there already, of"), set(), set()),
    "a help text": ("cli/slides.py", ("Find tissue", "Look for tissue"), set(), set()),
    "a local name": ("slides/slide.py", (r"\bframed\b", "inside_frame"), PIXELS, PIXELS),
    "a shared module": ("storage/hdf5.py", appended(STATEMENT), ALL - {"evaluate"}, ALL),
    "how slides are read": ("slides/slide.py", appended(STATEMENT), PIXELS, PIXELS),
    "the segmenter in use": ("tissue/segmenters/saturation.py", appended(STATEMENT), {"segment"}, {"segment"}),
    "the segmenter that it is compared with": (
        "tissue/segmenters/otsu.py",
        appended(STATEMENT),
        {"segment"},
        {"segment"},
    ),
    "a segmenter that is not used": ("tissue/segmenters/od.py", appended(STATEMENT), set(), set()),
    "the encoder in use": ("features/encoders/texture.py", appended(STATEMENT), {"extract"}, {"extract"}),
    "an encoder that is not used": ("features/encoders/resnet50.py", appended(STATEMENT), set(), set()),
    "the row of a published encoder": ("features/encoders/uni.json", ('"cls"', '"mean"'), set(), set()),
    "how published encoders are built": ("features/published_network.py", appended(STATEMENT), set(), set()),
    "the proposer in use": ("regions/proposers/superpixels.py", appended(STATEMENT), {"sam"}, {"sam"}),
    "a proposer that is not used": ("regions/proposers/sam.py", appended(STATEMENT), set(), set()),
    "the proposer of features, which is not used": ("regions/proposers/features.py", appended(STATEMENT), set(), set()),
    "how a bag's features are seen": ("features/feature_view.py", appended(STATEMENT), set(), {"sam"}),
    "how bags are grouped anew": ("jobs/regroup.py", appended(STATEMENT), set(), {"extract"}),
    "the engine of a proposer that is not used": ("regions/sam_engine/decoder.py", appended(STATEMENT), set(), set()),
    "the model in use": ("mil/models/sam_mil.py", appended(STATEMENT), {"train", "visualize"}, LEARNING),
    "another model's options": ("mil/models/abmil.py", ("gated: bool = False", "gated: bool = True"), set(), set()),
    "the format of the slides": ("slides/formats/tiff.py", appended(STATEMENT), PIXELS, PIXELS),
    "a format that no slide has": ("slides/formats/image.py", appended(STATEMENT), set(), set()),
    "a word of the report page": ("report/page.py", ("sammil: ", "SAMMIL: "), set(), {"evaluate"}),
    "the style of the pages": ("report/templates/style.css", ("1.55", "1.6"), set(), {"evaluate", "visualize"}),
    "a metric": ("report/metrics.py", appended(STATEMENT), set(), {"evaluate", "visualize"}),
    "a heatmap's colour": ("report/heatmap.py", appended(STATEMENT), {"visualize"}, {"visualize"}),
    "the tissue's overlay": ("tissue/overlay.py", appended(STATEMENT), {"segment"}, {"segment"}),
    "the threshold": ("training/thresholds.py", appended(STATEMENT), {"train", "visualize"}, LEARNING),
    "how published weights are recognised": ("training/published_weights.py", appended(STATEMENT), set(), {"train"}),
    "how folds are drawn": ("training/splits.py", appended(STATEMENT), set(), {"train"}),
    "what a stage does with which slide": ("stages/segment.py", appended(STATEMENT), set(), {"segment"}),
    "how weights are fetched": ("storage/weight_download.py", appended(STATEMENT), set(), set()),
    "how labels are read": ("cohort/raw_table.py", appended(STATEMENT), set(), {"train", "evaluate"}),
    "what the doctor looks at": ("doctor/gpu.py", appended(STATEMENT), set(), set()),
    "how old files come in": ("legacy/bags.py", appended(STATEMENT), set(), set()),
    "how processes are isolated": ("runner/isolation.py", appended(STATEMENT), set(), set()),
    "a setting's default": ("config.py", appended(STATEMENT), set(), set()),
    "the version of sammil": ("__init__.py", appended(STATEMENT), set(), set()),
}


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copied") / "sammil_cli"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def package(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the sources that may be edited, in a project with one slide."""
    monkeypatch.chdir(tmp_path)
    write_pyramid(SLIDE, draw_asymmetric(), mpp=2.0)
    monkeypatch.setattr(code, "PACKAGE", copied)
    code_of.cache_clear()
    yield copied
    code_of.cache_clear()


def keys(settings: Settings) -> dict[str, str]:
    code_of.cache_clear()
    slide = {stage: SLIDE if stage in PIXELS else None for stage in WORDS}
    return {stage: code_of_slide(stage, slide[stage], word).version for stage, word in WORDS.items()}


def stages(settings: Settings) -> dict[str, str]:
    code_of.cache_clear()
    return {stage: code_of_stage(stage, Project(), settings).version for stage in sorted(ALL)}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_makes_stale_what_it_can_change(package: Path, edit: str) -> None:
    name, (old, new), stale, run_again = EDITS[edit]
    path, before = package / name, (keys(DEMO), stages(DEMO))
    text = path.read_text(encoding="utf-8")
    edited = re.sub(old, new, text, count=0 if old.startswith(r"\b") else 1)
    assert edited != text
    try:
        path.write_text(edited, encoding="utf-8")
        assert changed(before[0], keys(DEMO)) == stale
        assert changed(before[1], stages(DEMO)) == run_again
    finally:
        path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "stale"),
    [
        ("prompting/loop.py", {"wsi-sam-train"}),
        ("prompting/samples.py", {"wsi-sam-train"}),
        ("prompting/fields_plan.py", {"wsi-sam-train"}),
        ("regions/wsi_sam/losses.py", {"wsi-sam-train"}),
        ("slides/slide.py", {"wsi-sam-train", "convert-legacy", "tiles", *PIXELS}),
        ("patches/tile_names.py", {"tiles"}),
        ("jobs/patch_images.py", set()),
        ("mil/models/sam_mil.py", LEARNING),
        ("report/page.py", {"evaluate"}),
    ],
)
def test_a_stage_on_request_runs_again_for_its_own_code_and_changes_no_other(
    package: Path, name: str, stale: set[str]
) -> None:
    def found() -> dict[str, str]:
        code_of.cache_clear()
        return {stage: code_of_stage(stage, Project(), DEMO).version for stage in sorted({*ALL, *ON_REQUEST})}

    before, path = found(), package / name
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(f"{text}\n\n{STATEMENT}\n", encoding="utf-8")
        assert changed(before, found()) == stale
    finally:
        path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "stale"),
    [
        ("regions/proposers/features.py", {"bag-regions"}),
        ("features/feature_view.py", {"bag-regions"}),
        ("features/grouping.py", {"bag-regions", "regroup"}),
        ("jobs/regroup.py", {"regroup"}),
        ("jobs/extract.py", set()),
        ("features/encoders/texture.py", set()),
        ("slides/formats/tiff.py", set()),
        ("stages/bag_regions.py", set()),
    ],
)
def test_results_of_bags_depend_on_no_encoder_and_no_format_of_slides(
    package: Path, name: str, stale: set[str]
) -> None:
    def found() -> dict[str, str]:
        code_of.cache_clear()
        words = {"bag-regions": "features", "regroup": None}
        return {job: code_of_slide(job, None, word).version for job, word in words.items()}

    before, path = found(), package / name
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(f"{text}\n\n{STATEMENT}\n", encoding="utf-8")
        assert changed(before, found()) == stale
    finally:
        path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "edit", "stale"),
    [
        ("features/encoders/uni.json", ('"dim": 1024', '"dim": 1025'), True),
        ("features/encoders/uni.json", ('"bilinear"', '"bicubic"'), True),
        ("features/encoders/uni.json", ('"init_values": 1e-05', '"init_values": 1e-06'), True),
        ("features/encoders/uni.json", ('"sha256": "56', '"sha256": "65'), True),
        ("features/encoders/uni.json", ('"licence": {', '"licence":   {'), False),
        ("features/encoders/uni.json", ('"CC-BY-NC-ND-4.0"', '"MIT"'), False),
        ("features/encoders/uni.json", ('"revision": "b5', '"revision": "5b'), False),
        ("features/encoders/uni2_h.json", ('"dim": 1536', '"dim": 1537'), False),
        ("features/published_network.py", appended(STATEMENT), True),
        ("features/key_maps.py", appended(STATEMENT), True),
        ("features/encoders/resnet50.py", appended(STATEMENT), False),
    ],
)
def test_the_row_of_the_encoder_in_use_counts_by_what_it_means_for_the_numbers(
    package: Path, name: str, edit: tuple[str, str], stale: bool
) -> None:
    settings = DEMO.model_copy(update={"encoder": "uni"})

    def found() -> set[str]:
        code_of.cache_clear()
        return {code_of_slide("extract", SLIDE, "uni").version, code_of_stage("extract", Project(), settings).version}

    before, path = found(), package / name
    text = path.read_text(encoding="utf-8")
    edited = re.sub(*edit, text, count=1)
    assert edited != text
    try:
        path.write_text(edited, encoding="utf-8")
        assert (found() != before) == stale
    finally:
        path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    "folder", ["features/encoders", "regions/proposers", "tissue/segmenters", "mil/models", "slides/formats"]
)
def test_a_new_file_that_nobody_uses_makes_nothing_stale(package: Path, folder: str) -> None:
    before = keys(DEMO), stages(DEMO)
    path = package / folder / "unused.py"
    try:
        path.write_text("import torch\n")
        assert (keys(DEMO), stages(DEMO)) == before
    finally:
        path.unlink()


@pytest.mark.parametrize(
    ("setting", "again"),
    [
        ({"encoder": "plip"}, {"extract"}),
        ({"proposer": "geojson"}, {"sam"}),
        ({"segmenter": "od"}, {"segment"}),
        ({"model": "abmil"}, LEARNING),
        ({"mask_ratio": 0.5}, set()),
    ],
)
def test_another_choice_is_other_code_of_its_stage(package: Path, setting: dict[str, object], again: set[str]) -> None:
    assert changed(stages(DEMO), stages(check({**preset("demo"), **setting}, "demo"))) == again


def test_a_segmenter_of_one_slide_counts(package: Path) -> None:
    before = stages(DEMO)
    Path("data/slides.csv").write_text("slide_id,segmenter\na,od\n")
    assert changed(before, stages(DEMO)) == {"segment"}


def test_the_files_for_dvc_list_modules_and_with_strict_versions_libraries(package: Path) -> None:
    code_of.cache_clear()
    files = write_code_files(Project(), DEMO)
    assert [path.as_posix() for path in files] == [
        f"artifacts/code/{stage}.txt"
        for stage in ("segment", "patch", "sam", "extract", "train", "evaluate", "visualize")
    ]
    text = Path("artifacts/code/train.txt").read_text()
    assert re.search(r"^[0-9a-f]{16}  sammil_cli\.mil\.models\.sam_mil$", text, re.MULTILINE)
    assert "torch" not in text
    code_of.cache_clear()
    write_code_files(Project(), check({**preset("demo"), "strict_versions": True}, "demo"))
    assert re.search(r"^\S+  torch$", Path("artifacts/code/train.txt").read_text(), re.MULTILINE)
