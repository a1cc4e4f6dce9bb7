"""The run record holds what a result depends on, and says the truth about each part."""

import hashlib
import json
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from encoded_project import SLIDES, make_project

from sammil_cli.config import Settings, load_settings
from sammil_cli.errors import InputError
from sammil_cli.jobs.train import TrainJob
from sammil_cli.project import environment
from sammil_cli.project.code_in_use import code_of_stage
from sammil_cli.project.pipeline import FILES
from sammil_cli.project.project import Project
from sammil_cli.project.run_record import RunRecord, read_record
from sammil_cli.slides.files import identify
from sammil_cli.stages import train
from sammil_cli.storage.files import digest

Sammil = Callable[..., Any]

QUICK = {"folds": 2, "epochs": 1, "min_epochs": 0, "seed": 40, "patch_px": 320}
RECORD = Path("runs/record.json")
DOCS = Path(__file__).resolve().parents[2] / "docs" / "formats.md"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inline_training: None) -> Path:
    """An encoded project, as working directory."""
    folder = make_project(tmp_path / "project", QUICK)
    monkeypatch.chdir(folder)
    return folder


def trained(sammil: Sammil, *words: str) -> dict[str, Any]:
    answer = sammil("train", "--device", "cpu", *words)
    assert answer.code == 0, answer
    record: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    return record


def sha256(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_the_record_names_everything_that_went_in(project: Path, sammil: Sammil) -> None:
    record = trained(sammil, "-S", "mask_ratio=0.5")
    assert (record["schema"], record["kind"], record["git"], record["image"]) == (2, "run", None, None)
    assert record["params"].keys() == Settings.model_fields.keys()
    assert (record["params"]["mask_ratio"], record["params"]["patch_px"], record["params"]["folds"]) == (0.5, 320, 2)
    assert record["code"].keys() == FILES.keys() - {"demo"}
    assert record["code"]["sam"] == code_of_stage("sam", Project(), load_settings(Path("params.yaml"))).version
    assert record["environment"]["libraries"]["torch"] == version("torch")
    assert record["environment"]["device"]["device"] == "cpu"
    assert record["encoder"] == {"name": "texture", "sha256": None}
    assert record["seed"] == 40
    data = record["data"]
    assert data["labels_sha256"] == sha256("data/labels.csv")
    assert data["splits_sha256"] == sha256("runs/splits.csv")
    assert data["slides"][3] == {
        "slide_id": "slide_03",
        "label": "tumour",
        "patient_id": "slide_03",
        "bag_sha256": sha256("artifacts/bags/slide_03.h5"),
        "made_by": None,  # the bags of this project do not say it
        "slide": None,
    }
    assert [slide["slide_id"] for slide in data["slides"]] == SLIDES
    assert data["sha256"] == digest([data["labels_sha256"], *data["slides"]])
    assert [fold["seed"] for fold in record["folds"]] == [40, 41]
    for fold in record["folds"]:
        facts = json.loads(Path("runs/models", fold["name"], "model.json").read_text(encoding="utf-8"))
        assert fold["weights_sha256"] == sha256(f"runs/models/{fold['name']}/model.safetensors")
        assert (fold["epoch"], fold["threshold"]) == (facts["epoch"], facts["threshold"])
        assert facts["provenance"]["environment"] == record["environment"]
        assert fold["other_environment"] is None


def test_slides_and_regions_are_known_from_what_the_stages_wrote(done: Path) -> None:
    record = read_record(RECORD)
    slides = {path.stem: identify(path) for path in Path("data/slides").iterdir()}
    assert {slide.slide_id: slide.slide for slide in record.data.slides} == slides
    assert {slide.made_by for slide in record.data.slides} == {"extract"}
    assert [one.model_dump() for one in record.regions] == [
        {"proposer": "superpixels", "weights_sha256": None, "slides": 6}
    ]


def test_regions_that_are_others_by_now_are_not_taken_for_those_of_the_bags(
    done: Path, sammil: Sammil, inline_training: None
) -> None:
    slide = read_record(RECORD).data.slides[0].slide_id
    Path("artifacts/regions", f"{slide}.h5").unlink()
    record = trained(sammil)
    assert {one["proposer"]: one["slides"] for one in record["regions"]} == {None: 1, "superpixels": 5}


def test_weights_of_sam_are_named(tmp_path: Path) -> None:
    # What stages/sam.py writes with weights; they cannot be fetched here.
    from sammil_cli.project.run_record import _regions
    from sammil_cli.regions.file import write_regions
    from sammil_cli.regions.region_map import Canvas, build
    from sammil_cli.storage.paths import RegionsPath

    settings = {"proposer": "sam", "sam_model": "vit_b", "sam_points": "all"}
    none = build("a", Canvas(origin_px=(0, 0), downsample=1.0, size_px=(5, 3), mpp=0.5), [])
    write_regions(RegionsPath(tmp_path / "a.h5"), none, {"key": {"settings": settings, "weights": "ab" * 32}})
    (entry,) = _regions(tmp_path, {"a": hashlib.sha256((tmp_path / "a.h5").read_bytes()).hexdigest()})
    assert (entry.proposer, entry.weights_sha256) == ("sam", "ab" * 32)


def test_folds_that_were_trained_elsewhere_are_told_apart_and_not_trained_again(
    project: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch
) -> None:
    libraries = environment.library_versions()
    with monkeypatch.context() as patch:
        patch.setattr(environment, "library_versions", lambda: {**libraries, "torch": "1.0"})
        assert trained(sammil)["environment"]["libraries"]["torch"] == "1.0"
    monkeypatch.setattr(train, "work", lambda job: pytest.fail("trained again"))
    record = trained(sammil)
    assert record["environment"]["libraries"] == libraries
    others = [fold["other_environment"] for fold in record["folds"]]
    assert [other["libraries"]["torch"] for other in others] == ["1.0", "1.0"]
    assert [other["device"] for other in others] == [record["environment"]["device"]] * 2


def test_the_commit_and_what_differs_from_it_are_those_of_the_start(
    project: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=x", "-c", "user.email=x"]
        return subprocess.run(["git", *identity, *words], check=True, capture_output=True, text=True).stdout.strip()

    work = train.work

    def meddling(job: TrainJob) -> None:
        git("commit", "--quiet", "--allow-empty", "-m", "meanwhile")
        Path("two wörds.txt").write_text("2", encoding="utf-8")
        work(job)

    Path("two wörds.txt").write_text("1", encoding="utf-8")
    git("init", "--quiet")
    git("add", "params.yaml", "two wörds.txt")
    git("commit", "--quiet", "-m", "first")
    first = git("rev-parse", "HEAD")
    monkeypatch.setattr(train, "work", meddling)
    record = trained(sammil)
    assert record["git"] == {"revision": first, "changed": []}
    assert record["data"]["labels_sha256"] == hashlib.sha256(Path("data/labels.csv").read_bytes()).hexdigest()
    again = trained(sammil)["git"]
    assert again == {"revision": git("rev-parse", "HEAD"), "changed": ["two wörds.txt"]}
    assert again["revision"] != first


def test_a_run_that_fails_leaves_the_record_of_the_models_before(
    project: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(sammil)
    before = RECORD.read_bytes()

    def fail(job: TrainJob) -> None:
        raise InputError("no")

    monkeypatch.setattr(train, "work", fail)
    assert sammil("train", "--device", "cpu", "-S", "seed=1").code == 2
    assert RECORD.read_bytes() == before


def test_the_record_belongs_to_training_and_nothing_depends_on_it() -> None:
    assert [name for name, files in FILES.items() if RECORD.as_posix() in files.outs] == ["train"]
    assert [name for name, files in FILES.items() if RECORD.as_posix() in files.deps] == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no run record"),
        ("{", "is damaged: it cannot be read"),
        ("[]", "is damaged: it holds no JSON object"),
        ('{"model": "mean"}', "is no run record"),
        ('{"kind": "run", "schema": 9, "tool": "sammil 9"}', "has the schema 9, this sammil reads 2"),
        ('{"kind": "run", "schema": 0, "tool": "sammil 0"}', "has the schema 0, this sammil reads 1 to 2"),
        ('{"kind": "run", "schema": 2, "tool": "sammil 2"}', "is damaged: its checksum is missing"),
        ('{"kind": "run", "schema": 1}', "is damaged: tool: field required"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "record.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        read_record(path)
    assert said in raised.value.message
    assert raised.value.remedy


def test_the_docs_name_every_field() -> None:
    section = DOCS.read_text(encoding="utf-8").split("## `runs/record.json`")[1].split("\n## ")[0]

    def fields(schema: dict[str, Any]) -> set[str]:
        parts = [schema, *schema.get("$defs", {}).values()]
        return {name for part in parts for name in part.get("properties", {})}

    named = fields(RunRecord.model_json_schema(by_alias=True))
    assert len(named) > 30
    assert {name for name in named if f"`{name}`" not in section} == set()
