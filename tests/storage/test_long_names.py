"""Names as long as the file system allows; letters beyond ASCII count by their bytes."""

import errno
import os
import tempfile
from pathlib import Path

import pytest

from sammil_cli.errors import SlideError
from sammil_cli.storage.files import check_name, write_text
from sammil_cli.storage.store import ResultStore

MOST = os.pathconf(tempfile.gettempdir(), "PC_NAME_MAX")
LONGEST = ["a" * (MOST - 8), "é" * ((MOST - 8) // 2) + "a", "片" * ((MOST - 8) // 3) + "b"]  # .geojson has 8


@pytest.mark.parametrize("name", LONGEST)
def test_the_longest_names_are_written_stored_and_fetched(tmp_path: Path, name: str) -> None:
    check_name(name, tmp_path / "not" / "there" / "yet")
    write_text(tmp_path / f"{name}.geojson", "{}")
    store = ResultStore(tmp_path / "store")
    folder = store.workspace()
    write_text(folder / f"{name}.geojson", "whole")
    store.put("ab12", folder)
    assert store.fetch("ab12", tmp_path / "out") is not None
    assert (tmp_path / "out" / f"{name}.geojson").read_text() == "whole"
    assert len(list((tmp_path / "out").iterdir())) == 1


@pytest.mark.parametrize("name", [f"{name}{end}" for name in LONGEST for end in ("é", "bb")])
def test_a_longer_name_is_refused_before_any_work(tmp_path: Path, name: str) -> None:
    with pytest.raises(SlideError, match=f"its name has {len(name.encode())} bytes") as caught:
        check_name(name, tmp_path)
    assert (caught.value.code, caught.value.set_aside) == ("E_NAME", True)
    assert f"at most {MOST - 8} bytes" in caught.value.remedy
    with pytest.raises(OSError, match=os.strerror(errno.ENAMETOOLONG)):  # it is the file system that refuses
        write_text(tmp_path / f"{name}.geojson", "{}")
