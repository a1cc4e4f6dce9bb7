"""Do trained tokens find lesions, on slides that they have not seen? With a SAM that knows nothing.

Composes slides of real H&E tiles with nests of tumour, trains WSI-SAM's tokens around a ViT-B SAM whose weights are
drawn at random, and judges them on slides of other patients, beside the frozen SAM alone, the filled box, and stain
thresholds inside the box. All commands are those of the command line; tables are in `OUT/judged/report/wsi_sam`.

ViT-B, since a linear rule finds tumour in the early feature of a random one, and finds less in that of a random
TinyViT (benchmarks/README.md).

Pictures are of 512 px instead of 1024, so that it ends soon on two cores. HR has 8 µm per pixel: a field of 4 mm, in
which a tight box around nests is mostly not tumour.

The tool that composes slides is no part of sammil: `--compose` is a program that is called as
`PROGRAM OUT --slides N --task subtype --size COLUMNS ROWS --lesion LEAST MOST --seed N` and writes `slides/*.tif`,
`lesions/*.geojson` and `labels.csv` into OUT.
"""

import argparse
import contextlib
import csv
import json
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import torch
from segment_anything import build_sam_vit_b, sam_model_registry
from segment_anything.modeling import ImageEncoderViT, PromptEncoder, Sam

from sammil_cli.cli import app
from sammil_cli.prompting.candidates import REFERENCES
from sammil_cli.storage.files import sha256_file

SIDE_PX = 512
MPP = 8.0
SEED = 12
SETTINGS = {
    "sam_model": "vit_b",
    "wsi_sam_mpp": MPP,
    "wsi_sam_augment": "flip",  # each field is embedded twice
    "wsi_sam_batch": 1,  # more steps of as many fields, as in the release
    "wsi_sam_learning_rate": 5e-4,
    "wsi_sam_val_fraction": 0.2,
    "seed": SEED,
}


def main() -> None:
    """Composes, trains, judges, and says whether the tokens did better than what needs no model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--compose", type=Path, required=True, help="the program that composes slides")
    parser.add_argument("--slides", type=int, default=96)
    parser.add_argument("--judged", type=float, default=0.4, help="share of the patients that are judged on")
    parser.add_argument("--fields", type=int, default=2, help="on each slide")
    parser.add_argument("--epochs", type=int, default=25)
    asked = parser.parse_args()
    start = time.perf_counter(), time.process_time()
    out: Path = asked.out.absolute()
    composed = out / "composed"
    if not (composed / "labels.csv").exists():  # the last thing that is written
        compose(asked.compose, composed, asked.slides)
    print(f"composed: {time.perf_counter() - start[0]:.0f} s", flush=True)
    learned, judged = split(composed, out, asked.judged)
    sam_model_registry["vit_b"] = small_vit_b  # both commands run in this process
    settings = SETTINGS | draw_sam(out / "random_sam.pth") | {"wsi_sam_fields": asked.fields}
    for project in (learned, judged):  # fields then lie on tissue, not where a corner of a nest is all they show
        sammil("segment", project, settings)
    sammil("wsi-sam train", learned, settings | {"wsi_sam_epochs": asked.epochs}, "--device", "cpu")
    print(f"trained: {time.perf_counter() - start[0]:.0f} s", flush=True)
    tokens = {"wsi_sam_tokens": str(learned / "runs/wsi_sam/tokens.safetensors")}
    sammil("wsi-sam evaluate", judged, settings | tokens, "--device", "cpu", "--against", "wsi-sam")
    print(f"judged: {time.perf_counter() - start[0]:.0f} s of the clock, {time.process_time() - start[1]:.0f} s of CPU")
    sys.exit(verdict(json.loads((judged / "report/wsi_sam/metrics.json").read_text())))


def compose(program: Path, out: Path, slides: int) -> None:
    """Small slides, each with tumour of either kind in an eighth to a third of its tissue, in one to four nests."""
    words = ["--slides", slides, "--task", "subtype", "--size", 22, 18, "--lesion", 0.12, 0.3, "--seed", SEED]
    subprocess.run([sys.executable, program, out, *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def split(composed: Path, out: Path, share: float) -> tuple[Path, Path]:
    """Two projects: no patient is in both. Tiles that resemble each other never lie in two patients."""
    rows = list(csv.DictReader((composed / "labels.csv").read_text().splitlines()))
    patients = sorted({row["patient_id"] for row in rows})
    first = patients[: -round(share * len(patients))]
    for name, chosen in (("learned", set(first)), ("judged", set(patients) - set(first))):
        shutil.rmtree(out / name / "data", ignore_errors=True)
        (out / name / "data/slides").mkdir(parents=True)
        (out / name / "data/lesions").mkdir()
        own = [row for row in rows if row["patient_id"] in chosen]
        for row in own:
            slide = row["slide_id"]
            (out / name / f"data/slides/{slide}.tif").symlink_to(composed / f"slides/{slide}.tif")
            shutil.copy(composed / f"lesions/{slide}.geojson", out / name / "data/lesions")
        lines = ["slide_id,label,patient_id", *(f"{row['slide_id']},{row['label']},{row['patient_id']}" for row in own)]
        (out / name / "data/labels.csv").write_text("\n".join(lines) + "\n")
        print(f"{name}: {len(own)} slides of {len(chosen)} patients", flush=True)
    return out / "learned", out / "judged"


def small_vit_b(checkpoint: None = None) -> Sam:
    """ViT-B of SAM with random weights, for pictures of `SIDE_PX`."""
    del checkpoint
    sam = build_sam_vit_b()
    sam.image_encoder = ImageEncoderViT(
        img_size=SIDE_PX,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=(2, 5, 8, 11),
        window_size=14,
    )
    side = SIDE_PX // 16
    sam.prompt_encoder = PromptEncoder(
        embed_dim=256, image_embedding_size=(side, side), input_image_size=(SIDE_PX, SIDE_PX), mask_in_chans=16
    )
    return sam.eval()


def draw_sam(path: Path) -> dict[str, str]:
    """Writes a SAM with random weights; the settings that name it."""
    torch.manual_seed(SEED)
    torch.save(small_vit_b().state_dict(), path)
    return {"sam_checkpoint": str(path), "sam_checkpoint_sha256": sha256_file(path)}


def sammil(command: str, project: Path, settings: dict[str, object], *words: str) -> None:
    """Runs a command in this process, in the folder of a project."""
    (project / "params.yaml").write_text("".join(f"{name}: {json.dumps(value)}\n" for name, value in settings.items()))
    sys.argv = ["sammil", *command.split(), *words]
    with contextlib.chdir(project):
        try:
            app.main()
        except SystemExit as ended:
            if ended.code:
                raise


def verdict(metrics: dict[str, dict[str, dict[str, dict[str, dict[str, float]]]]]) -> int:
    """Says by how much the tokens beat each reference; 0 where all intervals lie above 0."""
    lost = 0
    for name in REFERENCES:
        gap = metrics["results"]["box"][name]["dice_difference"]
        better = gap["high"] < 0
        lost += not better
        value, low, high = (f"{-100 * gap[part]:+.1f}" for part in ("value", "high", "low"))
        said = "better" if better else "NOT shown to be better"
        print(f"wsi-sam minus {name}: Dice {value} [{low}, {high}] ({said})")
    return int(lost > 0)


if __name__ == "__main__":
    main()
