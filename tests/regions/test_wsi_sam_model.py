"""WSI-SAM's two branches on a frozen SAM: equations, what trains, prompts that share a field, batches of fields."""

import pytest
import torch
from sam_pair import INPUT_PX, small_sam
from torch import Tensor
from wsi_sam_small import EARLY, GRID, prompts_of, seen, small_wsi_sam

from sammil_cli.errors import SlideError
from sammil_cli.regions.sam_models.build import EARLY_WIDTH
from sammil_cli.regions.sam_models.embed import Seen
from sammil_cli.regions.wsi_sam import model as wsi_sam
from sammil_cli.regions.wsi_sam.branch import PARTS, Branch
from sammil_cli.regions.wsi_sam.decoder import DualDecoded, DualDecoder, DualPicture
from sammil_cli.regions.wsi_sam.losses import wsi_sam_loss
from sammil_cli.regions.wsi_sam.model import WsiSam
from sammil_cli.regions.wsi_sam.prompts import Prompts, encode, for_low

KINDS = ("boxes", "points", "masks")
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def model() -> WsiSam:
    return small_wsi_sam()


@pytest.mark.parametrize(
    ("word", "count"), [("vit_t", 448_512), ("vit_b", 1_071_104), ("vit_l", 1_333_248), ("vit_h", 1_595_392)]
)
def test_a_branch_has_as_many_parameters_as_published(word: str, count: int) -> None:
    branch = Branch(256, EARLY_WIDTH[word])
    assert sum(value.numel() for value in branch.parameters()) == count
    assert {name.split(".")[0] for name, _ in branch.named_parameters()} == set(PARTS)


def by_hand(model: WsiSam, high: Seen, low: Seen, prompts: Prompts, prompts_low: Prompts) -> dict[str, Tensor]:
    """The equations of docs/methods.md §12 one after the other, with the official modules and one prompt at a time."""
    decoder, encoder = model.sam.mask_decoder, model.sam.prompt_encoder
    found: dict[str, list[Tensor]] = {"high": [], "low": [], "sam": []}
    for i in range(len(prompts)):
        outputs = []
        for branch, one, asked in ((model.high, high, prompts), (model.low, low, prompts_low)):
            field = min(i, len(one.embedding) - 1)
            sparse, dense = encode(asked[i : i + 1], encoder)
            tokens = torch.cat(
                [decoder.iou_token.weight, decoder.mask_tokens.weight, branch.hf_token.weight, sparse[0]]
            )[None]
            queries, keys = decoder.transformer(one.embedding[field, None] + dense, encoder.get_dense_pe(), tokens)
            upscaled = decoder.output_upscaling(keys.transpose(1, 2).reshape(one.embedding[field, None].shape))
            features = branch.embedding_encoder(one.embedding[field, None]) + branch.compress_vit_feat(
                one.early[field, None]
            )
            outputs.append((queries[0], upscaled, branch.embedding_maskfeature(upscaled) + features))
        token = model.high.hf_mlp(outputs[0][0][5]) + model.low.hf_mlp(outputs[1][0][5])
        for name, (_, _, mask_features) in zip(("high", "low"), outputs, strict=True):
            found[name].append((token[:, None, None] * mask_features[0]).sum(0))
        hyper = decoder.output_hypernetworks_mlps[0](outputs[0][0][1])
        found["sam"].append((hyper[:, None, None] * outputs[0][1][0]).sum(0))
        found.setdefault("iou", []).append(decoder.iou_prediction_head(outputs[0][0][0])[0])
    return {name: torch.stack(values) for name, values in found.items()}


@every_kind
def test_prompts_of_one_field_give_what_the_equations_say(model: WsiSam, kind: str) -> None:
    prompts = prompts_of(kind, 3)
    high, low = seen(1, 2), seen(1, 3)
    with torch.no_grad():
        wanted = by_hand(model, high, low, prompts, for_low(prompts, INPUT_PX))
        of_high, of_low = model(high, low, prompts)
    assert of_high.shape == of_low.shape == (3, 1, 4 * GRID, 4 * GRID)
    torch.testing.assert_close(of_high[:, 0], wanted["high"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(of_low[:, 0], wanted["low"], atol=1e-4, rtol=1e-4)
    answer = model.predict(high, low, prompts)
    torch.testing.assert_close(answer.logits, wanted["high"] + wanted["sam"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(answer.predicted_iou, wanted["iou"], atol=1e-5, rtol=1e-4)
    assert (answer.logits[0] - answer.logits[1]).abs().max() > 0.01


@every_kind
def test_a_batch_of_fields_has_a_prompt_each_which_may_be_another_on_lr(model: WsiSam, kind: str) -> None:
    prompts, others = prompts_of(kind, 3), prompts_of(kind, 3, seed=9)
    high, low = seen(3, 4), seen(3, 5)
    with torch.no_grad():
        wanted = by_hand(model, high, low, prompts, others)
        of_high, of_low = model(high, low, prompts, others)
        answer = model.predict(high, low, prompts, others)
    torch.testing.assert_close(of_high[:, 0], wanted["high"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(of_low[:, 0], wanted["low"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(answer.logits, wanted["high"] + wanted["sam"], atol=1e-4, rtol=1e-4)


@every_kind
def test_an_answer_is_the_same_to_the_bit_whatever_else_is_asked(model: WsiSam, kind: str) -> None:
    prompts, high, low = prompts_of(kind, 4), seen(1, 2), seen(1, 3)
    together = model.predict(high, low, prompts)
    for i in range(4):
        alone = model.predict(high, low, prompts[i : i + 1])
        assert torch.equal(alone.logits[0], together.logits[i])
        assert torch.equal(alone.predicted_iou[0], together.predicted_iou[i])


@every_kind
def test_of_lr_the_prediction_reads_no_early_feature(model: WsiSam, kind: str) -> None:
    high, low = seen(1, 2), seen(1, 3)
    blind = low._replace(early=torch.full_like(low.early, torch.nan))
    prompts = prompts_of(kind, 2)
    assert torch.equal(model.predict(high, blind, prompts).logits, model.predict(high, low, prompts).logits)
    assert not torch.equal(model.predict(high, seen(1, 8), prompts).logits, model.predict(high, low, prompts).logits)


def test_the_sam_mask_is_not_that_of_plain_sam_since_the_token_is_attended_to(model: WsiSam) -> None:
    high, low, prompts = seen(1, 2), seen(1, 3), prompts_of("boxes", 1)
    with torch.no_grad():
        ours = by_hand(model, high, low, prompts, for_low(prompts, INPUT_PX))["sam"]
        sparse, dense = encode(prompts, model.sam.prompt_encoder)
        plain, _ = model.sam.mask_decoder(
            high.embedding, model.sam.prompt_encoder.get_dense_pe(), sparse, dense, multimask_output=False
        )
    assert (ours - plain[:, 0]).abs().max() > 0.01


def test_only_what_is_added_trains_and_all_of_it() -> None:
    model = small_wsi_sam().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    added = model.added()
    assert {id(value) for value in model.parameters() if value.requires_grad} == {id(one) for one in added.values()}
    assert not any(module.training for module in model.sam.modules())
    assert model.high.training
    masks = torch.zeros(2, 1, INPUT_PX, INPUT_PX)
    masks[..., 40:90, 30:200] = 1
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    sum(wsi_sam_loss(*model(seen(2, 6), seen(2, 7), prompts_of("boxes", 2)), masks, masks).values()).backward()
    assert all(value.grad is not None and value.grad.abs().max() > 0 for value in added.values())
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == set(added)


def test_a_few_steps_draw_what_is_asked_for() -> None:
    """Two boxes on one field, each with its own square: the tokens learn to draw the one that is meant."""
    model = small_wsi_sam().train()
    high, low = seen(1, 10), seen(1, 11)
    boxes = torch.tensor([[32.0, 32, 96, 96], [128, 144, 224, 240]])
    masks = torch.zeros(2, 1, INPUT_PX, INPUT_PX)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist(), strict=True):
        mask[0, y0:y1, x0:x1] = 1
    small = torch.nn.functional.avg_pool2d(masks, 2)
    low_masks = torch.nn.functional.pad(small, [INPUT_PX // 4] * 4)
    optimizer = torch.optim.AdamW(list(model.added().values()), lr=3e-3)
    losses = []
    for _ in range(20):
        loss = sum(wsi_sam_loss(*model(high, low, Prompts(boxes=boxes)), masks, low_masks).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_memory_that_does_not_do_for_many_does_for_fewer(model: WsiSam, monkeypatch: pytest.MonkeyPatch) -> None:
    high, low, prompts = seen(1, 2), seen(1, 3), prompts_of("points", 5)
    wanted = model.predict(high, low, prompts)
    draw, sizes, most = DualDecoder.draw, [], 2

    def small_memory(self: DualDecoder, picture: DualPicture, decoded: DualDecoded) -> Tensor:
        sizes.append(len(decoded.token))
        if sizes[-1] > most:
            raise RuntimeError("CUDA out of memory")
        return draw(self, picture, decoded)

    monkeypatch.setattr(DualDecoder, "draw", small_memory)
    monkeypatch.setattr(wsi_sam, "_ON_CPU", 4)
    found = model.predict(high, low, prompts)
    torch.testing.assert_close(found.logits, wanted.logits, atol=1e-4, rtol=1e-4)
    assert sizes == [4, 2, 2, 1]
    most = 0
    with pytest.raises(SlideError, match="one prompt") as caught:
        model.predict(high, low, prompts)
    assert caught.value.code == "E_MEMORY"


def test_the_side_is_the_frozen_sams() -> None:
    assert WsiSam(small_sam(), EARLY).side_px == INPUT_PX
