"""MHIM-MIL's feature, its distillation and the streams of its DSMIL core, against numbers of the published code."""

from typing import Any

import pytest
import torch
from test_golden import COMPARED, ENTRIES, golden_bag, golden_model

from sammil_cli.mil.models.mhim import feature_distance

BY_TITLE = {one.title: one for one in COMPARED}
NEAR = 1e-9


def test_the_feature_and_its_distance_to_a_teachers_are_the_published_ones(golden: dict[str, Any]) -> None:
    title = "MHIM-MIL (attention)"
    entry = golden[ENTRIES[title]]
    model, bag = golden_model(entry, BY_TITLE[title]), golden_bag(entry["N"])
    with torch.inference_mode():
        feature, _ = model.core.weigh(model.patch_to_emb(bag.features))
        learned = model.core.learn(bag.features, model.patch_to_emb, model.predictor, torch.Generator())
    assert feature[:3].tolist() == pytest.approx(entry["cls_feat_first3"], abs=NEAR)
    assert learned.feature[:3].tolist() == pytest.approx(entry["cls_feat_first3"], abs=NEAR)
    wanted = entry["distill_loss_with_teacher_feat_reversed"]
    assert feature_distance(feature.flip(0), feature).item() == pytest.approx(wanted, abs=NEAR)


def test_both_streams_of_the_dsmil_core_are_the_published_ones(golden: dict[str, Any]) -> None:
    title = "MHIM-MIL (DSMIL)"
    entry = golden[ENTRIES[title]]
    model, bag = golden_model(entry, BY_TITLE[title]), golden_bag(entry["N"])
    with torch.inference_mode():
        learned = model.core.learn(bag.features, model.patch_to_emb, model.predictor, torch.Generator())
    assert learned.logits["bag"].tolist() == pytest.approx(entry["bag"], abs=NEAR)
    assert learned.logits["instance"].tolist() == pytest.approx(entry["inst_max"], abs=NEAR)
