"""A file that the system does not open just now is no damaged one, whoever reads it."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sammil_cli.config import load_settings
from sammil_cli.errors import MissingError
from sammil_cli.storage.files import read_csv
from sammil_cli.storage.geojson import read_geojson, read_own_geojson
from sammil_cli.storage.summed import read_summed

READERS: dict[str, Callable[[Path], object]] = {
    "a table": lambda path: read_csv(path, ("slide_id",)),
    "a drawing": read_geojson,
    "polygons": lambda path: read_own_geojson(path, "run: x"),
    "JSON": lambda path: read_summed(path, "run: x"),
    "settings": load_settings,
}


@pytest.mark.parametrize(
    ("number", "code"), [(errno.EMFILE, "E_FILES"), (errno.EIO, "E_DISK"), (errno.ESTALE, "E_DISK")]
)
@pytest.mark.parametrize("kind", READERS)
def test_what_the_system_has_no_more_of_is_told_with_its_own_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, number: int, code: str
) -> None:
    path = tmp_path / "s.json"
    path.write_text("{}")

    def refused(path: Path, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", refused)
        with pytest.raises(MissingError) as caught:
            READERS[kind](path)
    assert caught.value.code == code
    assert str(path) in caught.value.message
