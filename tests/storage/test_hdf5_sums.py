"""What changed in a file since it was written is found before it is used, or changed nothing that is read."""

import json
import os
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from h5_files import READ, WRITE, as_first_version, bag, flat, set_fact

from sammil_cli.errors import InputError
from sammil_cli.features import bag as bag_file
from sammil_cli.storage import hdf5, hdf5_process
from sammil_cli.storage.hdf5 import read_hdf5
from sammil_cli.storage.sums import sum_of_array, sum_of_facts

every_kind = pytest.mark.parametrize("kind", list(WRITE))
FLIPS = 150


def settle(path: Path) -> None:
    """Lets a file be older than what may change without its times showing it."""
    while abs(time.time_ns() - path.stat().st_ctime_ns) <= hdf5._SETTLED_NS:
        time.sleep(0.05)


@every_kind
def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s.h5"
    WRITE[kind](path)
    whole, wanted = path.read_bytes(), flat(READ[kind](path))
    rng = np.random.default_rng(16)
    refused = 0
    for number, place in enumerate(rng.choice(len(whole), FLIPS, replace=False).tolist()):
        broken = bytearray(whole)
        broken[place] ^= 1 << int(rng.integers(8))
        path = tmp_path / str(number) / "s.h5"
        path.parent.mkdir()
        path.write_bytes(broken)
        found, code = read(kind, path)
        assert code == "E_DAMAGED" or found == wanted, f"bit at byte {place}: {code or 'other content'}"
        refused += bool(code)
    assert refused > FLIPS // 20


def read(kind: str, path: Path) -> tuple[list[object], str]:
    """What a file holds, or the code that it is refused with."""
    try:
        return flat(READ[kind](path)), ""
    except InputError as error:
        return [], error.code


@every_kind
def test_the_sums_are_those_of_what_the_file_holds(tmp_path: Path, kind: str) -> None:
    WRITE[kind](tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5") as file:
        sums = json.loads(file.attrs["sums"])
        assert sums.pop("attributes") == sum_of_facts(
            {name: np.asarray(value).tolist() for name, value in file.attrs.items() if name != "sums"}
        )
        assert sums == {name: sum_of_array(file[name][()]) for name in file}
        assert file.attrs["schema"] == 2


@every_kind
def test_a_sum_that_is_none_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s.h5"
    WRITE[kind](path)
    with h5py.File(path, "r+") as file:
        file.attrs["sums"] = json.dumps(
            dict.fromkeys(file) | {"attributes": json.loads(file.attrs["sums"])["attributes"]}
        )
    assert read(kind, path) == ([], "E_DAMAGED")


def test_a_sum_is_of_type_shape_and_bytes() -> None:
    array = np.arange(6, dtype=np.int32)
    others = [array.reshape(2, 3), array.view(np.uint32), array + 1, array[:5].copy()]
    assert len({sum_of_array(one) for one in (array, *others)}) == 5
    assert sum_of_array(array) == "e1bb09a4" == sum_of_array(array.copy())  # on every machine
    assert sum_of_array(np.empty((0, 4), np.float32)) != sum_of_array(np.empty((0, 5), np.float32))


@every_kind
def test_a_file_of_the_first_version_is_read_without_sums(tmp_path: Path, kind: str) -> None:
    WRITE[kind](tmp_path / "s.h5")
    wanted = flat(READ[kind](tmp_path / "s.h5"))
    as_first_version(tmp_path / "s.h5")
    assert flat(READ[kind](tmp_path / "s.h5")) == wanted


@every_kind
def test_a_file_cannot_get_rid_of_its_sums(tmp_path: Path, kind: str) -> None:
    WRITE[kind](tmp_path / "s.h5")
    set_fact(tmp_path / "s.h5", "sums", None)
    with pytest.raises(InputError, match="checksums of its arrays") as caught:
        READ[kind](tmp_path / "s.h5")
    assert caught.value.code == "E_DAMAGED"


def test_an_attribute_or_array_more_is_refused(tmp_path: Path) -> None:
    for number, name in enumerate(("attribute", "array")):
        path = tmp_path / str(number) / "s.h5"
        WRITE["patches"](path)
        with h5py.File(path, "r+") as file:
            (file.attrs if name == "attribute" else file)["mine"] = np.arange(3)
        with pytest.raises(InputError, match="checksum") as caught:
            READ["patches"](path)
        assert caught.value.code == "E_DAMAGED"


def test_each_array_is_summed_once_a_process_and_never_where_it_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.h5"
    bag_file.write_bag(path, bag("s"), {})
    settle(path)
    summed: list[int] = []
    opened: list[Path] = []
    look, sum_of = hdf5_process.look_into, sum_of_array
    monkeypatch.setattr(hdf5, "sum_of_array", lambda array: summed.append(array.nbytes) or sum_of(array))
    monkeypatch.setattr(hdf5, "look_into", lambda path: opened.append(path) or look(path))
    bag_file.read_origin(path)
    assert summed == []
    bag_file.read_instances(path)
    assert len(summed) == 7  # all but xy and region_area_um2
    bag_file.read_bag(path)
    bag_file.read_bag(path)
    assert (len(summed), opened) == (9, [path])


def test_a_file_that_is_replaced_is_looked_at_anew(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    WRITE["patches"](path)
    settle(path)
    READ["patches"](path)
    times = path.stat()
    data = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        place = file["xy"].id.get_offset()
    data[place] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # even where its time is set back
    with pytest.raises(InputError, match="the checksum of xy differs"):
        READ["patches"](path)


def test_what_was_changed_a_moment_ago_is_not_taken_for_known(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    WRITE["patches"](path)
    with h5py.File(path) as file:
        place = file["xy"].id.get_offset()
    for _ in range(5):
        READ["patches"](path)
        with path.open("rb+") as stream:
            stream.seek(place)
            stream.write(b"\x01")
        with pytest.raises(InputError, match="the checksum of xy differs"):
            READ["patches"](path)
        with path.open("rb+") as stream:
            stream.seek(place)
            stream.write(b"\x0a")


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    WRITE["regions"](tmp_path / "s.h5")
    assert set(read_hdf5(tmp_path / "s.h5", "regions", arrays=("box",))[0]) == {"box"}
    assert read_hdf5(tmp_path / "s.h5", "regions", arrays=False)[0] == {}


def test_all_arrays_are_verified_where_all_are_asked_for(tmp_path: Path) -> None:
    WRITE["regions"](tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["area_um2"][0] += 1
    assert READ["regions"](tmp_path / "s.h5").slide_id == "s"  # which does not use it
    with pytest.raises(InputError, match="the checksum of area_um2 differs"):
        read_hdf5(tmp_path / "s.h5", "regions")
