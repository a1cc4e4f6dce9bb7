"""Weight files of published encoders: the right one is read, any other is refused with what is wrong and what to do."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_encoders import WIDTH, tiny_row

from sammil_cli import choices
from sammil_cli.errors import MissingError
from sammil_cli.features.key_maps import KEY_MAPS
from sammil_cli.features.published_encoder import PublishedChoice
from sammil_cli.features.published_network import State, build_network, load_network
from sammil_cli.features.torch_encoder import TorchEncoder
from sammil_cli.storage.files import sha256_file
from sammil_cli.storage.state_dict import load_state
from sammil_cli.testing.weights import with_random_weights

OWN = {"encoder_weights": None}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return Path(with_random_weights(PublishedChoice(tiny_row()), OWN, tmp_path)["encoder_weights"])


def build(path: Path | None, **options: object) -> TorchEncoder:
    return PublishedChoice(tiny_row(**options)).build(weights=path, device="cpu", backbone=None, input_px=None)


def edited(path: Path, edit: Callable[[State], object]) -> Path:
    state = load_file(path)
    edit(state)
    changed = path.with_name("edited.safetensors")
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, changed)
    return changed


def test_a_file_of_one_s_own_is_taken_and_named_by_its_sum(weights: Path) -> None:
    encoder = build(weights)
    assert encoder.weights_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert (encoder.name, encoder.dim) == ("tiny", WIDTH)


def test_the_network_has_the_weights_of_the_file_in_float32(weights: Path, tmp_path: Path) -> None:
    state = load_file(weights)
    torch.save({name: tensor.half() for name, tensor in state.items()}, tmp_path / "half.pth")
    found = build(tmp_path / "half.pth")._module.network.network.state_dict()
    assert set(found) == set(state)
    for name, tensor in state.items():
        assert (found[name].dtype, found[name].device.type) == (torch.float32, "cpu")
        assert torch.equal(found[name], tensor.half().float())


def test_positions_of_another_grid_are_interpolated_by_timm_s_own_function(weights: Path) -> None:
    from timm.layers import resample_abs_pos_embed

    larger = tiny_row(side=96)
    state = load_file(weights)
    network = load_network(larger, state, weights).network
    expected = resample_abs_pos_embed(state["pos_embed"], new_size=[6, 6], num_prefix_tokens=0)
    assert network.pos_embed.shape == (1, 36, WIDTH)
    assert torch.equal(network.pos_embed, expected)


def test_what_only_training_needs_may_be_in_the_file(weights: Path) -> None:
    extra = edited(
        weights, lambda state: state.update({"mask_token": torch.zeros(1, WIDTH), "head.bias": torch.ones(2)})
    )
    assert build(extra).dim == WIDTH


@pytest.mark.parametrize(
    ("edit", "counts", "first"),
    [
        (lambda state: state.pop("norm.weight"), (1, 0, 0), "norm.weight"),
        (lambda state: state.update({"other.weight": torch.zeros(2)}), (0, 0, 1), "other.weight"),
        (lambda state: state.update({"norm.bias": torch.zeros(WIDTH + 1)}), (0, 1, 0), "norm.bias"),
        (lambda state: state.update({"pos_embed": torch.zeros(1, 17, WIDTH)}), (0, 1, 0), "pos_embed"),
        (lambda state: state.update({"pos_embed": torch.zeros(16, WIDTH)}), (0, 1, 0), "pos_embed"),
        (lambda state: [state.pop(name) for name in list(state)], (35, 0, 0), "cls_token"),
    ],
)
def test_missing_misshapen_and_unknown_weights_are_counted_and_the_first_is_named(
    weights: Path, edit: Callable[[State], object], counts: tuple[int, int, int], first: str
) -> None:
    with pytest.raises(MissingError) as caught:
        build(edited(weights, edit))
    missing, wrong, unknown = counts
    assert f"{missing} are missing and {wrong} have another shape, {unknown} are unknown" in caught.value.message
    assert f"(the first: {first})" in caught.value.message
    assert "null = the published file" in caught.value.remedy
    assert caught.value.exit_code == 3


def test_the_file_of_another_encoder_is_refused(weights: Path) -> None:
    with pytest.raises(MissingError, match="is no Tiny: of 32 weights 0 are missing and 1 have another shape, 3 are"):
        build(weights, registers=0, no_embed_class=False, qkv_bias=False)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda whole: whole[: len(whole) // 2], "it is cut, damaged or of another form"),
        (lambda whole: b"", "it is empty"),
        (lambda whole: b"<!doctype html><title>Log in</title>", "it is a web page"),
        (lambda whole: b"version https://git-lfs.github.com/spec/v1\n", "it is a Git LFS pointer"),
        (lambda whole: b"\0" * len(whole), "it is filled with zeros"),
    ],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_a_file_that_is_no_weight_file_is_refused_with_what_it_is(
    weights: Path, tmp_path: Path, suffix: str, content: Callable[[bytes], bytes], said: str
) -> None:
    damaged = tmp_path / f"damaged{suffix}"
    if suffix == ".safetensors":
        whole = weights.read_bytes()
    else:
        torch.save(load_file(weights), damaged)
        whole = damaged.read_bytes()
    damaged.write_bytes(content(whole))
    with pytest.raises(MissingError, match="is no weight file") as caught:
        build(damaged)
    assert said.removeprefix("it is cut, damaged").split(" or ")[0] in caught.value.message
    assert caught.value.exit_code == 3


def test_a_file_that_would_run_code_is_refused_unread(tmp_path: Path) -> None:
    torch.save(tiny_row, tmp_path / "code.bin")
    with pytest.raises(MissingError, match="holds more than tensors and was not loaded"):
        build(tmp_path / "code.bin")


def test_a_path_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"none\.bin does not exist") as caught:
        build(tmp_path / "none.bin")
    assert caught.value.remedy == "correct encoder_weights; null = the published file"


def test_another_file_in_the_published_one_s_place_is_refused_with_both_sums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMMIL_WEIGHTS", str(tmp_path))
    pinned = choices.load(choices.ENCODERS, "uni2_h").WEIGHTS
    other = tmp_path / pinned.file_name
    other.write_bytes(b"another")
    with pytest.raises(MissingError, match="is not the published file") as caught:
        choices.load(choices.ENCODERS, "uni2_h").build(weights=None, device="cpu", backbone=None, input_px=None)
    assert pinned.sha256 in caught.value.message
    assert sha256_file(other) in caught.value.message


def test_tables_that_no_file_holds_are_computed(tmp_path: Path) -> None:
    """Swin's, of relative positions: on the meta device they would have no values."""
    small = {"img_size": 64, "embed_dim": 24, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1], "window_size": 2}
    call = replace(tiny_row().network, name="swin_tiny_patch4_window7_224", options={**small, "num_classes": 0})
    row = replace(tiny_row(), network=call, pooling="pooled", dim=192)
    state = dict(build_network(row, device="cpu").network.state_dict())
    loaded = load_network(row, KEY_MAPS["timm"](state), tmp_path / "a.bin")
    assert not any(one.is_meta for one in (*loaded.parameters(), *loaded.buffers()))
    assert loaded(torch.zeros(1, 3, 64, 64)).shape == (1, 192)


def test_weights_take_memory_when_they_are_used_and_not_before(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(25_000_000)}, tmp_path / "large.bin")

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    if not Path("/proc/self/statm").exists():
        pytest.skip("/proc/self/statm, which says what memory is resident, is not here")
    before = resident()
    state = load_state(tmp_path / "large.bin")
    assert resident() - before < 50e6
    assert state["a"].sum() == 25_000_000
    state["a"][0] = 5  # a copy of one's own
    assert load_state(tmp_path / "large.bin")["a"][0] == 1


def test_a_file_that_somebody_packed_again_is_read_as_it_was(tmp_path: Path) -> None:
    whole, packed = tmp_path / "whole.bin", tmp_path / "packed.bin"
    torch.save({"a": torch.arange(1000.0)}, whole)
    with ZipFile(whole) as old, ZipFile(packed, "w", ZIP_DEFLATED) as new:
        for part in old.infolist():
            new.writestr(part.filename, old.read(part))
    assert torch.equal(load_state(packed)["a"], torch.arange(1000.0))
