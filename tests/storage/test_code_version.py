"""The code behind a result: what its modules import, hashed by what it means."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from sammil_cli.storage import code, code_meaning
from sammil_cli.storage.code import code_of, installed_code
from sammil_cli.storage.code_meaning import meaning_of

FILES = {
    "__init__.py": '__version__ = "1"\n',
    "errors.py": "class E(Exception): ...\n",
    "jobs/__init__.py": "",
    "jobs/work.py": "import numpy as np\nfrom sammil_cli.slides import read\nfrom sammil_cli.errors import E\n",
    "slides/__init__.py": "",
    "slides/read.py": "def f():\n    from sammil_cli.slides.pixels import decode\n    return decode\n",
    "slides/pixels.py": "import cv2\ndef decode(x):\n    return x + 1\n",
    "slides/unused.py": "import torch\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(code, "PACKAGE", tmp_path)
    code_of.cache_clear()
    yield tmp_path
    code_of.cache_clear()


def version(*modules: str) -> str:
    code_of.cache_clear()
    return code_of(*(modules or ("sammil_cli.jobs.work",))).version


def meaning(text: str) -> str:
    return meaning_of(text.encode(), "sammil_cli.a.b", is_package=False).digest


def test_what_is_imported_counts_in_functions_too_and_nothing_else(package: Path) -> None:
    found = code_of("sammil_cli.jobs.work")
    assert [name.removeprefix("sammil_cli.") for name in found.files] == [
        "jobs",
        "jobs.work",
        "slides",
        "slides.pixels",
        "slides.read",
    ]
    assert list(found.libraries) == ["opencv-python-headless", "numpy"]


@pytest.mark.parametrize("file", ["jobs/work.py", "slides/read.py", "slides/pixels.py"])
def test_an_edit_of_what_is_used_changes_the_version(package: Path, file: str) -> None:
    before = version()
    with (package / file).open("a") as stream:
        stream.write("X = 1\n")
    assert version() != before


@pytest.mark.parametrize("file", ["__init__.py", "errors.py", "slides/unused.py"])
def test_an_edit_of_what_cannot_count_does_not(package: Path, file: str) -> None:
    before = version()
    with (package / file).open("a") as stream:
        stream.write("X = 1\n")
    assert version() == before
    assert version("sammil_cli.jobs.work", "sammil_cli.slides.unused") != before


def test_a_renamed_module_changes_the_version(package: Path) -> None:
    before = version()
    (package / "slides/pixels.py").rename(package / "slides/colours.py")
    (package / "slides/read.py").write_text(FILES["slides/read.py"].replace("pixels", "colours"))
    assert version() != before


def test_a_module_that_is_not_there_is_an_error_not_nothing(package: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"sammil_cli\.jobs\.wrok"):
        version("sammil_cli.jobs.wrok")


BASE = 'def f(x):\n    "doc"\n    return x + 1\n'


@pytest.mark.parametrize(
    "same",
    [
        "# comment\n" + BASE,
        '"""Module doc."""\n\n' + BASE,
        BASE.replace('"doc"', '"another"'),
        BASE.replace('    "doc"\n', ""),
        BASE.replace("x + 1", "(\n        x\n        + 1\n    )"),
        BASE.replace("\n", "\r\n"),
        "if TYPE_CHECKING:\n    import torch\n" + BASE,
        BASE.replace("    return", "    console.say(f'found {x}')\n    log.info('x')\n    return"),
    ],
    ids=["comment", "module doc", "doc", "no doc", "format", "line ends", "types", "speaks"],
)
def test_what_means_the_same_has_the_same_digest(same: str) -> None:
    assert meaning(same) == meaning(BASE)


@pytest.mark.parametrize(
    "other",
    [
        BASE.replace("1", "2"),
        BASE.replace("1", "1.0"),
        BASE.replace("x + 1", "x - 1"),
        BASE.replace("(x)", "(x=0)"),
        "@cache\n" + BASE,
        BASE.replace("    return", "    console.say(y := x)\n    return"),
        BASE.replace('"doc"', 'X = "doc"'),
        BASE + "else_ = 1\n",
        BASE.replace("x", "y"),
    ],
)
def test_what_means_something_else_has_another_digest(other: str) -> None:
    assert meaning(other) != meaning(BASE)


def test_digests_are_the_same_on_every_python() -> None:
    # Computed on 3.11, 3.12 and 3.13, whose syntax trees differ: f-strings, type parameters, empty fields.
    text = (
        "import a.b as c\nfrom . import d\nfrom ..e import f as g\n\n\n@dec(1, *x, **y)\nclass K(B, metaclass=M):\n"
        '    """Doc."""\n\n    x: int = 3\n\n'
        '    async def m(self, p, /, q=b"\\x00", *r, s: "str" = u"é", **t) -> None:\n'
        "        match p:\n            case {'a': [1, *_]} | K(x=0): pass\n        try:\n            await z\n"
        "        except* ValueError as error: raise X from error\n"
        "        return f'{p!r:>{q}}{q:.2f} {p=} {{}}' f\"{'<' if q else '>'}{r}\", -1j, 1e-9, ..., lambda: (yield)\n"
    )
    assert meaning(text) == "cd4de381c8f79232"
    assert list(code_meaning._imported(ast.parse(text), "sammil_cli.slides")) == [
        "a.b",
        "sammil_cli.slides.d",
        "sammil_cli.e.f",
    ]


def test_all_of_the_package_is_one_digest_for_machines_that_share_a_run(package: Path) -> None:
    before = installed_code()
    assert before == installed_code()
    (package / "slides/unused.py").write_text("# comment\n" + FILES["slides/unused.py"])
    assert installed_code() != before
    before = installed_code()
    (package / "storage").mkdir(exist_ok=True)
    (package / "storage/schema.json").write_text("{}")  # decides what may be written, and what is read
    assert installed_code() != before
