"""`sammil init --from-features`: what is linked, written and refused, and what the other commands make of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from csv_rows import by_slide
from study_fixtures import inside

from sammil_cli.config import load_settings
from sammil_cli.features.bag import read_bag
from sammil_cli.project.in_hand import InHand, in_hand_of
from sammil_cli.project.pipeline import render_dvc

Sammil = Callable[..., Any]
XY = np.array([(256 * (k % 3), 256 * (k // 3)) for k in range(6)])


def features(folder: Path, *slides: str, places: bool = True) -> Path:
    """A folder as TRIDENT has it; a positive slide's numbers are larger."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, slide in enumerate(slides):
        with h5py.File(folder / f"{slide}.h5", "w") as file:
            rng = np.random.default_rng(number)
            file["features"] = rng.normal(number % 2, size=(6, 4)).astype(np.float32)
            if places:
                file["coords"] = XY
                file["coords"].attrs.update(patch_size_level0=256, patch_size=256)
    return folder


def labels(path: Path, *slides: str, suffix: str = "") -> Path:
    rows = [f"{slide}{suffix},{('a', 'b')[number % 2]}" for number, slide in enumerate(slides)]
    path.write_text("\n".join(["slide_id,label", *rows, ""]), encoding="utf-8")
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stages_of(project: Path) -> dict[str, Any]:
    stages: dict[str, Any] = yaml.safe_load((project / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return stages


def start(sammil: Sammil, *words: object) -> Any:
    answer = sammil("init", "p", "--no-dvc", *words)
    assert answer.code == 0, answer
    return answer


def test_a_project_of_features_has_their_stages_their_links_and_no_others(sammil: Sammil, here: Path) -> None:
    found = features(here / "run", "s1", "s2")
    answer = start(sammil, "--from-features", "run", "--labels", labels(here / "l.csv", "s1", "s2", suffix=".svs"))
    stages = stages_of(here / "p")
    assert list(stages) == ["code", "convert-legacy", "train", "evaluate", "visualize"]
    assert stages["convert-legacy"]["deps"][:2] == ["data/features/run", "data/slides.csv"]
    assert stages["convert-legacy"]["outs"] == ["artifacts/bags"]
    assert not [dep for stage in stages.values() for dep in stage.get("deps", ()) if "data/slides/" in f"{dep}/"]
    params = yaml.safe_load((here / "p/params.yaml").read_text(encoding="utf-8"))
    assert {key for stage in stages.values() for key in stage.get("params", ())} == set(params)
    assert params["model"] == "abmil"  # sam-mil needs regions
    link = here / "p/data/features/run"
    assert (link.is_symlink(), link.readlink()) == (True, found.absolute())
    assert {name: row["label"] for name, row in by_slide(here / "p/data/labels.csv").items()} == {"s1": "a", "s2": "b"}
    assert not (here / "p/data/slides").exists()
    assert "/data/features/*/" in (here / "p/.gitignore").read_text(encoding="utf-8").splitlines()
    assert "1. cd p && sammil check" in answer.out


def test_features_of_two_centres_are_converted_together_and_checked(
    sammil: Sammil, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = ("s1", "s2", "s5", "s6"), ("s3", "s4", "s7", "s8")
    one, two = features(here / "x/feats", *first), features(here / "y/feats", *second)
    table = labels(here / "l.csv", *first, *second)
    start(sammil, "--from-features", one, "--from-features", two, "--labels", table)
    monkeypatch.chdir(here / "p")
    assert sorted(path.name for path in Path("data/features").iterdir()) == ["x_feats", "y_feats"]
    settings = ("-S", "folds=2")
    before = sammil("check", *settings)
    assert (before.code, "slides with features: 8; ready: 8" in before.out) == (0, True), before
    converted = sammil("convert-legacy", "--workers", 1)
    assert converted.code == 0, converted
    assert sorted(path.name for path in Path("artifacts/bags").glob("*.h5")) == [f"s{k}.h5" for k in range(1, 9)]
    assert sammil("check", *settings).code == 0
    assert "nothing to do" in sammil("status").out
    why = sammil("why", "s3")
    assert ("convert-legacy" in why.out, "up to date" in why.out) == (True, True)
    missing = sammil("why", "s9")
    assert (missing.code, "data/features" in missing.err) == (2, True)
    Path("data/features/y_feats").unlink()
    assert "4 × slide is gone" in sammil("status").out
    checked = sammil("check", *settings)
    assert checked.code == 0
    (two / "s1.h5").write_bytes((one / "s1.h5").read_bytes())
    Path("data/features/y_feats").symlink_to(two)
    twice = sammil("convert-legacy")
    assert twice.code == 2
    assert "'s1' lies in data/features/x_feats/s1.h5 and in data/features/y_feats/s1.h5" in twice.err
    assert ("lies in data/features" in sammil("check").out.replace("\n           ", " ")) is True


def test_a_slide_in_two_folders_is_refused_before_anything_is_written(sammil: Sammil, here: Path) -> None:
    one, two = features(here / "x", "s1", "s2"), features(here / "y", "s2", "s1")
    answer = sammil("init", "p", "--from-features", one, "--from-features", two)
    assert answer.code == 2
    assert f"'s1' lies in {one / 's1.h5'} and in {two / 's1.h5'}, and 1 more" in answer.err
    assert not (here / "p").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--from-features", "nowhere"), "nowhere does not exist"),
        (("--from-features", "empty"), "there are no features in"),
        (("--from-features", "run", "--from-features", "run"), "is given twice"),
        (("--from-features", "run", "--labels", "other.csv"), "name none of the 2 slides"),
        (("--from-features", "run", "--splits", "splits"), "no labels to put them beside"),
        (("--from-features", "run", "--regions", "sma"), "unknown proposer 'sma'"),
        (("--from-features", "run", "--wsi-sam"), "trains on slides"),
        (("--labels", "other.csv"), "belongs to features or tiles in hand"),
        (("--from-features", "run", "--update"), "no params.yaml to update"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    sammil: Sammil, here: Path, words: tuple[str, ...], said: str
) -> None:
    features(here / "run", "s1", "s2")
    (here / "empty").mkdir()
    (here / "splits").mkdir()
    (here / "splits/splits_0.csv").write_text("train,val,test\ns1,,s2\n", encoding="utf-8")
    labels(here / "other.csv", "t1", "t2")
    answer = sammil("init", "p", *words)
    assert answer.code == 2
    assert said in answer.err, answer.err
    assert not (here / "p").exists()


def test_features_without_places_have_no_pictures_and_say_so(sammil: Sammil, here: Path) -> None:
    features(here / "run")
    for slide in ("s1", "s2"):
        np.save(here / "run" / f"{slide}.npy", np.ones((3, 4), np.float32))
    answer = start(sammil, "--from-features", "run")
    assert list(stages_of(here / "p")) == ["code", "convert-legacy", "train", "evaluate"]
    assert load_settings(here / "p/params.yaml").features_without_coords
    assert "no coordinates: there will be no pictures" in answer.out
    assert "1. fill p/data/labels.csv: slide_id,label,patient_id" in answer.out


def test_splits_become_folds_of_the_labels_and_nothing_lies_in_runs(sammil: Sammil, here: Path) -> None:
    slides = [f"s{k}" for k in range(4)]
    features(here / "run", *slides)
    (here / "splits_0.csv").write_text("train,val,test\ns0,s1,s2\ns3,,\n", encoding="utf-8")
    start(sammil, "--from-features", "run", "--labels", labels(here / "l.csv", *slides), "--splits", "splits_0.csv")
    found = {name: row["split"] for name, row in by_slide(here / "p/data/labels.csv").items()}
    assert found == {"s0": "train", "s1": "val", "s2": "test", "s3": "train"}
    assert not (here / "p/runs").exists()


@pytest.mark.parametrize(("proposer", "pixels"), [("features", False), ("geojson", False), ("sam", True)])
def test_regions_are_found_between_conversion_and_training(
    sammil: Sammil, here: Path, proposer: str, pixels: bool
) -> None:
    features(here / "run", "s1", "s2")
    start(sammil, "--from-features", "run", "--regions", proposer)
    stages = stages_of(here / "p")
    assert list(stages) == ["code", "convert-legacy", "sam", "extract", "train", "evaluate", "visualize"]
    assert [stages[name]["cmd"] for name in ("convert-legacy", "sam", "extract")] == [
        "sammil convert-legacy --out artifacts/features",
        "sammil sam --features artifacts/features",
        "sammil extract --features artifacts/features",
    ]
    assert stages["convert-legacy"]["outs"] == ["artifacts/features"]
    assert {"artifacts/features", "artifacts/regions"} <= set(stages["extract"]["deps"])
    assert ("data/slides" in stages["sam"]["deps"]) is pixels
    settings = load_settings(here / "p/params.yaml")
    assert (settings.proposer, settings.model) == (proposer, "sam-mil")


def test_an_update_keeps_what_the_project_is_and_brings_more_folders(sammil: Sammil, here: Path) -> None:
    features(here / "run", "s1", "s2")
    start(sammil, "--from-features", "run")
    before = (here / "p/dvc.yaml").read_text(encoding="utf-8")
    params = (here / "p/params.yaml").read_text(encoding="utf-8")
    assert sammil("init", "p", "--update").code == 0
    assert (here / "p/dvc.yaml").read_text(encoding="utf-8") == before
    more = sammil("init", "p", "--update", "--from-features", features(here / "more", "s3"))
    assert more.code == 0, more
    assert stages_of(here / "p")["convert-legacy"]["deps"][:2] == ["data/features/more", "data/features/run"]
    assert (here / "p/params.yaml").read_text(encoding="utf-8") == params
    again = sammil("init", "p", "--update", "--from-features", features(here / "again", "s3"))
    assert (again.code, "'s3' lies in" in again.err) == (2, True)
    assert not (here / "p/data/features/again").exists()


def test_features_beside_slides_are_merged_in_the_stage_that_makes_bags(sammil: Sammil, here: Path) -> None:
    assert sammil("init", "p", "--no-dvc").code == 0
    (here / "p/data/slides/a.svs").touch()
    answer = sammil("init", "p", "--update", "--from-features", features(here / "run", "s1", "s2"))
    assert answer.code == 0, answer
    extract = stages_of(here / "p")["extract"]
    assert extract["cmd"] == ["sammil extract", "sammil convert-legacy"]
    assert {"artifacts/patches", "data/features/run", "artifacts/code/convert-legacy.txt"} <= set(extract["deps"])
    params = yaml.safe_load((here / "p/params.yaml").read_text(encoding="utf-8"))
    assert set(extract["params"]) <= set(params)  # those that it had not were added
    assert in_hand_of(here / "p/dvc.yaml") == InHand(folders=("run",), beside=True)
    assert sammil("init", "p", "--update").code == 0
    assert stages_of(here / "p")["extract"] == extract


def test_features_in_a_project_whose_slides_never_came_make_it_one_of_features(sammil: Sammil, here: Path) -> None:
    assert sammil("init", "p", "--no-dvc").code == 0
    answer = sammil("init", "p", "--update", "--from-features", features(here / "run", "s1", "s2"))
    assert answer.code == 0, answer
    assert "segment" not in stages_of(here / "p")
    lines = [line for line in (here / "p/params.yaml").read_text(encoding="utf-8").splitlines() if line[:1] not in "#"]
    assert len(lines) == len({line.partition(":")[0] for line in lines})


def test_places_are_kept_where_other_folders_have_none(
    sammil: Sammil, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features(here / "placed", "s1")
    features(here / "bare")
    np.save(here / "bare/s2.npy", np.ones((3, 4), np.float32))
    start(sammil, "--from-features", "placed", "--from-features", "bare")
    monkeypatch.chdir(here / "p")
    answer = sammil("convert-legacy", "--workers", 1)
    assert answer.code == 0, answer
    corners = {name: read_bag(Path(f"artifacts/bags/{name}.h5")).xy for name in ("s1", "s2")}
    np.testing.assert_array_equal(corners["s1"], XY)
    assert (corners["s2"] == -1).all()


def test_without_features_in_the_project_convert_legacy_asks_for_a_source(sammil: Sammil, here: Path) -> None:
    answer = sammil("convert-legacy")
    assert answer.code == 2
    assert "data/features holds no folder of features" in answer.err
    assert "--from-features FOLDER" in answer.err


def test_the_text_of_the_pipeline_names_each_folder() -> None:
    """DVC follows a link that is named, and none that lies in a folder."""
    stages = yaml.safe_load(render_dvc(demo=False, in_hand=InHand(folders=("a", "b"))))["stages"]
    assert {"data/features/a", "data/features/b"} <= set(stages["convert-legacy"]["deps"])
    assert stages["code"]["cmd"] == "sammil code --features"


def test_features_without_coordinates_that_an_update_brings_are_converted(sammil: Sammil, here: Path) -> None:
    features(here / "run", "s1", "s2")
    start(sammil, "--from-features", "run")
    more = features(here / "more", "s3", places=False)
    answer = sammil("init", "p", "--update", "--from-features", more)
    assert "features_without_coords: true, since some of these features have none" in answer.out
    text = Path("p/params.yaml").read_text(encoding="utf-8")
    (line,) = (line for line in text.splitlines() if line.startswith("features_without_coords: true"))
    assert "# whether" in line  # the rest of the line is as it was
    with inside(here / "p"):
        assert sammil("convert-legacy", "--workers", 1).code == 0
        assert sorted(path.stem for path in Path("artifacts/bags").glob("*.h5")) == ["s1", "s2", "s3"]


def test_a_sam_mil_run_without_its_segments_gets_regions_or_is_refused(sammil: Sammil, here: Path) -> None:
    run = features(here / "run", "s1")
    with h5py.File(run / "s1.h5", "a") as file:
        file["coords"][-1] = -1  # a group row
    refused = sammil("init", "p", "--no-dvc", "--from-features", run)
    assert (refused.code, "--regions features" in refused.err) == (2, True)
    assert not Path("p").exists()
    start(sammil, "--from-features", run, "--regions", "features")
    with inside(here / "p"):
        answer = sammil("convert-legacy", "--workers", 1, "--out", "artifacts/features")
    assert answer.code == 0, answer
