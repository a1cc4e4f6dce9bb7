"""sammil weights: what is published, what is here, and how it is carried to a machine without a network."""

import gzip
import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from weight_publisher import CONTENT, Publisher, serving

from sammil_cli import choices, console
from sammil_cli.config import Settings
from sammil_cli.errors import InputError, MissingError
from sammil_cli.features import encoder_row
from sammil_cli.project import weights as stage
from sammil_cli.storage import weight_archive
from sammil_cli.storage.weights import WeightFile

DOCS = Path(__file__).resolve().parents[2] / "docs" / "weights.md"
SECOND = b"second" * 100_000


@pytest.fixture
def pins(monkeypatch: pytest.MonkeyPatch) -> dict[str, WeightFile]:
    """Two published files, for all that looks for them."""
    first = Publisher(url="https://example.org/w.pth").pinned()
    second = replace(
        first,
        word="net",
        file_name="net-1.bin",
        url="https://example.org/at/rev/model.bin",
        sha256=hashlib.sha256(SECOND).hexdigest(),
        megabytes=0.6,
    )
    found = {"vit_x": first, "net": second}
    monkeypatch.setattr(stage, "published", lambda: found)
    return found


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of weights, empty; what is said is said, whatever --json an earlier test gave."""
    monkeypatch.setitem(console._state, "quiet", False)
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("SAMMIL_WEIGHTS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def states(*, verify: bool) -> dict[str, str]:
    return {held.word: held.state for held in stage.look(verify=verify)}


# ---------------------------------------------------------------------------------------------- what is published


def test_every_published_file_is_described() -> None:
    found = stage.published()
    assert {"vit_h", "vit_l", "vit_b", "resnet50", "plip"} <= set(found)
    assert len({pinned.file_name for pinned in found.values()}) == len(found)
    for word, pinned in found.items():
        assert pinned.word == word
        assert re.fullmatch("[0-9a-f]{64}", pinned.sha256)
        assert pinned.url.startswith("https://")
        assert pinned.page.startswith("https://")
        assert pinned.licence
        assert pinned.megabytes is None or pinned.megabytes > 1
        assert re.fullmatch(r"[\w.-]+", pinned.file_name)


def test_weights_that_are_absent_are_refused_where_they_are_needed(here: Path) -> None:
    sam, texture = choices.load(choices.PROPOSERS, "sam"), choices.load(choices.ENCODERS, "texture")
    settings = Settings(sam_model="vit_b")
    with pytest.raises(MissingError, match=r"sam_vit_b_01ec64\.pth are not here"):
        stage.expect(sam, settings)
    stage.expect(texture, settings)
    stage.expect(sam, Settings(sam_checkpoint="my.pth"))
    (here / "sam_vit_b_01ec64.pth").touch()
    stage.expect(sam, settings)  # what is in it is seen when it is read


def test_every_pin_of_a_choice_is_found_though_choices_without_are_not_imported() -> None:
    found = stage.published()
    for folder in (choices.PROPOSERS, choices.ENCODERS):
        for name in choices.names(folder):
            pins = getattr(choices.load(folder, name), "WEIGHTS", {})
            for pinned in [pins] if isinstance(pins, WeightFile) else pins.values():
                assert found[pinned.word] is pinned
                assert name in pinned.used_by


def test_the_list_loads_no_torch() -> None:
    code = "import sys; from sammil_cli.project import weights; weights.published(); print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "False"


def test_the_table_of_the_docs_is_the_codes() -> None:
    text = DOCS.read_text(encoding="utf-8")
    facts = {
        word: (file, float(size), licence, page)
        for word, file, size, licence, page in re.findall(
            r"^\| `(\w+)` \| [^|]* \| `([^`]+)` \| ([\d.]+) \| ([^|]+) \| \[[^]]*\]\(([^)]*)\) \|$", text, re.MULTILINE
        )
    }
    sums = dict(re.findall(r"^\| `(\w+)` \| `([0-9a-f]{64})` \|$", text, re.MULTILINE))
    rows = {word for word in choices.names(choices.ENCODERS) if (encoder_row.FOLDER / f"{word}.json").is_file()}
    found = {word: pinned for word, pinned in stage.published().items() if word not in rows}  # docs/encoders.md
    assert facts == {w: (p.file_name, p.megabytes, p.licence, p.page) for w, p in found.items()}
    assert sums == {word: pinned.sha256 for word, pinned in found.items()}


def test_settings_say_which_weights_they_need() -> None:
    assert stage.needed(Settings(proposer="superpixels", encoder="texture")) == {}
    paper = Settings(proposer="sam", sam_model="vit_l", encoder="resnet50")
    assert stage.needed(paper) == {
        "vit_l": "proposer: sam or wsi-sam, sam_model: vit_l",
        "resnet50": "encoder: resnet50",
    }
    own = Settings(proposer="sam", sam_checkpoint="a.pth", encoder="plip", encoder_weights="b.bin")
    assert stage.needed(own) == {}


# ---------------------------------------------------------------------------------------------- what is here


def test_a_file_is_absent_unchecked_verified_or_damaged(pins: dict[str, WeightFile], here: Path) -> None:
    assert states(verify=False) == states(verify=True) == {"vit_x": "absent", "net": "absent"}
    (here / "w.pth").write_bytes(CONTENT)
    (here / "net-1.bin").write_bytes(SECOND[::-1])  # whole, but another content
    assert states(verify=False) == {"vit_x": "unchecked", "net": "unchecked"}
    assert states(verify=True) == {"vit_x": "verified", "net": "damaged"}
    (here / "w.pth").write_bytes(CONTENT[:3_000_000])  # cut: seen without reading it
    assert states(verify=False) == {"vit_x": "damaged", "net": "unchecked"}
    found = stage.look(["vit_x"], verify=False)
    assert [(held.word, held.path) for held in found] == [("vit_x", here / "w.pth")]


def test_a_right_copy_behind_a_damaged_one_counts(pins: dict[str, WeightFile], here: Path, tmp_path: Path) -> None:
    (here / "w.pth").write_bytes(b"cut")
    cached = tmp_path / "cache" / "sammil" / "weights" / "w.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(CONTENT)
    for verify in (False, True):
        assert stage.look(["vit_x"], verify=verify)[0].path == cached


def test_an_unknown_word_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="there are no weights 'vit_g'") as caught:
        stage.look(["vit_g"], verify=False)
    assert caught.value.remedy.startswith("did you mean vit_")
    assert "resnet50" in caught.value.remedy


# ---------------------------------------------------------------------------------------------- fetch


def test_what_params_yaml_needs_is_fetched_and_said(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sammil_cli.features.encoders import resnet50

    (tmp_path / "params.yaml").write_text("proposer: superpixels\nencoder: resnet50\n")
    with serving() as publisher:
        pinned = replace(publisher.pinned(), word="resnet50", file_name="r.pth", used_by="encoder: resnet50")
        monkeypatch.setattr(resnet50, "WEIGHTS", pinned)
        found = stage.fetch((), tmp_path / "params.yaml")
    assert [(held.word, held.path, held.state) for held in found] == [("resnet50", here / "r.pth", "verified")]
    said = capsys.readouterr()
    assert "params.yaml needs resnet50 (encoder: resnet50)" in said.out
    assert "r.pth, 5.1 MB, licence: Apache-2.0; https://example.org/about" in said.out
    assert "downloading: 5 of 5 MB" in said.err


def test_without_words_and_settings_nothing_is_fetched(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="no weights are named, and there is no") as caught:
        stage.fetch((), tmp_path / "params.yaml")
    assert "vit_h" in caught.value.remedy
    (tmp_path / "params.yaml").write_text("proposer: superpixels\nencoder: texture\n")
    assert stage.fetch((), tmp_path / "params.yaml") == []
    assert "needs no published weights" in capsys.readouterr().out


# ---------------------------------------------------------------------------------------------- carried over


@pytest.fixture
def archive(pins: dict[str, WeightFile], here: Path, tmp_path: Path) -> Path:
    """Both files in a tar file; the folder of weights is empty again."""
    (here / "w.pth").write_bytes(CONTENT)
    (here / "net-1.bin").write_bytes(SECOND)
    path = tmp_path / "out" / "weights.tar"
    stage.export(["vit_x", "net"], path, Path("none"))
    shutil.rmtree(here)
    return path


def test_an_archive_brings_the_files_to_another_machine(archive: Path, here: Path) -> None:
    found = stage.fetch_from(archive, ())
    assert [(held.word, held.path) for held in found] == [("vit_x", here / "w.pth"), ("net", here / "net-1.bin")]
    assert (here / "w.pth").read_bytes() == CONTENT
    assert (here / "net-1.bin").read_bytes() == SECOND
    assert len(list(here.iterdir())) == 2
    assert states(verify=True) == {"vit_x": "verified", "net": "verified"}


def test_only_what_is_named_is_taken_from_an_archive(archive: Path, here: Path) -> None:
    stage.fetch_from(archive, ["net"])
    assert [path.name for path in here.iterdir()] == ["net-1.bin"]


def test_tar_and_sha256sum_read_an_archive_too(archive: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "-xf", archive], cwd=tmp_path, check=True)
    answer = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines() == ["net-1.bin: OK", "w.pth: OK"]
    assert oct((tmp_path / "w.pth").stat().st_mode)[-3:] == "644"


def test_the_same_files_give_the_same_bytes(archive: Path, here: Path, tmp_path: Path) -> None:
    stage.fetch_from(archive, ())
    again = tmp_path / "again.tar"
    stage.export(["net", "vit_x", "net"], again, Path("none"))
    assert again.read_bytes() == archive.read_bytes()


def test_a_file_that_is_absent_or_damaged_is_not_exported(
    pins: dict[str, WeightFile], here: Path, tmp_path: Path
) -> None:
    (here / "w.pth").write_bytes(CONTENT)
    with pytest.raises(MissingError, match=r"net-1\.bin are not here"):
        stage.export(["vit_x", "net"], tmp_path / "a.tar", Path("none"))
    (here / "w.pth").write_bytes(CONTENT[:-1])
    with pytest.raises(MissingError, match="is not the published file"):
        stage.export(["vit_x"], tmp_path / "a.tar", Path("none"))
    with pytest.raises(InputError, match=r"net, is no \.tar file"):
        stage.export(["vit_x"], Path("net"), Path("none"))
    assert not list(tmp_path.glob("*.tar"))


def test_an_export_that_is_interrupted_leaves_nothing(
    pins: dict[str, WeightFile], here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "w.pth").write_bytes(CONTENT)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tarfile.TarFile, "addfile", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stage.export(["vit_x"], tmp_path / "out" / "a.tar", Path("none"))
    assert list((tmp_path / "out").iterdir()) == []


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", ["../../w.pth", "/etc/w.pth", "sub/../../w.pth", "./weights/w.pth"])
def test_a_member_is_never_written_to_the_path_that_it_names(
    pins: dict[str, WeightFile], here: Path, tmp_path: Path, name: str
) -> None:
    before = set(tmp_path.rglob("*"))
    source = write_tar(tmp_path / "evil.tar", {name: CONTENT, "../unasked.bin": b"x"})
    stage.fetch_from(source, ())
    assert set(tmp_path.rglob("*")) - before == {source, here / "w.pth"}


def test_a_tar_file_may_be_compressed_and_is_told_when_it_is_cut(
    pins: dict[str, WeightFile], here: Path, tmp_path: Path
) -> None:
    source = tmp_path / "made-by-hand.tar.gz"
    source.write_bytes(gzip.compress(write_tar(tmp_path / "plain.tar", {"w.pth": CONTENT}).read_bytes(), 1))
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(source.read_bytes()[:-9000])
    with pytest.raises(MissingError, match="is cut or damaged"):
        stage.fetch_from(cut, ())
    assert list(here.iterdir()) == []
    assert [held.path for held in stage.fetch_from(source, ())] == [here / "w.pth"]


def test_an_export_without_room_says_where_to_write_it(
    pins: dict[str, WeightFile], here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "w.pth").write_bytes(CONTENT)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(MissingError, match=r"has room for 1 MB, 5 MB are to come") as caught:
        stage.export(["vit_x"], tmp_path / "a.tar", Path("none"))
    assert caught.value.remedy == "make room, or write the tar file elsewhere"


def test_a_link_in_a_tar_file_is_not_followed(pins: dict[str, WeightFile], here: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(CONTENT)
    entry = tarfile.TarInfo("w.pth")
    entry.type, entry.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
    with tarfile.open(tmp_path / "link.tar", "w") as tar:
        tar.addfile(entry)
    with pytest.raises(MissingError, match="has none of"):
        stage.fetch_from(tmp_path / "link.tar", ["vit_x"])


def test_a_damaged_or_cut_archive_leaves_nothing_behind(
    pins: dict[str, WeightFile], here: Path, archive: Path, tmp_path: Path
) -> None:
    wrong = write_tar(tmp_path / "wrong.tar", {"w.pth": CONTENT[::-1]})
    with pytest.raises(MissingError, match=r"w\.pth in .*wrong\.tar is not the published file: sha256"):
        stage.fetch_from(wrong, ())
    cut = tmp_path / "cut.tar"
    cut.write_bytes(archive.read_bytes()[:3_000_000])
    with pytest.raises(MissingError, match=r"cut\.tar"):
        stage.fetch_from(cut, ["vit_x"])
    assert not here.exists() or list(here.iterdir()) == []


def test_a_folder_may_have_the_files_under_their_publishers_names(
    pins: dict[str, WeightFile], here: Path, tmp_path: Path
) -> None:
    (tmp_path / "usb").mkdir()
    (tmp_path / "usb" / "model.bin").write_bytes(SECOND)
    assert [held.path for held in stage.fetch_from(tmp_path / "usb", ())] == [here / "net-1.bin"]
    (here / "net-1.bin").unlink()
    (tmp_path / "usb" / "model.bin").write_bytes(b"another publisher's, of the same name")
    (tmp_path / "usb" / "w.pth").write_bytes(CONTENT)
    assert [held.path for held in stage.fetch_from(tmp_path / "usb", ())] == [here / "w.pth"]
    shutil.rmtree(here)
    (tmp_path / "usb" / "model.bin").write_bytes(SECOND)
    (tmp_path / "usb" / "w.pth").unlink()
    with pytest.raises(MissingError, match=r"has none of: w\.pth") as caught:
        stage.fetch_from(tmp_path / "usb", ["net", "vit_x"])
    assert "sammil weights export vit_x weights.tar" in caught.value.remedy


def test_one_file_is_known_by_its_content(pins: dict[str, WeightFile], here: Path, tmp_path: Path) -> None:
    (tmp_path / "download (3)").write_bytes(SECOND)
    assert [held.path for held in stage.fetch_from(tmp_path / "download (3)", ())] == [here / "net-1.bin"]
    with pytest.raises(MissingError, match=r"is none of w\.pth: sha256"):
        stage.fetch_from(tmp_path / "download (3)", ["vit_x"])
    with pytest.raises(InputError, match="nowhere does not exist"):
        stage.fetch_from(Path("nowhere"), ())


def test_what_is_here_already_is_not_copied_again(
    pins: dict[str, WeightFile], archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.fetch_from(archive, ())
    monkeypatch.setattr(weight_archive, "folder_to_write", lambda: pytest.fail("it was copied"))
    assert len(stage.fetch_from(archive, ())) == 2
