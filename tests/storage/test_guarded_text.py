"""JSON and YAML of strangers: what is small reads as it is, what would cost time or memory is refused at once."""

import json
from pathlib import Path

import pytest

from sammil_cli.config import SegmentSettings, load_settings
from sammil_cli.errors import InputError
from sammil_cli.project.run_record import read_record
from sammil_cli.slides.table import SlideEntry
from sammil_cli.stages.segment import own_settings
from sammil_cli.storage import guarded_json, guarded_yaml
from sammil_cli.storage.claims import Claims
from sammil_cli.storage.guarded_json import parse_json, read_json
from sammil_cli.storage.guarded_yaml import parse_yaml, read_yaml
from sammil_cli.storage.paths import ModelPath
from sammil_cli.storage.store import ResultStore
from sammil_cli.training.model_facts import read_facts

pytestmark = pytest.mark.timeout(60)  # of what ran without end

# Each line is nine of the line before: 4·10⁸ words in 400 letters.
LAUGHS = "a: &a [x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
DEEP = "[" * 5000


# ------------------------------------------------------------------------------------------------------- JSON


@pytest.mark.parametrize("value", [None, 1, -2.5, "a]]]][[[[", [], {}, {"a": [1, {"b": '\\" \u00e4 \u202e'}]}])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_json_reads_as_it_was_written(value: object, encoding: str) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert parse_json(text, "it") == value
    assert parse_json(text.encode(encoding), "it") == value


def test_nan_is_a_number_only_where_it_is_asked_for() -> None:
    assert str(parse_json("[NaN, -Infinity]", "it", with_nan=True)) == "[nan, -inf]"


def test_brackets_in_words_are_no_depth_and_long_decimals_are_no_long_numbers() -> None:
    assert parse_json('["' + "[" * 500 + '", "\\"[[[["]', "it") == ["[" * 500, '"[[[[']
    assert parse_json(f"[0.{'1' * 60}, 1{'0' * 39}]", "it")[1] == 10**39


@pytest.mark.parametrize("depth", [guarded_json.DEEPEST, guarded_json.DEEPEST + 1])
@pytest.mark.parametrize("pair", [("[", "]"), ('{"a":', "}"), ('[1, {"a": [', "]}]")])
def test_json_is_as_deep_as_the_limit_and_no_deeper(depth: int, pair: tuple[str, str]) -> None:
    times = depth // (pair[0].count("[") + pair[0].count("{")) + (len(pair[0]) > 5 and depth > guarded_json.DEEPEST)
    text = pair[0] * times + "1" + pair[1] * times
    if depth <= guarded_json.DEEPEST:
        parse_json(text, "it")
    else:
        with pytest.raises(InputError, match="it is no valid JSON: its brackets lie more than 64 deep"):
            parse_json(text, "it")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (DEEP, "more than 64 deep"),
        ('{"a":' * 100_000, "more than 64 deep"),
        ("[" * 300_000 + "]" * 300_000, "more than 64 deep"),
        ("]" * 300_000, "Expecting value"),
        ('"' + '\\"' * 1_000_000, "Unterminated string"),
        ("9" * 41, "more than 40 digits"),
        ("[1, -" + "9" * 5000 + "]", "more than 40 digits"),
        ("[NaN]", "NaN"),
        ("[-Infinity]", "NaN"),
        ("", "ends too early"),
        ('{"a": 1', "ends too early"),
        ("{'a': 1}", "line 1"),
        (b"\xff\xfe\x00", "no text in UTF-8"),
        (b'"\xe4"', "no text in UTF-8"),
    ],
    ids=str(0).join("abcdefghijklmn").split("0"),
)
def test_what_is_no_json_is_refused_in_a_few_words(text: str | bytes, reason: str) -> None:
    with pytest.raises(InputError, match=f"it is no valid JSON: .*{reason}") as caught:
        parse_json(text, "it", remedy="write it again")
    assert len(caught.value.message) < 120
    assert caught.value.remedy == "write it again"


def test_of_a_large_file_no_more_than_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # a TiB of zeros, which no memory holds
    with pytest.raises(InputError, match="larger than 1 MiB"):
        read_json(path, most_bytes=1 << 20)
    path.write_text('{"a": 1}')
    assert read_json(path) == {"a": 1}


def test_files_of_ours_that_are_deep_are_damaged_files(tmp_path: Path) -> None:
    """5000 brackets were a RecursionError in each of these."""
    record = tmp_path / "record.json"
    record.write_text(DEEP)
    with pytest.raises(InputError, match="64 deep"):
        read_record(record)
    (tmp_path / "model.json").write_text(DEEP)
    with pytest.raises(InputError, match="64 deep"):
        read_facts(ModelPath(tmp_path))
    store = ResultStore(tmp_path / "store")
    entry = store._entry("ab" * 32)
    entry.mkdir(parents=True)
    (entry / "manifest.json").write_text(DEEP)
    assert store.look("ab" * 32) is None
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "key.0").write_text(DEEP)
    with Claims(tmp_path / "claims") as claims:
        assert not claims.take("key")


# ------------------------------------------------------------------------------------------------------- YAML


def test_yaml_reads_as_before() -> None:
    text = "a: 1\nb: [x, 2.5, true, null]\nc: {d: '1'}\ne: 0x10  # sixteen\nf: 1_000\ng: 'it''s & *'\n"
    wanted = {"a": 1, "b": ["x", 2.5, True, None], "c": {"d": "1"}, "e": 16, "f": 1000, "g": "it's & *"}
    assert parse_yaml(text, "it") == parse_yaml(text.encode("utf-8-sig"), "it") == wanted
    assert parse_yaml("", "it") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LAUGHS, "anchors and aliases"),
        ("a: &a 1", "anchors and aliases"),
        ("*a", "anchors and aliases"),
        (DEEP, "more than 16 levels"),
        ("- " * 5000, "more than 16 levels"),
        ("? " * 5000, "more than 16 levels"),
        ("[" + "1," * 30_000 + "]", "more than 20000 entries"),
        ("a: " + "x" * (1 << 20), "larger than 1 MiB"),
        ("1:" * 100_000 + "1", "a number has more than 64 letters"),
        ("9" * 5000, "a number has more than 64 letters"),
        ("!!python/object:os.system x", "tags"),
        ('!!int ""', "tags"),
        ("2024-13-45", "month"),
        ("0b_", "invalid literal"),
        ("a: [1", "expected"),
        ("a\0b", "unacceptable character"),
        (b"\xff", "decode"),
    ],
    ids=[f"case{number}" for number in range(17)],
)
def test_what_is_no_yaml_or_stands_for_more_is_refused_in_a_few_words(text: str | bytes, reason: str) -> None:
    with pytest.raises(InputError, match=f"it is no YAML: .*{reason}") as caught:
        parse_yaml(text, "it")
    assert len(caught.value.message) < 250


@pytest.mark.parametrize("text", [LAUGHS, DEEP, "2024-13-45: 1", "[" + "1," * 30_000 + "]"], ids=list("abcd"))
def test_params_yaml_of_that_kind_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"params\.yaml is no YAML"):
        load_settings(path)
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(InputError, match="larger than"):
        read_yaml(path)


@pytest.mark.parametrize(
    "text", [LAUGHS, DEEP, "2024-13-45", "9" * 5000, "0b_", "a: " + "x" * 3000], ids=list("abcdef")
)
def test_a_value_of_the_command_line_of_that_kind_is_refused_in_a_few_words(text: str) -> None:
    with pytest.raises(InputError) as caught:
        load_settings(None, [f"mask_ratio={text}"])
    assert len(caught.value.message) < 400
    assert "mask_ratio" in caught.value.message


@pytest.mark.parametrize(
    "cell", [LAUGHS, DEEP, "[1, 2]", "{a: 1}", "2024-13-45", "&a 1", "- 1", "x" * 5000, "9" * 60], ids=list("abcdefghi")
)
def test_a_cell_of_the_table_of_slides_holds_one_word_or_number(cell: str) -> None:
    entry = SlideEntry(overrides={"tissue_threshold": cell})
    with pytest.raises(InputError, match="slide 'a': tissue_threshold: ") as caught:
        own_settings(SegmentSettings(), "a", entry, Path("slides.csv"))
    assert len(caught.value.message) < 300


def test_a_message_shows_no_structure_of_a_setting(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"mask_ratio: [{', '.join(['abc'] * 5000)}]\n")
    with pytest.raises(InputError, match="mask_ratio: a list of 5000 — ") as caught:
        load_settings(path)
    assert len(caught.value.message) < 200


def test_limits_leave_room_for_what_is_in_use() -> None:
    """The folders of a large project in dvc.lock; facts on 100 000 slides."""
    assert guarded_yaml.MOST_NODES >= 20_000
    folders = [{"path": f"artifacts/{n}", "md5": "0" * 32, "size": n} for n in range(1000)]
    assert len(parse_yaml(json.dumps({"outs": folders}), "dvc.lock")["outs"]) == 1000
    assert len(parse_json(json.dumps([{"slide": n, "md5": "0" * 32} for n in range(100_000)]), "it")) == 100_000
