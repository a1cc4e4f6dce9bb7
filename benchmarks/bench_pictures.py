"""The picture of a slide: what drawing it costs, beside the six panels that matplotlib drew before."""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
from matplotlib_pictures import draw_by_matplotlib

from sammil_cli.report.heading import Heading
from sammil_cli.report.heatmap import DETAIL_PX, PANEL_PX, draw
from sammil_cli.report.slide_view import Detail, SlideView, TopPatch
from sammil_cli.slides.pixels import RGB

TARGET = 0.5  # of the baseline, at most
THUMBNAIL_MPP = 8.0  # of the baseline's overview
PATCH_UM = 128.0


def main() -> None:
    """Draws slides in turn by both, and prints the CPU seconds of each and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    for columns, rows in ((30, 24), (168, 131)):
        ours = made_view(columns, rows)
        larger = max(1.0, columns * PATCH_UM / THUMBNAIL_MPP / PANEL_PX)
        before = ours.sized(round(PANEL_PX * larger))
        checked(ours)
        spent: list[tuple[float, float]] = []
        for _ in range(asked.repeats):
            spent.append((seconds(draw_by_matplotlib, before), seconds(draw, ours)))
        base, now = (min(times) for times in zip(*spent, strict=True))
        met = "met" if now <= TARGET * base else "missed"
        print(
            f"{columns * rows} patches: {now:.3f} CPU s a picture, matplotlib's {base:.3f}: "
            f"{now / base:.2f}x (target {TARGET:g}x: {met})"
        )


def seconds(draws: Callable[[SlideView], bytes], view: SlideView) -> float:
    """CPU seconds of one picture."""
    begun = time.process_time()
    draws(view)
    return time.process_time() - begun


def checked(view: SlideView) -> None:
    """Both have to be pictures, and ours has to follow what it is drawn from."""
    assert draw(view) != draw(replace(view, attention=view.attention[::-1].copy()))
    assert draw(view).startswith(b"\x89PNG")


def made_view(columns: int, rows: int) -> SlideView:
    """A made-up slide that is full of patches."""
    rng = np.random.default_rng(0)
    side, count = PANEL_PX / columns, columns * rows
    xy = np.array([[column * side, row * side] for row in range(rows) for column in range(columns)])
    image = ground(rng, round(rows * side), PANEL_PX)
    attention = rng.lognormal(0, 2, count)
    top = np.argsort(-attention)[:6]
    details = [
        Detail(
            image=ground(rng, DETAIL_PX[1], DETAIL_PX[0]),
            box=(60.0 + 150 * number, 60, 60, 40),
            index=np.arange(60),
            xy=np.array([[n % 10 * 64.0, n // 10 * 64.0] for n in range(60)]),
            side=64.0,
            um_per_px=2.0,
            share=0.1,
            outlines=[],
        )
        for number in range(3)
    ]
    heading = Heading(
        slide_id="made-up",
        truth="tumour",
        called="tumour",
        shown="tumour",
        probability=0.93,
        threshold=0.52,
        texts=("0.930", "0.520"),
        judged_by="sam-mil, fold 0.0",
        encoder="resnet50",
        seen="out of fold: not seen in training",
    )
    return SlideView(
        heading=heading,
        image=image,
        regions=image[:, ::-1].copy(),
        um_per_px=columns * PATCH_UM / PANEL_PX,
        xy=xy,
        side=side,
        attention=attention,
        evidence=rng.uniform(0, 1, count),
        shown="tumour",
        classes=2,
        threshold=0.52,
        outlines=[],
        top=[TopPatch(image=ground(rng, 224, 224), index=int(index)) for index in top],
        details=details,
        patch_um=PATCH_UM,
    )


def ground(rng: np.random.Generator, rows: int, columns: int) -> RGB:
    """Something like tissue: blurred noise in pink."""
    noise = rng.integers(0, 60, (rows // 8 + 1, columns // 8 + 1, 3)) + np.array([170, 110, 160])
    return np.asarray(cv2.resize(noise.astype(np.uint8), (columns, rows), interpolation=cv2.INTER_CUBIC), np.uint8)


if __name__ == "__main__":
    main()
