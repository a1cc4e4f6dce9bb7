"""`sammil weights` at the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hub_publisher import RIGHT, pinned, point_to, serving_hub

from sammil_cli.features.encoders import resnet50

Sammil = Callable[..., Any]


def test_the_list_names_each_file_and_its_state_and_is_json_on_request(
    sammil: Sammil, project: Path, tmp_path: Path
) -> None:
    (tmp_path / "weights" / "sam_vit_b_01ec64.pth").write_bytes(b"cut off")
    answer = sammil("weights", "list", "--all")
    assert answer.code == 0
    for part in ("vit_h", "2564.6", "Apache-2.0", "resnet50", "plip", "absent", "damaged", "open"):
        assert part in answer.out
    assert f"{tmp_path / 'weights'}: sam_vit_b_01ec64.pth" in answer.out
    records = {record["word"]: record for record in json.loads(sammil("weights", "list", "--json").out)}
    assert records["vit_b"]["path"] == str(tmp_path / "weights" / "sam_vit_b_01ec64.pth")
    assert records["plip"]["licence"] == "none stated by its authors"
    assert records["plip"]["state"] == "absent"
    assert {"access": "open", "commercial": True}.items() <= records["vit_h"].items()


def test_without_all_the_list_has_what_is_here_or_asked_for(sammil: Sammil, project: Path, tmp_path: Path) -> None:
    (project / "params.yaml").write_text("proposer: superpixels\nencoder: resnet50\n")
    (tmp_path / "weights" / "sam_vit_b_01ec64.pth").write_bytes(b"cut off")
    told = sammil("weights", "list").out
    assert ("vit_b" in told, "resnet50" in told, "vit_h" in told, "plip" in told) == (True, True, False, False)
    total = len(json.loads(sammil("weights", "list", "--json").out))
    assert f"{total - 2} others: sammil weights list --all" in told
    (project / "params.yaml").write_text("proposer: superpixels\nencoder: texture\n")
    (tmp_path / "weights" / "sam_vit_b_01ec64.pth").unlink()
    told = sammil("weights", "list").out  # nothing is here, nothing is asked for: what is to be had
    assert "vit_h" in told
    assert "others" not in told


def test_every_fact_of_one_is_listed(sammil: Sammil, project: Path) -> None:
    answer = sammil("weights", "list", "resnet50")
    for part in ("0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a", "https://", "102.5 MB", "licence"):
        assert part in answer.out
    assert "vit_h" not in answer.out


def test_a_damaged_file_fails_the_verification_with_the_fix(sammil: Sammil, project: Path, tmp_path: Path) -> None:
    assert sammil("weights", "verify").code == 0  # nothing is here, nothing is damaged
    path = tmp_path / "weights" / "plip-93491cf9.bin"
    path.write_bytes(b"cut off")
    answer = sammil("weights", "verify")
    assert answer.code == 3
    assert f"plip: damaged: {path}" in answer.out
    assert "fetch it again: sammil weights fetch plip" in answer.err
    answer = sammil("weights", "verify", "--json")
    assert answer.code == 3
    assert {"plip": "damaged", "vit_h": "absent"}.items() <= {
        r["word"]: r["state"] for r in json.loads(answer.out)
    }.items()


def test_what_is_named_and_absent_fails_the_verification(sammil: Sammil, project: Path) -> None:
    answer = sammil("weights", "verify", "vit_h")
    assert answer.code == 3
    assert "sammil weights fetch vit_h" in answer.err


@pytest.mark.parametrize(
    ("words", "word"),
    [(("sam", "-S", "proposer=sam", "-S", "sam_model=vit_l"), "vit_l"), (("extract", "-S", "encoder=plip"), "plip")],
)
def test_absent_weights_are_told_before_torch_is_loaded(
    sammil: Sammil, project: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], word: str
) -> None:
    for user in ("how_to_run", "machine"):
        name = f"sammil_cli.runner.{user}.choose_device"
        monkeypatch.setattr(name, lambda *_, **__: pytest.fail("torch came first"))
    answer = sammil(*words)
    assert answer.code == 3
    assert f"sammil weights fetch {word}" in answer.err


def test_a_gated_file_ends_with_one_screen_or_comes_with_the_token(
    sammil: Sammil, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = pinned(word="resnet50", used_by="encoder: resnet50")
    monkeypatch.setattr(resnet50, "WEIGHTS", file)
    (project / "params.yaml").write_text("proposer: superpixels\nencoder: resnet50\n")
    with serving_hub() as hub:
        point_to(hub.url, monkeypatch)
        answer = sammil("weights", "fetch")
        assert answer.code == 3
        assert f"sign in and accept the conditions at {file.page}; then hf auth login" in answer.err
        assert f"as {tmp_path / 'weights' / file.file_name}" in answer.err
        monkeypatch.setenv("HF_TOKEN", RIGHT)
        assert sammil("weights", "fetch").code == 0
    assert [path.name for path in (tmp_path / "weights").iterdir()] == [file.file_name]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("fetch", "vit_hh"), 2, "did you mean vit_h"),
        (("fetch", "--from", "nowhere.tar"), 2, "nowhere.tar does not exist"),
        (("export", "vit_h", "plip"), 2, "sammil weights export vit_h weights.tar"),
        (("export", "vit_h", "a.tar"), 3, "sammil weights fetch vit_h"),
        (("list", "resnet"), 2, "did you mean resnet50"),
    ],
)
def test_a_slip_is_answered_with_the_fix(
    sammil: Sammil, project: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    answer = sammil("weights", *words)
    assert answer.code == code
    assert said in answer.err
    assert [path.name for path in project.iterdir()] == ["params.yaml"]
