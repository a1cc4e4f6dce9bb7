"""sammil wsi-sam prompt as it is typed: what it writes, does again, and refuses."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from csv_rows import by_slide, rows_of
from inline_executor import open_inline
from painted_model import PAINT, PaintedModel
from slide_maker import write_pyramid

from sammil_cli.config import SamSettings
from sammil_cli.prompting import prompt, promptable
from sammil_cli.prompting.promptable import PlainSam, TwoResolutions, load_promptable
from sammil_cli.regions.sam_models.build import EARLY_WIDTH, load_sam
from sammil_cli.regions.wsi_sam.model import WsiSam
from sammil_cli.regions.wsi_sam.tokens import TokenFacts, write_tokens
from sammil_cli.runner import per_slide
from sammil_cli.storage.geojson import read_geojson

Sammil = Callable[..., Any]
OUT = Path("report/prompted")
LIST = Path("artifacts/process_lists/wsi-sam-prompt.csv")
BOX = "90,100,80,60"


def draw(path: Path, mpp: float | None = 0.5) -> Path:
    """A slide of 960 x 640 px with a painted square at x 100..150, y 110..150."""
    rgb = np.full((640, 960, 3), 255, np.uint8)
    rgb[110:150, 100:150] = PAINT
    return write_pyramid(path, rgb, mpp=mpp)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_sam: dict[str, Any]) -> Path:
    """Two slides; a tiny SAM's weights, and a model that means what is painted; all work is done in this process."""
    names = ("sam_model", "sam_checkpoint", "sam_checkpoint_sha256")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({name: tiny_sam[name] for name in names}))
    monkeypatch.chdir(tmp_path)
    for name in ("s1", "s2"):
        draw(Path("data/slides") / f"{name}.tif")
    monkeypatch.setattr(per_slide, "open_executor", open_inline)
    monkeypatch.setattr(promptable, "load_promptable", lambda *_: PaintedModel(256, needs_low=False))
    return tmp_path


def annotations(path: Path, *boxes: tuple[float, float, float, float], **properties: object) -> Path:
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[[x, y], [x + w, y], [x + w, y + h], [x, y + h], [x, y]]]},
            "properties": {"objectType": "annotation", **properties},
        }
        for x, y, w, h in boxes
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_a_box_becomes_an_outline_and_is_not_computed_again(project: Path, sammil: Sammil) -> None:
    words = ("wsi-sam", "prompt", "data/slides/s1.tif", "--box", BOX, "--name", "a square", "--class", "Paint")
    answer = sammil(*words)
    assert answer.code == 0, answer.err
    (shape,), facts = read_geojson(OUT / "s1.geojson")
    assert (shape.name, shape.class_name, facts["slide_id"]) == ("a square", "Paint", "s1")
    assert shape.geometry.bounds == pytest.approx((100, 110, 150, 150), abs=2)
    (row,) = rows_of(OUT / "prompted.csv")
    assert float(row.pop("area_mm2")) == pytest.approx(2000 * 0.25e-6, rel=0.1)
    assert 0 < float(row.pop("stability")) <= 1
    assert row == {
        "slide_id": "s1",
        "prompt": "1",
        "name": "a square",
        "class": "Paint",
        "predicted_iou": "0.875",
        "mpp": "1.0",
        "remark": "",
    }
    assert not (OUT / "s1.png").exists()

    before = (OUT / "s1.geojson").read_bytes()
    assert "1 reused" in sammil(*words).out
    assert "1 done" in sammil(*words, "--extent", "0.3").out
    assert "1 done" in sammil(*words[:3], "--box", "91,100,80,60").out
    assert "1 reused" in sammil(*words).out
    assert (OUT / "s1.geojson").read_bytes() == before


def test_pictures_are_drawn_where_they_are_asked_for(project: Path, sammil: Sammil) -> None:
    words = [word for x in range(0, 500, 100) for word in ("--box", f"{x},100,80,60")]
    assert sammil("wsi-sam", "prompt", "data/slides/s1.tif", *words, "--pictures").code == 0
    picture = cv2.imread(str(OUT / "s1.png"))
    assert picture is not None
    assert picture.shape[1] == 4 * 330  # four in a row, then one


def test_the_answers_of_other_slides_stay(project: Path, sammil: Sammil) -> None:
    assert sammil("wsi-sam", "prompt", "data/slides/s1.tif", "--box", BOX).code == 0
    assert sammil("wsi-sam", "prompt", "data/slides/s2.tif", "--point", "120,120", "--point", "140,140").code == 0
    assert [row["slide_id"] for row in rows_of(OUT / "prompted.csv")] == ["s1", "s2"]
    assert set(by_slide(LIST)) == {"s1", "s2"}


def test_a_table_asks_of_many_slides_and_a_bad_one_costs_itself(project: Path, sammil: Sammil) -> None:
    Path("data/slides/s3.tif").write_bytes(b"no slide")
    draw(Path("data/slides/s4.tif"), mpp=None)
    draw(Path("data/slides/s5.tif"), mpp=4.0)
    draw(Path("data/slides/s6.tif"))
    draw(Path("data/slides/s7.tif"))  # nobody asks
    lines = ["slide_id,kind,coordinates,name,class", "s6,box,5000 5000 10 10,,"]
    lines += [f"{name},box,90 100 80 60,one,Paint" for name in ("s1", "s3", "s4", "s5")]
    lines += ["s1,points,120 120; 140 140,two,", "s2,polygon,90 100; 170 100; 170 160; 90 160,,"]
    Path("prompts.csv").write_text("\n".join(lines))
    answer = sammil("wsi-sam", "prompt", "--prompts", "prompts.csv", "--workers", "1")
    assert answer.code == 1
    listed = {name: (row["status"], row["code"]) for name, row in by_slide(LIST).items()}
    assert listed == {
        "s1": ("done", ""),
        "s2": ("done", ""),
        "s3": ("set-aside", "E_OPEN"),
        "s4": ("set-aside", "E_MPP"),
        "s5": ("set-aside", "E_COARSE"),
        "s6": ("set-aside", "E_PROMPT"),
    }
    found = [(row["slide_id"], row["prompt"], row["name"], row["class"]) for row in rows_of(OUT / "prompted.csv")]
    assert found == [("s1", "1", "one", "Paint"), ("s1", "2", "two", ""), ("s2", "1", "", "")]
    assert "prompts.csv, line 2" in by_slide(LIST)["s6"]["message"]
    Path("data/slides.csv").write_text("slide_id,mpp\ns4,0.5\n")
    assert sammil("wsi-sam", "prompt", "--prompts", "prompts.csv", "--only", "s4").code == 0
    assert sammil("wsi-sam", "prompt", "--prompts", "prompts.csv", "--fail-over", "60%").code == 0


def test_a_folder_of_drawings_is_refined_slide_by_slide(project: Path, sammil: Sammil) -> None:
    annotations(Path("crude/s1.geojson"), (90, 100, 80, 60), (95, 95, 70, 70), classification={"name": "Paint"})
    annotations(Path("crude/s2.geojson"), (9000, 100, 80, 60), (9000, 95, 70, 70))
    annotations(Path("crude/s22.geojson"), (90, 100, 80, 60))
    answer = sammil("wsi-sam", "prompt", "--prompts", "crude", "--as", "mask")
    assert answer.code == 1
    assert answer.out.count("there is no slide 's22'; did you mean s2") == 1
    assert [shape.class_name for shape in read_geojson(OUT / "s1.geojson")[0]] == ["Paint", "Paint"]
    row = by_slide(LIST)["s2"]
    assert (row["status"], row["code"]) == ("set-aside", "E_PROMPT")
    assert "everything lies off the slide" in row["message"]
    assert "another slide" in row["remedy"]


def test_a_drawing_is_of_the_slide_that_is_named_or_that_it_is_called_like(project: Path, sammil: Sammil) -> None:
    path = annotations(Path("drawn.geojson"), (90, 100, 80, 60))
    assert sammil("wsi-sam", "prompt", "data/slides/s2.tif", "--prompts", path).code == 0
    shutil.copy(path, "s1.geojson")
    assert sammil("wsi-sam", "prompt", "--prompts", "s1.geojson").code == 0
    assert [row["slide_id"] for row in rows_of(OUT / "prompted.csv")] == ["s1", "s2"]
    answer = sammil("wsi-sam", "prompt", "--prompts", path)
    assert answer.code == 2
    assert "SLIDE --prompts drawn.geojson" in answer.err


SLIDE = "data/slides/s1.tif"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((SLIDE,), "nothing is asked"),
        (("--box", BOX), "of which slide"),
        ((SLIDE, "--box", BOX, "--prompts", "t.csv"), "two things are asked"),
        ((SLIDE, "--prompts", "t.csv"), "says itself of which slides"),
        (("--prompts", "t.csv"), "line 2: there is no slide 's_1'"),
        (("--prompts", "gone.csv"), "does not exist"),
        (("--prompts", "params.yaml"), "cannot hold prompts"),
        (("--prompts", "data"), "holds no drawing of any of the 2 slide"),
        (("nowhere.svs", "--box", BOX), "nowhere.svs does not exist"),
        ((SLIDE, "--box", "1,2,3"), "3 numbers"),
        ((SLIDE, "--negative", "1,2"), "none inside"),
        ((SLIDE, "--box", BOX, "--point", "1,2"), "two kinds"),
        ((SLIDE, "--box", BOX, "--as", "outline"), "--as 'outline' is unknown"),
        ((SLIDE, "--box", BOX, "--extent", "0.6"), "--extent 0.6"),
        ((SLIDE, "--box", BOX, "--extent", "1e-9"), "--extent 1e-09"),  # a field of kilometres would be read
        ((SLIDE, "--box", BOX, "--mpp", "-1"), "--mpp -1"),
        ((SLIDE, "--box", BOX, "--mpp", "1e308"), "--mpp 1e+308"),
        ((SLIDE, "--box", BOX, "--only", "s2"), "--only names the slide 's2'"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_any_work(
    project: Path, sammil: Sammil, words: tuple[str, ...], said: str
) -> None:
    Path("t.csv").write_text("slide_id,kind,coordinates\ns_1,box,1 2 3 4\n")
    answer = sammil("wsi-sam", "prompt", *words)
    assert answer.code == 2
    assert said in answer.err
    assert "fix:" in answer.err
    assert not OUT.exists()


@pytest.mark.parametrize("of", ["slide", "drawing", "table"])
def test_what_is_read_is_never_written_over_or_removed(project: Path, sammil: Sammil, of: str) -> None:
    """What lies in the out folder under a slide's name counts as its answers, and goes when they are made anew."""
    if of == "slide":
        out, read, words = Path("data/slides"), Path(SLIDE), (SLIDE, "--box", BOX)
    elif of == "drawing":  # the answers of before, refined
        assert sammil("wsi-sam", "prompt", SLIDE, "--box", BOX).code == 0
        out, read = OUT, OUT / "s1.geojson"
        words = (SLIDE, "--prompts", str(read))
    else:
        out, read = Path(), Path("prompted.csv")
        read.write_text("slide_id,kind,coordinates\ns1,box,90 100 80 60\n")
        words = ("--prompts", str(read))
    before, lying = read.read_bytes(), sorted(out.iterdir())
    answer = sammil("wsi-sam", "prompt", *words, "--out", out)
    assert answer.code == 2
    assert "is read" in answer.err
    assert "fix:" in answer.err
    assert read.read_bytes() == before
    assert sorted(out.iterdir()) == lying


def test_an_interruption_keeps_what_is_finished(project: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("t.csv").write_text("slide_id,kind,coordinates\ns1,box,90 100 80 60\ns2,box,90 100 80 60\n")
    made = []

    def once(*_: object) -> PaintedModel:
        made.append(1)
        if len(made) == 2:
            raise KeyboardInterrupt
        return PaintedModel(256, needs_low=False)

    monkeypatch.setattr(promptable, "load_promptable", once)
    assert sammil("wsi-sam", "prompt", "--prompts", "t.csv").code == 130
    assert [row["slide_id"] for row in rows_of(OUT / "prompted.csv")] == ["s1"]
    answer = sammil("wsi-sam", "prompt", "--prompts", "t.csv")
    assert "1 done, 1 reused" in answer.out


@pytest.mark.parametrize(("workers", "threads"), [((), 6), (("--workers", "2"), 3)])
def test_threads_do_not_follow_from_the_number_of_slides(
    project: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...], threads: int
) -> None:
    """Torch rounds otherwise with others: what else is asked must not change an answer."""
    seen = []

    def load(*_: object) -> PaintedModel:
        seen.append(torch.get_num_threads())
        return PaintedModel(256, needs_low=False)

    monkeypatch.setattr(promptable, "load_promptable", load)
    monkeypatch.setattr(prompt, "usable_cores", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    rows = ["slide_id,kind,coordinates", "s1,box,90 100 80 60", "s2,box,90 100 80 60"]
    for count in (2, 3):
        Path("t.csv").write_text("\n".join(rows[:count]))
        assert sammil("wsi-sam", "prompt", "--prompts", "t.csv", "--device", "cpu", *workers).code == 0
    assert seen == [threads, threads]  # s1 alone, then s2 beside it
    assert torch.get_num_threads() == before


def test_tokens_make_it_wsi_sam_and_those_of_another_sam_are_refused(
    project: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch, tiny_sam: dict[str, Any]
) -> None:
    monkeypatch.setitem(EARLY_WIDTH, "vit_b", 32)
    model = WsiSam(load_sam(Path(tiny_sam["sam_checkpoint"]), "vit_b"), 32)
    facts = {"sam_model": "vit_b", "mpp": 1.0, "side_px": 1024, "provenance": {}}
    for name, sha256 in (("own", tiny_sam["sam_checkpoint_sha256"]), ("other", "0" * 64)):
        write_tokens(Path(f"{name}.safetensors"), model, TokenFacts(**facts, sam_sha256=sha256))
    load = load_promptable.__wrapped__  # without the cache
    plain = load(SamSettings(**tiny_sam), "cpu")
    both = load(SamSettings(**{**tiny_sam, "wsi_sam_tokens": "own.safetensors"}), "cpu")
    assert (type(plain), type(both)) == (PlainSam, TwoResolutions)

    words = ("wsi-sam", "prompt", SLIDE, "--box", BOX)
    assert sammil(*words).code == 0
    answer = sammil(*words, "-S", "wsi_sam_tokens=other.safetensors")
    assert answer.code == 3
    assert "another SAM" in answer.err
    assert sammil(*words, "-S", "wsi_sam_tokens=gone.safetensors").code == 3
    assert "1 done" in sammil(*words, "-S", "wsi_sam_tokens=own.safetensors").out  # not what SAM alone said
