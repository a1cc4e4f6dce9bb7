"""`sammil tiles`: folders of pictures become bags, each slide by itself, and a project of them needs no slides."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from csv_rows import by_slide
from inline_executor import open_inline

from sammil_cli.features.bag import FeatureBag, read_bag
from sammil_cli.project.in_hand import InHand, in_hand_of
from sammil_cli.runner import per_slide
from sammil_cli.storage.paths import BagPath

Sammil = Callable[..., Any]
LIST = Path("artifacts/process_lists/tiles.csv")
GRID = [(column, row) for row in range(3) for column in range(4)]
TEXTURE = ("-S", "encoder=texture", "--workers", 1)


def tile(path: Path, seed: int, side: int = 64) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(90, 220, (side, side, 3), dtype=np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, cv2.GaussianBlur(noise, (3, 3), 0))[1].tobytes())


def slide(folder: Path, form: str = "{x}_{y}.png", step: int = 64) -> Path:
    for number, (column, row) in enumerate(GRID):
        tile(folder / form.format(x=step * column, y=step * row, number=number), number)
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(per_slide, "open_executor", open_inline)
    Path("params.yaml").write_text("encoder: texture\n", encoding="utf-8")
    return tmp_path


def bag_of(slide_id: str) -> FeatureBag:
    return read_bag(BagPath(Path(f"artifacts/bags/{slide_id}.h5")))


def remarks_of(slide_id: str) -> str:
    return str(by_slide(LIST)[slide_id]["remarks"])


def test_names_with_pixels_give_bags_with_places(sammil: Sammil, here: Path) -> None:
    slide(here / "t/a", step=128)  # tiles of 64 px that cover 128 of level 0, side by side
    slide(here / "t/b", step=128)
    answer = sammil("tiles", "t", *TEXTURE, "-S", "tiles_mpp=0.5")
    assert answer.code == 0, answer
    assert "24 tiles of 2 slide(s)" in answer.out
    assert "places come from the names (two numbers at the end): level-0 pixels" in answer.out
    bag = bag_of("a")
    assert bag.xy.tolist() == [[128 * column, 128 * row] for column, row in GRID]
    assert (bag.encoder.patch_px, bag.encoder.patch_mpp) == (64, 0.5)
    assert bag.made_with["tiles"]["places"] == "pixels"
    assert (len(bag.region_area), len(bag.group_features), set(bag.region)) == (0, 0, {-1})
    assert np.isfinite(bag.features).all()


@pytest.mark.parametrize(("given", "side"), [(None, 0), (128, 128)])
def test_what_a_tile_covers_is_given_or_not_known(sammil: Sammil, here: Path, given: int | None, side: int) -> None:
    slide(here / "t/a", step=32)  # they overlap
    words = ("-S", f"tiles_px_level0={given}") if given else ()
    assert sammil("tiles", "t", *TEXTURE, *words).code == 0
    assert bag_of("a").encoder.patch_px_level0 == side
    assert ("side: nothing says" in remarks_of("a")) == (given is None)


def test_counted_places_become_pixels_of_tiles_side_by_side(sammil: Sammil, here: Path) -> None:
    slide(here / "t/a", "row{y}_col{x}.png", step=1)
    answer = sammil("tiles", "t", *TEXTURE)
    assert "places counted on a grid" in answer.out
    assert "µm per pixel are not known" in answer.out
    bag = bag_of("a")
    assert bag.xy.tolist() == [[64 * column, 64 * row] for column, row in GRID]
    assert (bag.encoder.patch_px_level0, bag.made_with["tiles"]["places"]) == (64, "counted")
    assert np.isnan(bag.encoder.patch_mpp)


def test_without_places_tiles_come_in_order_of_their_numbers(sammil: Sammil, here: Path) -> None:
    slide(here / "t/a", "tile{number}.jpg")
    assert sammil("tiles", "t", *TEXTURE).code == 0
    bag = bag_of("a")
    assert (bag.xy == -1).all()
    assert bag.made_with["tiles"]["places"] == "none"
    for last in (10, 11):
        (here / f"t/a/tile{last}.jpg").unlink()
    assert sammil("tiles", "t", *TEXTURE).code == 0
    np.testing.assert_allclose(bag_of("a").features, bag.features[:10], rtol=1e-5)


def test_a_slide_at_fault_costs_itself_only_and_what_is_done_is_used_again(sammil: Sammil, here: Path) -> None:
    for name in "abcde":
        slide(here / "t" / name)
    tile(here / "t/b/0_192.png", 0, side=32)
    (here / "t/c/64_64.png").write_bytes(b"no picture")
    shutil.copy(here / "t/d/64_64.png", here / "t/d/64_064.png")
    answer = sammil("tiles", "t", *TEXTURE)
    assert answer.code == 1
    rows = by_slide(LIST)
    assert [rows[name]["code"] for name in "abcde"] == ["", "E_TILES", "E_READ", "E_TILES", ""]
    assert "32 x 32 px: 0_192.png" in rows["b"]["message"]
    assert "1 of 12 tiles cannot be read, 64_64.png" in rows["c"]["message"]
    assert "have the same place, 64, 64" in rows["d"]["message"]
    again = sammil("tiles", "t", *TEXTURE, "-S", "unreadable_share=0.1")
    assert again.code == 1
    assert "unreadable: 1 of 12 tiles are left out, 64_64.png" in remarks_of("c")
    assert [64, 64] not in bag_of("c").xy.tolist()
    assert len(bag_of("c").features) == 11
    assert sammil("tiles", "t", *TEXTURE, "--only", "a,e").code == 0
    assert [by_slide(LIST)[name]["status"] for name in "ae"] == ["reused", "reused"]
    shutil.rmtree(here / "t/e")
    tile(here / "t/a/64_64.png", 77)
    assert "removed what it had made of 2 slide(s): c, e" in sammil("tiles", "t", *TEXTURE).out
    assert by_slide(LIST)["a"]["status"] == "done"
    assert sammil("tiles", "t", *TEXTURE).out.count("1 reused") == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("gone",), 2, "gone is no folder"),
        (("t", "-S", "tiles_names=("), 2, "no regular expression"),
        (("t", "--only", "b"), 2, "--only names the slide 'b'"),
        (("t", "--out", "t/a"), 2, "t/a holds tiles, and is to hold the bags"),
        (("t", "-S", "tiles_mpp=0"), 2, "tiles_mpp"),
        (("t", "-S", "tiles_names=_(?P<x>[0-9]+)_(?P<y>[0-9]+)$"), 1, "does not say where the tile lies"),
    ],
)
def test_what_cannot_be_is_said_before_any_work(
    sammil: Sammil, here: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    slide(here / "t/a")
    answer = sammil("tiles", *words, *TEXTURE)
    assert (answer.code, said in answer.out + answer.err) == (code, True), answer


def test_tiles_reach_an_auc_in_three_commands_and_the_project_knows_them(
    sammil: Sammil, here: Path, inline_training: None
) -> None:
    rows = [f"s{number},{'ab'[number % 2]}" for number in range(8)]
    for row in rows:
        slide(here / "tiles" / row.partition(",")[0])
    Path("l.csv").write_text("\n".join(["slide_id,label", *rows, ""]), encoding="utf-8")
    started = sammil("init", "p", "--from-tiles", "tiles", "--labels", "l.csv", "--preset", "demo", "--no-dvc")
    assert started.code == 0, started
    assert "sammil tiles, train, evaluate" in started.out
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir("p")
        assert in_hand_of(Path("dvc.yaml")) == InHand(folders=("tiles",), tiles=True)
        stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
        assert list(stages) == ["code", "tiles", "train", "evaluate", "visualize"]
        assert stages["tiles"]["deps"][0] == "data/tiles/tiles"
        params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
        assert {key for stage in stages.values() for key in stage.get("params", ())} == set(params)
        few = ("-S", "folds=2", "-S", "epochs=1", "-S", "positive_class=b", "-S", "protocol=honest")
        checked = sammil("check", *few[:2], *few[4:6])
        assert "slides with features: 8; ready: 8" in checked.out, checked
        assert "tiles │          8 │ 8 × new slide" in sammil("status").out
        for command in ("tiles", "train", "evaluate"):
            answer = sammil(command, *(few if command != "tiles" else ("--workers", 1)))
            assert answer.code == 0, answer
        assert "auc" in json.loads(Path("report/metrics.json").read_text(encoding="utf-8"))
        status = sammil("status").out
        assert "│ tiles     │          8 │       0 │" in status
        assert "folds changed" in status.partition("train")[2]  # in the file they are others than was trained with
        assert "up to date" in sammil("why", "s3").out
        assert sammil("why", "s9").code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--from-tiles", "t", "--from-features", "t"), "start different projects"),
        (("--from-tiles", "t", "--wsi-sam"), "trains on slides"),
        (("--from-tiles", "t", "--regions", "features"), "regions need to know where tiles lie"),
        (("--from-tiles", "t", "--from-tiles", "u/t"), "'a' lies in"),
        (("--from-tiles", "gone"), "is no folder"),
    ],
)
def test_a_project_that_cannot_be_is_refused_before_anything_is_written(
    sammil: Sammil, here: Path, words: tuple[str, ...], said: str
) -> None:
    slide(here / "t/a", "tile{number}.png")
    slide(here / "u/t/a", "tile{number}.png")
    answer = sammil("init", "p", "--no-dvc", *words)
    assert (answer.code, said in answer.err) == (2, True), answer
    assert not Path("p").exists()


def test_tiles_have_regions_found_where_they_say_their_places(sammil: Sammil, here: Path) -> None:
    slide(here / "t/a")
    assert sammil("init", "p", "--from-tiles", "t", "--regions", "features", "--preset", "demo", "--no-dvc").code == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir("p")
        stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
        for stage in ("tiles", "sam", "extract"):
            answer = sammil(*stages[stage]["cmd"].split()[1:], "--workers", 1)
            assert answer.code == 0, answer
        bag = bag_of("a")
        assert len(bag.group_features) > 0
        assert bag.made_with["tiles"]["places"] == "pixels"
