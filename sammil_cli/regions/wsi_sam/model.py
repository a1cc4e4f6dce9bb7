"""WSI-SAM: a frozen SAM whose mask decoder is given a token of each resolution (docs/methods.md §12)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn

from sammil_cli.regions.sam_engine.batching import Batches
from sammil_cli.regions.sam_models.embed import Seen
from sammil_cli.regions.wsi_sam.branch import Branch
from sammil_cli.regions.wsi_sam.decoder import ADDED, FIRST_MASK, DualDecoder
from sammil_cli.regions.wsi_sam.prompts import Prompts, encode, for_low


class Asked(NamedTuple):
    """Encoded prompts: `sparse` (p, t, d), `dense` (p or 1, d, g, g), and the picture's `place` (1, d, g, g)."""

    sparse: Tensor
    dense: Tensor
    place: Tensor


class Answer(NamedTuple):
    """Of p prompts: `logits` (p, s/4, s/4), t · E_HR + SAM's mask, inside above 0; `predicted_iou` (p,), SAM's own."""

    logits: Tensor
    predicted_iou: Tensor


class _Output(NamedTuple):
    """Of the frozen transformer: its `tokens` (p, 6 + t, d), and the `picture` (p, d, g, g)."""

    tokens: Tensor
    picture: Tensor


_ON_CPU, _ON_GPU = 1, 32  # prompts at once


class WsiSam(nn.Module):
    """Both branches around one SAM, whose tensors stay as they are; only `added` trains.

    Fields and prompts: `Seen` of one field (b = 1) goes with any number p of prompts, which share it; of b fields, with
    p = b prompts, one for each field in its order, as in training. The same holds for LR.

    Args:
        sam: any SAM of the official classes. It is frozen, and stays in eval mode whatever this module's mode is.
        early_width: channels of its encoder's early feature, `sam_models.build.EARLY_WIDTH`.
    """

    def __init__(self, sam: Sam, early_width: int) -> None:
        super().__init__()
        self.sam = sam.requires_grad_(False).eval()
        width = sam.mask_decoder.transformer_dim
        self.high, self.low = Branch(width, early_width), Branch(width, early_width)

    def added(self) -> dict[str, nn.Parameter]:
        """What trains, by names `high.…` and `low.…`."""
        return {name: value for name, value in self.named_parameters() if not name.startswith("sam.")}

    def train(self, mode: bool = True) -> Self:
        """Sets the mode of the branches; SAM's norms and caches stay those of eval mode."""
        super().train(mode)
        self.sam.eval()
        return self

    @property
    def side_px(self) -> int:
        """s: the side of both pictures."""
        side: int = self.sam.image_encoder.img_size
        return side

    def forward(
        self, high: Seen, low: Seen, prompts: Prompts, prompts_low: Prompts | None = None
    ) -> tuple[Tensor, Tensor]:
        """Logits t · E_HR and t · E_LR, each (p, 1, s/4, s/4), without SAM's mask: what the published loss sees.

        Args:
            high, low: HR and LR, see the class.
            prompts: on HR.
            prompts_low: on LR; None = those of HR where they lie on LR, `for_low`.
        """
        if prompts_low is None:
            prompts_low = for_low(prompts, self.side_px)
        return self.draw(high, low, self.ask(prompts), self.ask(prompts_low))

    def draw(self, high: Seen, low: Seen, asked: Asked, asked_low: Asked) -> tuple[Tensor, Tensor]:
        """`forward`, of prompts that are encoded."""
        seen, branches = (high, low), (self.high, self.low)
        outputs = [self._run(*each) for each in zip(branches, seen, (asked, asked_low), strict=True)]
        token = self._token(self.high, outputs[0]) + self._token(self.low, outputs[1])
        masks = []
        for branch, one, output in zip(branches, seen, outputs, strict=True):
            upscaled = self.sam.mask_decoder.output_upscaling(output.picture)
            masks.append(branch.draw(token, upscaled, branch.features(one.embedding, one.early))[:, None])
        return masks[0], masks[1]

    @torch.inference_mode()
    def predict(self, high: Seen, low: Seen, prompts: Prompts, prompts_low: Prompts | None = None) -> Answer:
        """What prompts on HR mean, see the class; `low.early` is not read: of LR only its token is computed.

        On a CPU each prompt is computed by itself: its answer is the same to the bit, whatever else is asked.

        Args:
            prompts_low: as of `forward`.

        Raises:
            SlideError: `E_MEMORY`, not even one prompt fits.
        """
        if prompts_low is None:
            prompts_low = for_low(prompts, self.side_px)
        if len(high.embedding) == 1 and prompts.masks is None:
            answer = self._shared(high, low, prompts, prompts_low)
        else:
            answer = self._each(high, low, prompts, prompts_low)
        batches = Batches(_ON_GPU if high.embedding.device.type == "cuda" else _ON_CPU, "prompt")
        parts = list(batches.map(answer, range(len(prompts))))
        return Answer(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def _shared(
        self, high: Seen, low: Seen, prompts: Prompts, prompts_low: Prompts
    ) -> Callable[[Sequence[int]], Answer]:
        """Prompts of one field, none of them a mask."""
        decoder = DualDecoder(self.sam, self.high, self.low)
        picture = decoder.look(high.embedding[0], high.early[0], low.embedding[0])

        def answer(some: Sequence[int]) -> Answer:
            part = slice(some[0], some[-1] + 1)
            sparse, sparse_low = (encode(each[part], self.sam.prompt_encoder)[0] for each in (prompts, prompts_low))
            decoded = decoder.decode(picture, sparse, sparse_low)
            return Answer(logits=decoder.draw(picture, decoded), predicted_iou=decoded.predicted_iou[:, 0])

        return answer

    def _each(self, high: Seen, low: Seen, prompts: Prompts, prompts_low: Prompts) -> Callable[[Sequence[int]], Answer]:
        """Prompts that are masks, or of several fields."""

        features = self.high.features(high.embedding, high.early)

        def answer(some: Sequence[int]) -> Answer:
            part = slice(some[0], some[-1] + 1)
            field = slice(None) if len(high.embedding) == 1 else part
            seen, seen_low = (Seen(*(tensor[field] for tensor in one)) for one in (high, low))
            return self._answer(seen, seen_low, self.ask(prompts[part]), self.ask(prompts_low[part]), features[field])

        return answer

    def answer(self, high: Seen, low: Seen, asked: Asked, asked_low: Asked) -> Answer:
        """`predict`, of prompts that are encoded, in one go and by the official modules."""
        return self._answer(high, low, asked, asked_low, self.high.features(high.embedding, high.early))

    def _answer(self, high: Seen, low: Seen, asked: Asked, asked_low: Asked, features: Tensor) -> Answer:
        decoder = self.sam.mask_decoder
        output = self._run(self.high, high, asked)
        token = self._token(self.high, output) + self._token(self.low, self._run(self.low, low, asked_low))
        upscaled = decoder.output_upscaling(output.picture)
        ours = self.high.draw(token, upscaled, features)
        hyper = decoder.output_hypernetworks_mlps[0](output.tokens[:, FIRST_MASK])
        theirs = torch.einsum("pc,pcyx->pyx", hyper, upscaled)
        return Answer(logits=ours + theirs, predicted_iou=decoder.iou_prediction_head(output.tokens[:, 0])[:, 0])

    def ask(self, prompts: Prompts) -> Asked:
        """Prompts on a picture, by SAM's prompt encoder."""
        encoder = self.sam.prompt_encoder
        return Asked(*encode(prompts, encoder), encoder.get_dense_pe())

    def _run(self, branch: Branch, seen: Seen, asked: Asked) -> _Output:
        """The frozen transformer with the branch's token among SAM's."""
        decoder = self.sam.mask_decoder
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight, branch.hf_token.weight])
        prompts = len(asked.sparse)
        tokens = torch.cat([own.expand(prompts, -1, -1), asked.sparse], 1)
        picture = (seen.embedding + asked.dense).expand(prompts, -1, -1, -1)
        tokens, picture = decoder.transformer(picture, asked.place, tokens)
        return _Output(tokens=tokens, picture=picture.mT.unflatten(2, asked.place.shape[2:]))

    @staticmethod
    def _token(branch: Branch, output: _Output) -> Tensor:
        """t of a branch (p, c)."""
        token: Tensor = branch.hf_mlp(output.tokens[:, ADDED])
        return token
