"""Files that sammil would not write are refused by name, cost no memory and lead nowhere."""

import json
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from h5_files import READ, WRITE, as_first_version, bag, grid, set_array, set_fact

from sammil_cli.errors import InputError, MissingError, SlideError
from sammil_cli.features.bag import read_instances, read_origin, write_bag
from sammil_cli.features.bag_check import read_checked
from sammil_cli.storage import hdf5_layout, hdf5_process, schema
from sammil_cli.storage.hdf5 import write_hdf5
from sammil_cli.storage.hdf5_layout import layout_of
from sammil_cli.storage.schema import kinds, schema_of

DOCS = Path(__file__).resolve().parents[2] / "docs" / "formats.md"
every_kind = pytest.mark.parametrize("kind", list(WRITE))


def huge(path: Path, name: str, dtype: str, shape: tuple[int, ...]) -> None:
    """55 GiB that take nothing on the disk."""
    with h5py.File(path, "r+") as file:
        del file[name]
        file.create_dataset(name, shape, dtype, chunks=(*(1 for _ in shape[:-1]), shape[-1]), compression="gzip")


def bomb(path: Path, name: str, dtype: str, shape: tuple[int, ...]) -> None:
    """A piece that unpacks to more than the array holds."""
    with h5py.File(path, "r+") as file:
        del file[name]
        data = file.create_dataset(name, shape, dtype, chunks=shape, compression="gzip", shuffle=True)
        data.id.write_direct_chunk((0,) * len(shape), zlib.compress(bytes(64 << 20)))


def virtual(path: Path, name: str) -> None:
    with h5py.File(path, "r+") as file:
        shape, dtype = file[name].shape, file[name].dtype
        del file[name]
        layout = h5py.VirtualLayout(shape, dtype)
        layout[...] = h5py.VirtualSource("other.h5", name, shape, dtype)
        file.create_virtual_dataset(name, layout)


def raw(path: Path, name: str) -> None:
    with h5py.File(path, "r+") as file:
        shape, dtype = file[name].shape, file[name].dtype
        del file[name]
        secret = path.with_name("secret.raw")
        secret.write_bytes(bytes(4096))
        file.create_dataset(name, shape, dtype, external=[(str(secret), 0, 4096)])


def circle(path: Path, name: str) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = file["/"]


def typed(path: Path, name: str, dtype: Any) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]
        file.create_dataset(name, (3,), dtype)


def named_type(path: Path, name: str) -> None:
    with h5py.File(path, "r+") as file:
        shape = file[name].shape
        file["a type"] = file[name].dtype
        del file[name]
        file.create_dataset(name, shape, file["a type"], data=np.zeros(shape))


ARRAY: dict[str, Callable[[Path, str], None]] = {
    "soft link": partial(set_array, value=h5py.SoftLink("/gone")),
    "circle of soft links": lambda path, name: set_array(path, name, h5py.SoftLink(f"/{name}")),
    "external link": partial(set_array, value=h5py.ExternalLink("/etc/passwd", "/x")),
    "itself": circle,
    "virtual": virtual,
    "raw storage elsewhere": raw,
    "empty": partial(set_array, value=h5py.Empty("f4")),
    "text": partial(set_array, value=["a", "b"]),
    "one number": partial(set_array, value=np.float32(1)),
    "pairs": partial(set_array, value=np.zeros(4, [("a", "i4"), ("b", "f4")])),
    "references": partial(typed, dtype=h5py.ref_dtype),
    "lists": partial(typed, dtype=h5py.vlen_dtype(np.int32)),
    "complex": partial(set_array, value=np.zeros((3, 2), np.complex64)),
    "missing": partial(set_array, value=None),
    "named type": named_type,
    "other filter": lambda path, name: set_array(path, name, np.zeros((9, 2), "f4"), compression="lzf"),
}
MAIN = {"patches": "xy", "regions": "box", "bag": "features", "artefacts": "pen"}


@every_kind
@pytest.mark.parametrize("how", ARRAY)
def test_an_array_that_is_none_of_ours_is_refused(tmp_path: Path, kind: str, how: str) -> None:
    path = tmp_path / "s.h5"
    WRITE[kind](path)
    as_first_version(path)  # no sum would find it
    ARRAY[how](path, MAIN[kind])
    with pytest.raises(InputError, match=MAIN[kind]) as caught:
        READ[kind](path)
    assert caught.value.code == "E_DAMAGED"
    assert f"sammil {schema_of(kind).stage}" in caught.value.remedy
    assert f"dvc checkout {tmp_path}" in caught.value.remedy


CLAIMS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "55 GiB of features": ("bag", lambda path: huge(path, "features", "f4", (1 << 31, 7)), "features"),
    "55 GiB of a map": ("regions", lambda path: huge(path, "label_map", "i4", (120_000, 123_000)), "label_map"),
    "a bomb": ("artefacts", lambda path: bomb(path, "pen", "u1", (6, 10)), "does not unpack to its length"),
    "a bomb of runs": ("regions", lambda path: bomb(path, "runs", "u4", (100,)), "does not unpack to its length"),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_claims_much_costs_nothing(tmp_path: Path, claim: str) -> None:
    kind, make, said = CLAIMS[claim]
    path = tmp_path / "s.h5"
    WRITE[kind](path)
    as_first_version(path)
    make(path)
    with pytest.raises(InputError, match=said) as caught:
        READ[kind](path)
    assert caught.value.code == "E_DAMAGED"


FACTS: dict[str, tuple[str, str, Any, str]] = {
    "NaN mpp": ("patches", "slide_mpp", float("nan"), "no finite number"),
    "infinite mpp": ("patches", "patch_mpp", float("inf"), "no finite number"),
    "no mpp": ("regions", "canvas_mpp", 0.0, "more than 0"),
    "negative mpp": ("artefacts", "mpp", -1.0, "more than 0"),
    "text for a number": ("patches", "patch_px", "64", "is no integer"),
    "half a pixel": ("patches", "patch_px", 64.5, "is no integer"),
    "number for text": ("patches", "slide_id", 7, "is no text"),
    "several texts": ("bag", "encoder_name", ["a", "b"], "is too long|neither text"),
    "empty": ("bag", "encoder_dim", h5py.Empty("i8"), "is empty"),
    "too few": ("patches", "slide_size_px", [640], "has 1 values, not 2"),
    "too many": ("artefacts", "cell_px0", np.ones(40), "is too long"),
    "a table": ("artefacts", "cell_px0", np.ones((2, 2)), "is no number"),
    "one for several": ("patches", "bounds_px", 3, "has 1 values, not 4"),
    "a pair": ("regions", "canvas_mpp", np.zeros((), [("a", "i4"), ("b", "f4")]), "neither text nor numbers"),
    "long text": ("bag", "encoder_name", "a" * (17 << 20), "encoder_name is too long"),
    "broken JSON": ("bag", "made_with", "{", "is no JSON"),
    "deep JSON": ("bag", "made_with", '{"a":' + "[" * 100_000, "is no JSON"),
    "a list": ("patches", "waterfall", "[1]", "is no JSON object"),
    "settings that are none": ("bag", "made_with", '{"patch": 3}', "made_with holds no settings"),
    "missing": ("regions", "canvas_downsample", None, "canvas_downsample is missing"),
    "NaN mpp of a bag of ours": ("bag", "encoder_patch_mpp", float("nan"), "encoder_patch_mpp is no number"),
    "a step of 0": ("patches", "step_px_level0", 0, "is the least"),
    "bounds off the slide": ("patches", "bounds_px", (600, 6, 600, 400), "do not lie on the slide"),
    "an encoder trained at 0": ("bag", "encoder_mpp", 0.0, "must be more than 0"),
    "another dimension": ("bag", "encoder_dim", 6, "5-d, and its encoder texture gives 6-d"),
}


@pytest.mark.parametrize("wrong", FACTS)
def test_an_attribute_out_of_its_schema_is_named(tmp_path: Path, wrong: str) -> None:
    kind, name, value, said = FACTS[wrong]
    path = tmp_path / "s.h5"
    WRITE[kind](path)
    as_first_version(path)
    set_fact(path, name, value)
    with pytest.raises(InputError, match=said) as caught:
        READ[kind](path)
    assert caught.value.code == "E_DAMAGED"


def test_a_disk_that_fails_is_not_taken_for_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.h5"
    WRITE["bag"](path)

    def failing(_: Path) -> None:
        said = "Unable to synchronously open file (file read failed: errno = 5, error message = 'Input/output error')"
        raise hdf5_process.UnreadableError(said)

    monkeypatch.setattr("sammil_cli.storage.hdf5.look_into", failing)
    with pytest.raises(MissingError) as caught:
        read_instances(path)
    assert caught.value.code == "E_DISK"
    assert "delete" not in caught.value.remedy


def test_texts_that_share_their_place_do_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "s.h5", "w", libver="v110") as file:
        for number in range(5):
            file.create_dataset(f"{number}", data=np.zeros(1)).attrs["text"] = "a" * 1000
    assert len(layout_of(tmp_path / "s.h5").array_facts) == 5
    monkeypatch.setattr(hdf5_layout, "_MOST_FACTS", 4000)
    with pytest.raises(ValueError, match="its attributes hold more than"):
        layout_of(tmp_path / "s.h5")


NUMBERS: dict[str, tuple[str, str, Any, str]] = {
    "a region beyond": ("bag", "region", np.full(60, 3, np.int32), "names regions that it does not have: it has 3"),
    "a region below": ("bag", "region", np.full(60, -2, np.int32), "region holds -2"),
    "a group region beyond": ("bag", "group_region", np.array([0, 3], np.int32), "regions that it does not have"),
    "falling members": ("bag", "member_start", np.array([0, 3, 2, 4], np.int64), "member_start falls"),
    "members that begin late": ("bag", "member_start", np.array([1, 2, 2, 4], np.int64), "from 0 to the 4 members"),
    "members that end early": ("bag", "member_start", np.array([0, 2, 2, 3], np.int64), "from 0 to the 4 members"),
    "too few starts": ("bag", "member_start", np.array([0, 4], np.int64), "member_start has the shape"),
    "a member beyond": ("bag", "member_patch", np.array([0, 1, 1, 60], np.int32), "it has 60 patches"),
    "half a place": ("bag", "xy", np.where(np.arange(120) < 2, -1, 5).reshape(60, 2).astype("i4"), "have no place"),
    "other lengths": ("bag", "xy", np.zeros((4, 2), np.int32), "xy has the shape"),
    "another type": ("bag", "region", np.zeros(60, np.int64), "region is of the type int64"),
    "another byte order": ("bag", "region", np.zeros(60, ">i4"), "region is of the type >i4"),
    "no area": ("regions", "area_px", np.array([0, 9], np.int64), "area_px holds 0"),
    "falling offsets": ("regions", "offsets", np.array([0, 9, 3], np.int64), "offsets falls"),
    "offsets beyond": ("regions", "offsets", np.array([0, 9, 900], np.int64), "offsets do not go from 0"),
    "a box off the canvas": ("regions", "box", np.array([[40, 5, 30, 20], [40, 11, 9, 9]], "i4"), "canvas of 60 x 50"),
    "a box beside its mask": ("regions", "box", np.array([[4, 5, 30, 20], [40, 11, 9, 9]], "i4"), "out of its box"),
    "a low box": ("regions", "box", np.array([[3, 5, 30, 20], [40, 12, 9, 9]], "i4"), "out of its box"),
    "another area": ("regions", "area_px", np.array([600, 10], np.int64), "do not have its area"),
    "a patch off the slide": ("patches", "xy", np.array([[10, 6], [640, 6], [10, 9]], "i4"), "outside of the slide"),
    "a patch beside the bounds": ("patches", "xy", np.array([[9, 6], [64, 6], [10, 9]], "i4"), "outside of the slide"),
    "a negative patch": ("patches", "xy", np.array([[10, 6], [-1, 6], [10, 9]], "i4"), "xy holds -1"),
    "a share above 1": ("patches", "pen", np.array([0, 1.5, 0], np.float16), "pen holds 1.5"),
    "a share of NaN": ("patches", "blur", np.array([0, np.nan, 0], np.float16), "blur holds numbers that are not"),
}


@pytest.mark.parametrize("wrong", NUMBERS)
def test_numbers_out_of_their_schema_are_named(tmp_path: Path, wrong: str) -> None:
    kind, name, value, said = NUMBERS[wrong]
    path = tmp_path / "s.h5"
    WRITE[kind](path)
    as_first_version(path)
    set_array(path, name, value)
    with pytest.raises(InputError, match=said) as caught:
        READ[kind](path)
    assert caught.value.code == "E_DAMAGED"


def test_runs_that_do_not_fill_the_canvas_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    WRITE["regions"](path)
    as_first_version(path)
    with h5py.File(path) as file:
        runs = file["runs"][()]
    set_array(
        path,
        "runs",
        np.where(np.arange(len(runs)) == 0, runs + 1, runs).astype("u4"),
        **{"compression": "gzip", "shuffle": True},
    )
    with pytest.raises(InputError, match="the runs of region 0 cover 3001 of 3000 pixels"):
        READ["regions"](path)


def test_patches_may_reach_over_the_edge_with_their_bodies_only(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    xy = np.array([[609, 405], [500, 400]], np.int32)
    facts = {name: value for name, value in vars(grid("s")).items() if name not in ("xy", "scores", "waterfall")}
    write_hdf5(path, "patches", {"xy": xy}, facts, {})
    assert READ["patches"](path).xy.tolist() == xy.tolist()
    path = tmp_path / "old" / "s.h5"  # an older tool's grid may lie beside what was scanned, on the slide
    write_hdf5(path, "patches", {"xy": xy + 30}, facts | {"step_px_level0": None}, {})
    assert READ["patches"](path).xy.tolist() == (xy + 30).tolist()


# ------------------------------------------------------------------------------------------- names inside and outside


@every_kind
def test_a_file_that_was_renamed_is_mixed_up_with_another(tmp_path: Path, kind: str) -> None:
    WRITE[kind](tmp_path / "a.h5")
    (tmp_path / "b.h5").write_bytes((tmp_path / "a.h5").read_bytes())
    readers: list[Callable[[Path], Any]] = [READ[kind]]
    if kind == "bag":
        readers += [read_instances, read_origin]
    for read in readers:
        with pytest.raises(InputError, match=r"b\.h5 is of the slide 'a'") as caught:
            read(tmp_path / "b.h5")
        assert caught.value.code == "E_MIXED"
    if kind == "bag":
        with pytest.raises(SlideError, match="is of the slide 'a'") as of_slide:
            read_checked(tmp_path / "b.h5")
        assert of_slide.value.code == "E_MIXED"


@pytest.mark.parametrize("slide", ["../out", "/tmp/out", "a/b", "..", "", "a\\b", "s\n"])
def test_no_file_is_written_or_read_for_an_id_that_is_not_its_name(tmp_path: Path, slide: str) -> None:
    with pytest.raises(ValueError, match="it is of the slide"):
        write_bag(tmp_path / "s.h5", bag(slide), {})
    assert list(tmp_path.rglob("*")) == []
    write_bag(tmp_path / "s.h5", bag("s"), {})
    as_first_version(tmp_path / "s.h5")
    set_fact(tmp_path / "s.h5", "slide_id", slide)
    with pytest.raises(InputError) as caught:
        READ["bag"](tmp_path / "s.h5")
    assert caught.value.code == "E_MIXED"


def test_a_name_in_another_normal_form_is_the_same_name(tmp_path: Path) -> None:
    write_bag(tmp_path / "Mu\u0308ller.h5", bag("M\u00fcller"), {})
    assert READ["bag"](tmp_path / "Mu\u0308ller.h5").slide_id == "M\u00fcller"


# ------------------------------------------------------------------------------------------------ schemas, files, docs


def test_every_kind_has_a_schema_and_a_writer() -> None:
    assert kinds() == tuple(sorted(WRITE))


@every_kind
def test_the_schema_is_what_is_written(tmp_path: Path, kind: str) -> None:
    WRITE[kind](tmp_path / "s.h5")
    known = schema_of(kind)
    with h5py.File(tmp_path / "s.h5") as file:
        assert set(file) == set(known.arrays)
        optional = {name for name, spec in known.attributes.items() if spec.optional}
        facts = set(file.attrs) - {"kind", "schema", "provenance", "sums"}
        assert set(known.attributes) - optional <= facts <= set(known.attributes)
        assert {name for name in file if file[name].compression} == {
            name for name, spec in known.arrays.items() if spec.compressed
        }


@every_kind
def test_the_schema_says_nothing_that_is_not_checked(kind: str) -> None:
    content = json.loads((schema.FOLDER / f"{kind}.json").read_text(encoding="utf-8"))
    assert set(content) == {"kind", "stage", "arrays", "attributes"}
    assert content["kind"] == kind
    for spec in content["arrays"].values():
        assert set(spec) <= set(schema.ArraySpec.__dataclass_fields__)
        assert bool(spec.get("most_mib")) == spec.get("compressed", False)
    for spec in content["attributes"].values():
        assert set(spec) <= set(schema.AttributeSpec.__dataclass_fields__)
        assert spec["type"] in ("text", "json", "integer", "number")


@every_kind
def test_the_docs_name_all_that_the_schema_has(kind: str) -> None:
    text = DOCS.read_text(encoding="utf-8")
    begin = text.index(f"(kind `{kind}`)")
    section = text[begin : text.find("\n## ", begin)]
    named = [*schema_of(kind).arrays, *schema_of(kind).attributes]
    assert [name for name in named if f"`{name}`" not in section] == []


def test_a_writer_refuses_what_its_schema_does_not_have(tmp_path: Path) -> None:
    facts = {name: value for name, value in vars(grid("s")).items() if name not in ("xy", "scores", "waterfall")}
    xy = np.array([[10, 6]], np.int32)
    wrong: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({"xy": xy, "more": xy}, facts, "its schema does not have more"),
        ({"xy": xy}, facts | {"more": 1}, "its schema does not have more"),
        ({"xy": xy.astype(float)}, facts, "xy is of the type float64"),
        ({}, facts, "xy is missing"),
        ({"xy": xy}, facts | {"slide_mpp": float("nan")}, "slide_mpp is no finite number"),
        ({"xy": xy - 20}, facts, "xy holds -14"),
    ]
    for arrays, said_of, message in wrong:
        with pytest.raises(ValueError, match=message):
            write_hdf5(tmp_path / "s.h5", "patches", arrays, said_of, {})
    assert list(tmp_path.iterdir()) == []
