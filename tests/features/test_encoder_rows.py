"""The registry of published encoders: each row is whole, its network is built as it says; nothing is downloaded."""

import json
from pathlib import Path

import pytest
import torch

from sammil_cli import choices
from sammil_cli.choices import ENCODERS
from sammil_cli.errors import InputError
from sammil_cli.features import encoder_row as registry
from sammil_cli.features.encoder_row import FOLDER, SCHEMA, encoder_row, schema
from sammil_cli.features.key_maps import KEY_MAPS, PUBLISHED_NAMES
from sammil_cli.features.published_encoder import choice
from sammil_cli.features.published_network import build_network, fill

WORDS = sorted(path.stem for path in FOLDER.glob("*.json"))
every_row = pytest.mark.parametrize("word", WORDS)


def test_the_schema_is_that_of_the_reader() -> None:
    said = "run: python -c 'from sammil_cli.features.encoder_row import *; SCHEMA.write_text(schema())'"
    assert SCHEMA.read_text(encoding="utf-8") == schema(), said


@every_row
def test_a_row_keeps_the_schema_and_is_a_choice(word: str) -> None:
    from jsonschema import Draft202012Validator  # here: it takes two seconds to load

    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(json.loads((FOLDER / f"{word}.json").read_text()))
    assert word in choices.names(ENCODERS)
    found = choices.load(ENCODERS, word)
    assert found.WEIGHTS.word == word
    assert found.wanted_weights({"encoder_weights": None}).sha256 == encoder_row(word).source.sha256


@every_row
def test_a_row_says_what_is_known_of_it(word: str) -> None:
    row = encoder_row(word)
    assert row.licence.commercial is not None or row.licence.note, "why is not known"
    assert row.mpp.value is not None or row.mpp.from_ == "convention"
    assert row.preparation.input_px <= row.preparation.resize_px
    assert row.verified
    assert row.pooling not in row.poolings


@every_row
def test_the_network_of_a_row_has_its_parameters_and_output_and_takes_a_file_of_the_published_names(word: str) -> None:
    row = encoder_row(word)
    network = build_network(row)
    assert {one.device.type for one in network.parameters()} == {"meta"}
    assert sum(one.numel() for one in network.parameters()) == row.parameters.count
    published = PUBLISHED_NAMES[row.network.keys](dict(network.network.state_dict()))
    fill(network.network, KEY_MAPS[row.network.keys](published), Path("made-up.bin"), row.title)
    if isinstance(getattr(network.network, "blocks", None), torch.nn.Sequential):
        network.network.blocks = network.network.blocks[:1]  # the others change no shape, and take seconds
    side = row.preparation.input_px
    assert network(torch.zeros(1, 3, side, side, device="meta")).shape == (1, row.dim)


def test_files_of_different_encoders_have_different_names_and_sums() -> None:
    files = [choice(word).WEIGHTS for word in WORDS]
    assert len({one.file_name for one in files}) == len({one.sha256 for one in files}) == len(WORDS)
    assert len(WORDS) >= 15


def test_a_word_that_is_nearly_right_is_answered_with_the_right_one() -> None:
    with pytest.raises(InputError, match="unknown encoder 'uni2-h'") as caught:
        choices.check(ENCODERS, "uni2-h")
    assert "did you mean uni2_h?" in caught.value.remedy


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (('"dim": 1024', '"dim": "many"'), r"dim: input should be a valid integer"),
        (('"dim": 1024', '"dim": 1024, "colour": "blue"'), r"colour: unexpected keyword argument"),
        (('"access": "open"', '"access": "perhaps"'), r"access: input should be 'open' or 'gated'"),
        (('"sha256": "', '"sha256": "x'), r"source.*string should match pattern"),
        (('"title"', '"titel"'), r"title: field required|titel"),
        (("{", "["), r"no valid JSON"),
    ],
)
def test_a_damaged_row_is_refused_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: tuple[str, str], said: str
) -> None:
    text = (FOLDER / "dinov2.json").read_text(encoding="utf-8").replace(*edit, 1)
    (tmp_path / "mine.json").write_text(text, encoding="utf-8")
    monkeypatch.setattr(registry, "FOLDER", tmp_path)
    with pytest.raises(InputError, match=said):
        encoder_row("mine")


def test_a_row_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"nothing\.json cannot be read"):
        encoder_row("nothing")
