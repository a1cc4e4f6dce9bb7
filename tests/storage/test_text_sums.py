"""Text files of ours carry a sum: of every flipped bit they are refused, or read as if it were not there."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shapely

from sammil_cli.errors import InputError
from sammil_cli.storage.geojson import read_geojson, read_own_geojson
from sammil_cli.storage.paths import TissuePath, check_id
from sammil_cli.storage.summed import (
    check_sha256,
    has_sum,
    read_of_slide,
    read_summed,
    with_sum,
    without_sum,
    write_of_slide,
    write_summed,
)
from sammil_cli.tissue.mask import TissueMask, read_tissue, write_tissue

FACTS: dict[str, Any] = {"flags": ["fläche: µm²"], "a": 0.1, "b": None, "n": [1, 2.5, -0.0], "deep": {"x": (1, 2)}}
FLIPS = 400


def tissue(path: Path) -> TissuePath:
    square = shapely.Polygon([(0, 0), (40.5, 0), (40.5, 30), (0, 30)], [[(5, 5), (9, 5), (9, 9)]])
    mask = TissueMask(
        slide_id=path.stem,
        polygons=shapely.MultiPolygon([square, shapely.box(60, 60, 80, 90)]),
        slide_mpp=0.25,
        slide_size_px=(400, 300),
        bounds_px=(10, 20, 380, 270),
        scene=2,
    )
    write_tissue(TissuePath(path), mask, {"schema": 1, "stage": "segment", "key": {"slide": "ab" * 20}})
    return TissuePath(path)


def quality(path: Path) -> Path:
    write_of_slide(path, FACTS)
    return path


@pytest.mark.parametrize(
    ("write", "read", "name"),
    [
        (tissue, lambda path: read_tissue(TissuePath(path)), "a.geojson"),
        (tissue, lambda path: read_own_geojson(path, "run: x")[0], "a.geojson"),
        (quality, lambda path: read_of_slide(path, "run: x"), "a.json"),
    ],
    ids=["tissue", "polygons", "quality"],
)
def test_flipped_bits_are_refused_or_harmless(
    tmp_path: Path, write: Callable[[Path], Path], read: Callable[[Path], Any], name: str
) -> None:
    path = write(tmp_path / name)
    whole, content, draw = read(path), path.read_bytes(), random.Random(16)
    errors = []
    for _ in range(FLIPS):
        flipped = bytearray(content)
        flipped[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(bytes(flipped))
        try:
            assert read(path) == whole
        except InputError as error:
            errors.append(error)
    assert all(error.code == "E_DAMAGED" or "upgrade" in error.remedy for error in errors)  # a newer schema's number
    assert len(errors) > 0.95 * FLIPS


def test_an_edit_is_refused_whatever_the_layout_and_a_new_layout_is_none(tmp_path: Path) -> None:
    path = tissue(tmp_path / "a.geojson")
    before, document = read_tissue(path), json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(document, indent=4, sort_keys=True), encoding="utf-8")
    assert read_tissue(path) == before
    document["features"].pop()
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match="checksum differs") as caught:
        read_tissue(path)
    assert caught.value.code == "E_DAMAGED"
    assert "data/edits" in caught.value.remedy
    assert "sammil segment" in caught.value.remedy
    shapes, _ = read_geojson(path)  # as a drawing it counts: editors keep what they do not know
    assert len(shapes) == 1


def test_a_sum_must_be_there_from_its_schema_on_and_files_of_before_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"flags": [], "schema": 1}', encoding="utf-8")
    assert read_of_slide(path, "x") == {"flags": []}
    path.write_text('{"flags": []}', encoding="utf-8")
    assert read_summed(path, "x") == {"flags": []}
    assert not has_sum(path)
    path.write_text('{"flags": [], "schema": 2}', encoding="utf-8")
    with pytest.raises(InputError, match="checksum is missing"):
        read_summed(path, "x")
    path.write_text('{"flags": [], "schema": "2"}', encoding="utf-8")
    with pytest.raises(InputError, match="checksum is missing"):
        read_summed(path, "x")


def test_a_sum_is_of_the_content_and_can_be_set_anew() -> None:
    once = with_sum(FACTS)
    assert with_sum({**once, "a": 0.2}) == with_sum({**FACTS, "a": 0.2})
    assert with_sum(FACTS, [1]) != once
    read_back = json.loads(json.dumps(once))
    assert without_sum(Path("x"), read_back, "") == {k: v for k, v in read_back.items() if k != "sum"}


def test_a_file_under_another_slides_name_is_refused_with_both(tmp_path: Path) -> None:
    for path, read in (
        (tissue(tmp_path / "a.geojson"), lambda path: read_tissue(TissuePath(path))),
        (quality(tmp_path / "a.json"), lambda path: read_of_slide(path, "run: x")),
    ):
        other = path.rename(path.with_stem("b"))
        with pytest.raises(InputError, match="is of the slide 'a'") as caught:
            read(other)
        assert caught.value.code == "E_MIXED"
        assert f"a{path.suffix}" in caught.value.remedy


def test_of_a_file_of_terabytes_no_more_than_the_limit_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sammil_cli.storage.geojson.MOST_BYTES", 1 << 20)
    with (tmp_path / "a.geojson").open("wb") as file:
        file.truncate(1 << 43)
    with pytest.raises(InputError, match="it is larger than 1 MiB") as caught:
        read_tissue(TissuePath(tmp_path / "a.geojson"))
    assert caught.value.code == "E_DAMAGED"


def test_a_name_in_another_normal_form_is_the_same(tmp_path: Path) -> None:
    for path, read in (
        (tissue(tmp_path / "J\u00e4ger.geojson"), lambda path: read_tissue(TissuePath(path)).slide_mpp),
        (quality(tmp_path / "J\u00e4ger.json"), lambda path: read_of_slide(path, "run: x")),
    ):
        as_macos_gives_it = path.rename(path.with_stem("Ja\u0308ger"))
        assert read(as_macos_gives_it)


def test_a_file_that_another_names_is_that_one(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    with pytest.raises(InputError, match="it is missing"):
        check_sha256(path, "0", tmp_path / "y", "run: x")
    write_summed(path, {})
    with pytest.raises(InputError, match="is not the file that") as caught:
        check_sha256(path, "0", tmp_path / "y", "run: x")
    assert caught.value.code == "E_DAMAGED"


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/b", "/etc/a", "a\\b", "a\0b"])
def test_an_id_is_never_a_path(name: str) -> None:
    with pytest.raises(InputError, match="ids are never paths"):
        check_id(name, Path("runs/splits.csv"))


@pytest.mark.parametrize("name", ["a", "..a", "a..", "a b", "ä", "a,b", "-", "a.b.c"])
def test_any_file_name_is_an_id(name: str) -> None:
    check_id(name, Path("runs/splits.csv"))
