"""Who drew a picture: written into the PNG, read from it, and said on the page of pictures."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from sammil_cli.report.document import picture_size
from sammil_cli.report.drawn_by import DrawnBy, drawn_by, signed
from sammil_cli.report.slide_rows import SlideRow
from sammil_cli.report.slides_page import write_slides_page
from sammil_cli.storage.picture_file import encode_picture

PIXELS = np.arange(7 * 5 * 3, dtype=np.uint8).reshape(5, 7, 3)
PNG = encode_picture(".png", PIXELS)
OUT_OF_FOLD = DrawnBy(models=("repeat_0_fold_2",), seen=False)
IN_SAMPLE = DrawnBy(models=("repeat_0_fold_0", "repeat_0_fold_1"), seen=True)


@pytest.mark.parametrize("by", [OUT_OF_FOLD, IN_SAMPLE, DrawnBy(models=("ä 1",), seen=None)])
def test_a_picture_says_who_drew_it_and_stays_the_picture(by: DrawnBy, tmp_path: Path) -> None:
    png = signed(PNG, by)
    (tmp_path / "a.png").write_bytes(png)
    assert drawn_by(tmp_path / "a.png") == by
    assert picture_size(png[:24]) == (7, 5)
    assert (cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1] == PIXELS).all()


@pytest.mark.parametrize(
    "content",
    [
        PNG,
        b"",
        PNG[:20],
        signed(PNG, OUT_OF_FOLD)[:60],
        signed(PNG, OUT_OF_FOLD).replace(b'{"models"', b'{"others"'),
        signed(PNG, OUT_OF_FOLD).replace(b'{"models"', b'["models"]'),
        signed(PNG, OUT_OF_FOLD).replace(b"sammil drawn by", b"somebody else's"),
    ],
)
def test_a_picture_that_does_not_say_it_is_of_nobody_known(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    assert drawn_by(tmp_path / "a.png") is None
    assert drawn_by(tmp_path / "gone.png") is None


def page_of(folder: Path, **by: DrawnBy | None) -> str:
    for name, one in by.items():
        (folder / f"{name}.png").write_bytes(signed(PNG, one) if one else PNG)
    rows = [SlideRow(name=name, truth="tumour", called="tumour", remarks=["pen: 1%"]) for name in list(by)[:2]]
    write_slides_page(folder, rows, [], positive_class="tumour", mark=None)
    return re.sub(r"\\s+", " ", (folder / "index.html").read_text(encoding="utf-8"))


def test_pictures_that_were_drawn_alike_take_one_sentence(tmp_path: Path) -> None:
    page = page_of(tmp_path, a=OUT_OF_FOLD, b=DrawnBy(models=("repeat_0_fold_1",), seen=False))
    assert "2 slides, each by the model of a fold that did not see it in training." in page
    assert "in sample" not in page
    assert "in-sample" not in page
    assert "drawn by" not in page


def test_pictures_that_were_drawn_otherwise_are_counted_and_named(tmp_path: Path) -> None:
    several = DrawnBy(models=("repeat_0_fold_0", "repeat_0_fold_1"), seen=False)
    page = page_of(tmp_path, a=IN_SAMPLE, b=OUT_OF_FOLD, new=several, old=None, c=OUT_OF_FOLD)
    assert (
        "5 slides: 2 each by the model of a fold that did not see it in training; 1 in sample, each by models of which "
        "some were trained or chosen on it; 1 each by several models together that did not see it in training; 1 by "
        "models that their pictures do not name."
    ) in page
    table = page.split("<tbody>", 1)[1].split("</tbody>", 1)[0]
    cells = {}
    for row in table.split("</tr>")[:-1]:
        texts = [re.sub("<[^>]*>", "", cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
        cells[texts[0]] = texts[1:]
    assert [text for text in cells["a"] if "in-sample" in text]
    assert "2 models" in cells["a"]
    assert "2 models" in cells["new"]
    assert "repeat_0_fold_2" in cells["b"]
    assert page.count("in-sample: drawn by models that were trained or chosen on it") >= 1
    assert not any("in-sample" in text for name in ("b", "new", "old", "c") for text in cells[name])
