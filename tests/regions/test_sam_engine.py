"""Our automatic masks against the official generator's: the same records, for the same parameters."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sam_pair import official, ours, small_sam

PARAMETERS = {
    "points_per_side": 6,
    "pred_iou_thresh": 0.6,
    "stability_thresh": 0.6,
    "crop_layers": 1,
    "crop_points_downscale": 2,
}
REAL = ("thumbnails/c16/normal_010.jpg", "thumbnails/c16/normal_002.jpg", "images/WSI-SAM/high.png")


def real_image(real_data: Any, name: str, longest: int) -> NDArray[np.uint8]:
    image = cv2.imread(str(real_data / name))
    scale = longest / max(image.shape[:2])
    return np.ascontiguousarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[..., ::-1])


def drawn_image(shape: tuple[int, int]) -> NDArray[np.uint8]:
    return np.random.default_rng(4).integers(0, 255, (*shape, 3), dtype=np.uint8)


def compare(image: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[dict[str, Any]]:
    """Both on one image; returns the official records after all have been found equal."""
    model, parameters = small_sam(), PARAMETERS | changes
    found = ours(model, **parameters).generate(image)
    expected: list[dict[str, Any]] = official(model, monkeypatch, **parameters).generate(image)
    assert len(found) == len(expected)
    height, width = image.shape[:2]
    for one, other in zip(found, expected, strict=True):
        mask, truth = one.mask.within((0, 0, width, height)), other["segmentation"]
        assert (mask & truth).sum() >= 0.99 * (mask | truth).sum()
        assert abs(one.mask.area_px - other["area"]) <= 0.01 * other["area"]
        x, y, w, h = one.mask.box
        np.testing.assert_allclose([x, y, w - 1, h - 1], other["bbox"], atol=1)
        assert one.predicted_iou == pytest.approx(other["predicted_iou"], abs=1e-4)
        assert one.stability == pytest.approx(other["stability_score"], abs=0.01)
        assert one.point == pytest.approx(other["point_coords"][0])
        x0, y0, x1, y1 = one.crop_box
        assert [x0, y0, x1 - x0, y1 - y0] == other["crop_box"]
    return expected


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("name", REAL)
def test_the_same_masks_in_the_same_order_on_real_images(
    real_data: Any, monkeypatch: pytest.MonkeyPatch, name: str, layers: int
) -> None:
    expected = compare(real_image(real_data, name, 300), monkeypatch, crop_layers=layers)
    assert len(expected) > 20
    assert len({tuple(record["crop_box"]) for record in expected}) == (5 if layers else 1)


@pytest.mark.parametrize("shape", [(256, 256), (257, 100), (40, 400)])
def test_the_same_masks_on_pictures_of_any_shape(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]) -> None:
    assert len(compare(drawn_image(shape), monkeypatch)) > 20


def test_the_same_masks_with_two_layers_of_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = compare(drawn_image((300, 260)), monkeypatch, crop_layers=2)
    assert len({tuple(record["crop_box"]) for record in expected}) == 1 + 4 + 16


@pytest.mark.parametrize(("pred_iou", "stability"), [(0.0, 0.0), (0.9, 0.6), (0.6, 0.8), (0.88, 0.7)])
def test_the_thresholds_drop_the_same_masks(monkeypatch: pytest.MonkeyPatch, pred_iou: float, stability: float) -> None:
    image = drawn_image((200, 240))
    kept = len(compare(image, monkeypatch, pred_iou_thresh=pred_iou, stability_thresh=stability))
    everything = len(
        ours(small_sam(), **PARAMETERS | {"pred_iou_thresh": 0.0, "stability_thresh": 0.0}).generate(image)
    )
    assert everything > 100
    assert (10 < kept < 20) if pred_iou or stability else kept == everything


def test_where_nothing_passes_there_are_no_masks() -> None:
    # The official generator stops with an IndexError then.
    model = small_sam()
    assert ours(model, **(PARAMETERS | {"pred_iou_thresh": 5.0})).generate(drawn_image((100, 100))) == []


def test_points_on_tissue_give_the_masks_that_these_points_give_among_all() -> None:
    image, tissue = drawn_image((240, 240)), np.zeros((240, 240), bool)
    tissue[20:110, 30:140] = True
    engine = ours(small_sam(), **(PARAMETERS | {"points_per_side": 8, "crop_layers": 0, "stability_thresh": 0.0}))
    engine_asked: list[int] = []
    decode = engine.decoder.decode
    engine.decoder.decode = lambda picture, points: (engine_asked.append(len(points)), decode(picture, points))[1]  # type: ignore[method-assign]
    found = engine.generate(image, tissue)
    # The grid of 8 x 8 has points at 15, 45, 75, … 225: columns 45, 75, 105, 135 and rows 45, 75, 105 lie on tissue.
    assert sum(engine_asked) == 4 * 3
    assert {record.point for record in found} <= {
        (x, y) for x in (45.0, 75.0, 105.0, 135.0) for y in (45.0, 75.0, 105.0)
    }
    assert len(found) > 5
    assert engine.generate(image, np.zeros((240, 240), bool)) == []


def test_crops_without_tissue_are_not_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ours(small_sam(), **PARAMETERS)
    tissue = np.zeros((240, 240), bool)
    tissue[:70, :70] = True  # crops overlap by 81 px: only the first of them holds some
    encoded: list[int] = []
    encode = engine.encoder
    engine.encoder = lambda pixels: (encoded.append(len(pixels)), encode(pixels))[1]  # type: ignore[assignment]
    engine.generate(drawn_image((240, 240)), tissue)
    assert sum(encoded) == 2


def test_batches_of_any_size_give_the_same_masks() -> None:
    image = drawn_image((180, 200))
    model = small_sam()
    one, many = (ours(model, **PARAMETERS, prompts_at_once=size).generate(image) for size in (1, 64))
    assert [(r.mask.box, r.point) for r in one] == [(r.mask.box, r.point) for r in many]
    assert len(one) > 30
    for first, second in zip(one, many, strict=True):
        assert abs(first.mask.area_px - second.mask.area_px) <= 0.01 * first.mask.area_px


def test_the_same_picture_twice_gives_the_same_bytes() -> None:
    engine, image = ours(small_sam(), **PARAMETERS), drawn_image((120, 200))
    first, second = engine.generate(image), engine.generate(image)
    assert len(first) > 30
    assert [(r.mask.box, r.mask.runs.tobytes(), r.predicted_iou) for r in first] == [
        (r.mask.box, r.mask.runs.tobytes(), r.predicted_iou) for r in second
    ]


def test_bfloat16_moves_borders_by_little() -> None:
    image = drawn_image((240, 240))
    model = small_sam()
    exact, half = (ours(model, **PARAMETERS, precision=name).generate(image) for name in ("float32", "bfloat16"))
    by_point = {(r.point, r.crop_box, round(r.predicted_iou, 1)): r for r in exact}
    shared = [(by_point[key], r) for r in half if (key := (r.point, r.crop_box, round(r.predicted_iou, 1))) in by_point]
    assert len(exact) > 30
    assert len(shared) > 0.8 * len(exact)
    window = (0, 0, 240, 240)
    same = [(a.mask.within(window), b.mask.within(window)) for a, b in shared]
    assert np.median([(a & b).sum() / (a | b).sum() for a, b in same]) > 0.95


def test_when_memory_runs_out_the_batch_is_halved_and_the_masks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    image, model = drawn_image((180, 200)), small_sam()
    expected = ours(model, **PARAMETERS, prompts_at_once=16).generate(image)
    engine = ours(model, **PARAMETERS, prompts_at_once=16)
    decode, sizes = engine.decoder.decode, []

    def small_memory(picture: Any, points: Any) -> Any:
        sizes.append(len(points))
        if len(points) > 4:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return decode(picture, points)

    monkeypatch.setattr(engine.decoder, "decode", small_memory)
    found = engine.generate(image)
    assert sizes[:4] == [16, 8, 4, 4]
    assert max(sizes[2:]) == 4
    assert [(r.mask.box, r.point) for r in found] == [(r.mask.box, r.point) for r in expected]
    assert len(found) > 30
