"""Prompts answered by SAM alone and by WSI-SAM, against segment_anything's own predictor.

Of each: seconds until a field can be asked (its pictures embedded: one for SAM, two for WSI-SAM), seconds for each box
after that, and the peak of memory beside the model. Weights are random, and no figure depends on them. Time is CPU time
of one thread; every variant runs in a process of its own. SAM alone has to give the predictor's logits.

`vit_t` is MobileSAM. `vit_b, 3 blocks` is ViT-B's encoder with 3 of its 12 blocks, the last one with global attention;
`--whole` takes the whole of it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_sam import peak_mb, reset_peak
from segment_anything import SamPredictor
from segment_anything.build_sam import _build_sam

from sammil_cli.prompting.promptable import PlainSam, Promptable, TwoResolutions
from sammil_cli.regions.sam_models.build import EARLY_WIDTH, build_sam
from sammil_cli.regions.sam_models.embed import Embedder
from sammil_cli.regions.wsi_sam.model import WsiSam
from sammil_cli.regions.wsi_sam.prompts import Prompts

SIDE_PX = 1024
OFFICIAL, SAM, WSI_SAM = "segment_anything's predictor", "SAM alone", "WSI-SAM"
VARIANTS = (OFFICIAL, SAM, WSI_SAM)
SHALLOW = {"encoder_embed_dim": 768, "encoder_depth": 3, "encoder_num_heads": 12, "encoder_global_attn_indexes": [2]}
MODELS = {
    "vit_t": (partial(build_sam, "vit_t"), EARLY_WIDTH["vit_t"]),
    "vit_b, 3 blocks": (partial(_build_sam, **SHALLOW), EARLY_WIDTH["vit_b"]),
    "vit_b": (partial(build_sam, "vit_b"), EARLY_WIDTH["vit_b"]),
}
SAME = 1e-3  # of the logits' sd: how far ours may lie from the predictor's


def main() -> None:
    """Runs all variants, compares the logits, prints a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--whole", action="store_true", help="vit_b with all of its blocks")
    parser.add_argument("--child", nargs=3, metavar=("MODEL", "VARIANT", "FILE"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        model, variant, file = asked.child
        print(json.dumps(measure(model, variant, Path(file), asked.prompts)))
        return
    for model in ("vit_t", "vit_b" if asked.whole else "vit_b, 3 blocks"):
        print(f"{model}, {asked.prompts} boxes")
        base: dict[str, float] = {}
        with tempfile.TemporaryDirectory() as folder:
            for variant in VARIANTS:
                figures = in_child(model, variant, Path(folder) / f"{VARIANTS.index(variant)}.npy")
                base = base or figures
                print(describe(variant, figures, base), flush=True)
            check(*(np.load(Path(folder) / f"{number}.npy") for number in (0, 1)))


def describe(variant: str, figures: dict[str, float], base: dict[str, float]) -> str:
    """A row: a field, a prompt, memory, and their ratios to the predictor's."""
    field, prompt, peak = figures["field_s"], 1000 * figures["prompt_s"], figures["peak_mb"]
    ratios = [figures[name] / base[name] for name in ("field_s", "prompt_s", "peak_mb")]
    return (
        f"  {variant:30} a field {field:6.2f} s ({ratios[0]:.2f}x)   a prompt {prompt:6.0f} ms ({ratios[1]:.2f}x)   "
        f"{peak:6.0f} MB ({ratios[2]:.2f}x)"
    )


def in_child(model: str, variant: str, file: Path) -> dict[str, float]:
    """The figures of a variant, run in a fresh process that leaves its logits in `file`."""
    command = [sys.executable, __file__, *sys.argv[1:], "--child", model, variant, str(file)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(model: str, variant: str, file: Path, prompts: int) -> dict[str, float]:
    """Seconds and memory of a variant; the first prompt is not counted."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    build, early = MODELS[model]
    sam = build().eval()
    rng = np.random.default_rng(0)
    high, low = rng.integers(0, 256, (2, SIDE_PX, SIDE_PX, 3), np.uint8)
    corners = np.sort(rng.uniform(0, SIDE_PX, (prompts + 1, 2, 2)), axis=1).reshape(-1, 4).astype(np.float32)
    answerer: Any = Official(sam) if variant == OFFICIAL else ours(variant, sam, early)
    before, start = reset_peak(False), time.process_time()
    ask = answerer.look(high, low)
    field_s = time.process_time() - start
    logits = [ask(Prompts(boxes=torch.from_numpy(corners[:1]))).logits]
    start = time.process_time()
    logits += [ask(Prompts(boxes=torch.from_numpy(box[None]))).logits for box in corners[1:]]
    prompt_s = (time.process_time() - start) / prompts
    np.save(file, torch.cat(logits).numpy())
    return {"field_s": field_s, "prompt_s": prompt_s, "peak_mb": peak_mb(False) - before}


def ours(variant: str, sam: Any, early: int) -> Promptable:
    """SAM alone, or WSI-SAM with random tokens, as `sammil wsi-sam prompt` asks them."""
    if variant == SAM:
        return PlainSam(sam, Embedder(sam))
    model = WsiSam(sam, early).eval()
    return TwoResolutions(model, Embedder(model.sam))


class _Logits:
    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits


class Official:
    """segment_anything's predictor, asked as ours are; a pixel's middle has whole numbers there."""

    def __init__(self, sam: Any) -> None:
        self._predictor = SamPredictor(sam)

    def look(self, high: Any, low: Any) -> Any:
        """Embeds HR."""
        self._predictor.set_image(high)

        def answer(prompts: Prompts) -> _Logits:
            assert prompts.boxes is not None
            box = prompts.boxes.numpy()[0] - 0.5
            _, _, logits = self._predictor.predict(box=box, multimask_output=False)
            return _Logits(torch.from_numpy(logits))

        return answer


def check(official: Any, plain: Any) -> None:
    """Leaves unless SAM alone gives the predictor's logits."""
    off = float(np.abs(official - plain).max() / official.std())
    if off > SAME:
        raise SystemExit(f"SAM alone differs from the predictor by {off:.1e} of the logits' sd")
    print(f"  SAM alone gives the predictor's logits, to {off:.0e} of their sd")


if __name__ == "__main__":
    main()
