"""Tokens on disk: ours and the published ones, what is refused and with which words."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from sam_pair import small_sam
from segment_anything import sam_model_registry
from torch import Tensor
from wsi_sam_small import EARLY, WIDTH, small_wsi_sam

from sammil_cli.errors import MissingError
from sammil_cli.regions.sam_models.build import EARLY_WIDTH, MinMaxSam
from sammil_cli.regions.wsi_sam.branch import Branch
from sammil_cli.regions.wsi_sam.model import WsiSam
from sammil_cli.regions.wsi_sam.tokens import TokenFacts, load_wsi_sam, read_tokens, write_tokens

State = dict[str, Tensor]


@pytest.fixture
def sam_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of the small SAM, which is vit_b for now."""
    monkeypatch.setitem(sam_model_registry, "vit_b", lambda checkpoint: small_sam(WIDTH))
    monkeypatch.setitem(EARLY_WIDTH, "vit_b", EARLY)
    path = tmp_path / "sam.pth"
    torch.save(small_sam(WIDTH).state_dict(), path)
    return path


@pytest.fixture
def facts(sam_file: Path) -> TokenFacts:
    return TokenFacts(
        sam_model="vit_b",
        sam_sha256=hashlib.sha256(sam_file.read_bytes()).hexdigest(),
        mpp=1.0,
        side_px=256,
        provenance={"stage": "wsi-sam", "key": {"slides": ["a", "ä"]}},
    )


@pytest.fixture
def ours(tmp_path: Path, facts: TokenFacts) -> Path:
    write_tokens(tmp_path / "tokens.safetensors", small_wsi_sam(), facts)
    return tmp_path / "tokens.safetensors"


@pytest.fixture
def published(tmp_path: Path, sam_file: Path) -> Path:
    """Both files as train.py writes them: the whole decoder, its optimiser, the epoch."""
    model = small_wsi_sam()
    folder = tmp_path / "published"
    folder.mkdir()
    for branch, name in ((model.high, "net_high.pth"), (model.low, "net_low.pth")):
        state = {**model.sam.mask_decoder.state_dict(), **branch.state_dict()}
        optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3}]}
        torch.save({"model": state, "optimizer": optimizer, "epoch": 19}, folder / name)
    return folder


def same(found: State, wanted: State) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_what_was_written_is_read_with_its_facts_and_twice_the_same_bytes(
    ours: Path, sam_file: Path, facts: TokenFacts
) -> None:
    again = ours.with_name("again.safetensors")
    write_tokens(again, small_wsi_sam(), facts)
    assert again.read_bytes() == ours.read_bytes()
    assert read_tokens(ours).facts == facts
    model = load_wsi_sam(sam_file, "vit_b", ours)
    assert same(model.added(), small_wsi_sam().added())
    assert same(model.sam.state_dict(), small_sam(WIDTH).state_dict())
    assert not model.training


def test_the_published_pair_is_read_from_its_folder_or_by_both_names(published: Path, sam_file: Path) -> None:
    model = load_wsi_sam(sam_file, "vit_b", published)
    wanted = small_wsi_sam().added()
    assert same(model.added(), wanted)
    both = read_tokens(published / "net_high.pth", published / "net_low.pth")
    assert same(both.added, wanted)
    assert both.facts is None
    assert not torch.equal(wanted["high.hf_token.weight"], wanted["low.hf_token.weight"])


def test_tokens_are_used_with_the_colours_that_they_were_trained_with(
    tmp_path: Path, sam_file: Path, ours: Path, facts: TokenFacts
) -> None:
    stretched = tmp_path / "stretched.safetensors"
    write_tokens(stretched, small_wsi_sam(), replace(facts, colours="min-max"))
    assert isinstance(load_wsi_sam(sam_file, "vit_b", stretched, colours="min-max").sam, MinMaxSam)
    for tokens, colours, trained in ((stretched, "sam", "min-max"), (ours, "min-max", "sam")):
        with pytest.raises(MissingError) as caught:
            load_wsi_sam(sam_file, "vit_b", tokens, colours=colours)
        assert caught.value.remedy == f"set sam_colours: {trained}"


def test_another_sam_is_refused_with_both_sums(ours: Path, sam_file: Path, facts: TokenFacts) -> None:
    state = torch.load(sam_file, weights_only=True)
    state["mask_decoder.iou_token.weight"] += 1
    torch.save(state, sam_file)
    with pytest.raises(MissingError) as caught:
        load_wsi_sam(sam_file, "vit_b", ours)
    now = hashlib.sha256(sam_file.read_bytes()).hexdigest()
    assert facts.sam_sha256 in caught.value.message
    assert now in caught.value.message
    assert "sam_checkpoint" in caught.value.remedy


def test_published_tokens_of_another_sam_are_refused_by_what_differs(published: Path, sam_file: Path) -> None:
    state = torch.load(sam_file, weights_only=True)
    state["mask_decoder.transformer.layers.1.norm4.bias"][3] += 1e-6
    torch.save(state, sam_file)
    with pytest.raises(MissingError, match="another SAM") as caught:
        load_wsi_sam(sam_file, "vit_b", published)
    assert "net_high.pth" in caught.value.message
    assert "mask_decoder.transformer.layers.1.norm4.bias" in caught.value.message


def test_a_bit_that_flipped_is_seen(ours: Path, sam_file: Path) -> None:
    content = bytearray(ours.read_bytes())
    content[-40] ^= 1
    ours.write_bytes(content)
    with pytest.raises(MissingError, match="damaged"):
        load_wsi_sam(sam_file, "vit_b", ours)


def edited(state: State, change: str) -> State:
    if change == "missing":
        del state["high.hf_mlp.layers.1.bias"]
    elif change == "more":
        state["high.hf_more.weight"] = torch.zeros(3)
    elif change == "shape":
        state["low.hf_token.weight"] = torch.zeros(1, 7)
    else:
        state["low.embedding_maskfeature.3.weight"][0, 0, 1, 1] = float("nan")
    return state


WORDS = {
    "missing": r"high\.hf_mlp\.layers\.1\.bias is missing",
    "more": r"there is no high\.hf_more\.weight",
    "shape": r"low\.hf_token\.weight is 1 x 7, and this SAM wants 1 x 64",
    "nan": r"low\.embedding_maskfeature\.3\.weight holds numbers that are not finite",
}


@pytest.mark.parametrize("change", list(WORDS))
def test_other_names_shapes_and_numbers_are_refused_by_name(
    ours: Path, sam_file: Path, facts: TokenFacts, change: str
) -> None:
    wrong = edited(load_file(ours), change)
    fake = small_wsi_sam()
    fake.added = lambda: wrong  # type: ignore[method-assign,assignment,return-value]
    write_tokens(ours, fake, facts)
    with pytest.raises(MissingError, match=WORDS[change]):
        load_wsi_sam(sam_file, "vit_b", ours)


def _of_vit_l(state: State) -> State:
    return {**state, **Branch(WIDTH, 40).state_dict()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_of_vit_l, r"compress_vit_feat\.0\.weight is 40 x 64 x 2 x 2, and this SAM wants 32 x 64 x 2 x 2"),
        (lambda state: {k: v for k, v in state.items() if "hf_token" not in k}, r"high\.hf_token\.weight is missing"),
        (lambda state: {k: v for k, v in state.items() if k != "iou_token.weight"}, r"iou_token\.weight is missing"),
        (lambda state: {**state, "image_encoder.x": torch.zeros(1)}, r"there is no image_encoder\.x"),
        (lambda state: {**state, "mask_tokens.weight": torch.zeros(3, 64)}, r"mask_tokens\.weight is 3 x 64"),
    ],
)
def test_published_files_with_other_keys_or_shapes_are_refused_by_name(
    published: Path, sam_file: Path, change: Callable[[State], State], words: str
) -> None:
    path = published / "net_high.pth"
    torch.save({"model": change(torch.load(path, weights_only=True)["model"])}, path)
    with pytest.raises(MissingError, match=words):
        load_wsi_sam(sam_file, "vit_b", published)


class _Code:
    def __reduce__(self) -> Any:
        return print, ("run",)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "no.safetensors", "does not exist"),
        (lambda folder: folder, r"net_high\.pth does not exist"),
        (lambda folder: _saved(torch.save, small_sam().state_dict(), folder / "sam.pth"), "both resolutions"),
        (lambda folder: _saved(save_file, {"high.x": torch.zeros(1)}, folder / "x.safetensors"), "holds no tokens"),
        (lambda folder: _saved(_garbage, b"12345", folder / "x.safetensors"), "no weight file"),
    ],
)
def test_what_holds_no_tokens_is_refused(tmp_path: Path, make: Callable[[Path], Path], words: str) -> None:
    with pytest.raises(MissingError, match=words) as caught:
        read_tokens(make(tmp_path))
    assert caught.value.remedy


def _saved(save: Callable[..., None], content: Any, path: Path) -> Path:
    save(content, path)
    return path


def _garbage(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def test_half_of_the_published_pair_is_not_enough(published: Path) -> None:
    (published / "net_low.pth").unlink()
    with pytest.raises(MissingError, match=r"net_low\.pth does not exist"):
        read_tokens(published)


def test_code_in_a_published_file_is_not_run(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model": {}, "args": _Code()}, published / "net_high.pth")
    with pytest.raises(MissingError, match="more than tensors"):
        read_tokens(published)
    assert "run" not in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [{"mpp": "fine"}, {"sam_sha256": None}])
def test_facts_of_another_form_are_refused(ours: Path, facts: TokenFacts, wrong: dict[str, Any]) -> None:
    write_tokens(ours, small_wsi_sam(), replace(facts, **wrong))
    with pytest.raises(MissingError, match="holds no tokens"):
        read_tokens(ours)


def test_a_kill_while_writing_leaves_the_file_of_before(
    ours: Path, facts: TokenFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ours.read_bytes()
    monkeypatch.setattr(Path, "replace", partial(_killed))
    with pytest.raises(KeyboardInterrupt):
        write_tokens(ours, WsiSam(small_sam(WIDTH), EARLY), facts)
    monkeypatch.undo()
    assert ours.read_bytes() == before
    assert [path.name for path in ours.parent.iterdir() if path.suffix == ".safetensors"] == [ours.name]


def _killed(*_: object) -> None:
    raise KeyboardInterrupt
