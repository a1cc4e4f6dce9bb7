"""What DSMIL and CLAM say beside their logits, against numbers of the published code."""

from typing import Any

import pytest
import torch
from test_golden import COMPARED, ENTRIES, golden_bag, golden_model, tolerance

from sammil_cli.mil.instance_branch import instance_loss

BY_TITLE = {one.title: one for one in COMPARED}


@pytest.mark.parametrize("title", ["DSMIL", "DSMIL (one output)", "DSMIL (SAM-MIL's)"])
def test_both_streams_of_dsmil_are_the_published_ones(golden: dict[str, Any], title: str) -> None:
    entry, near = golden[ENTRIES[title]], tolerance(ENTRIES[title])
    model, bag = golden_model(entry, BY_TITLE[title]), golden_bag(entry["N"])
    with torch.inference_mode():
        said = model.streams(bag)
    assert said.largest.tolist() == pytest.approx(entry["inst_max"], abs=near)
    assert said.instance_logits.amax(0).tolist() == pytest.approx(entry["inst_max"], abs=near)
    assert said.logits.tolist() == pytest.approx(entry["bag"], abs=near)
    if "attn_first5_class0" in entry:
        assert said.attention[:5, 0].tolist() == pytest.approx(entry["attn_first5_class0"], abs=near)


@pytest.mark.parametrize("title", ["CLAM-SB", "CLAM-MB"])
def test_the_scores_of_clams_attention_are_the_published_ones(golden: dict[str, Any], title: str) -> None:
    """Of several branches, that of the predicted class."""
    entry = golden[ENTRIES[title]]
    model, bag = golden_model(entry, BY_TITLE[title]), golden_bag(entry["N"])
    with torch.inference_mode():
        scores, said = model.attend(bag)[1], model(bag)
    row = scores[int(said.logits.argmax()) if len(scores) > 1 else 0]
    assert row[:5].tolist() == pytest.approx(entry["attn_raw_first5"], abs=1e-9)
    assert torch.allclose(said.attention, torch.softmax(row, 0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("title", ["CLAM-SB", "CLAM-MB"])
def test_every_instance_loss_of_clam_is_the_published_one(golden: dict[str, Any], title: str) -> None:
    entry = golden[ENTRIES[title]]
    model, bag = golden_model(entry, BY_TITLE[title]), golden_bag(entry["N"])
    seen = 0
    for kind, svm in (("svm", True), ("ce", False)):
        for label in (0, 1):
            for subtyping in (False, True):
                wanted = entry.get(f"inst_{kind} y={label} subtyping={subtyping}")
                if wanted is None:  # the published code was not asked
                    continue
                with torch.inference_mode():
                    embedded, scores = model.attend(bag)
                    found = instance_loss(
                        scores.expand(2, -1),
                        embedded,
                        model.instance_classifiers,
                        torch.tensor(label),
                        svm=svm,
                        subtyping=subtyping,
                    )
                assert found.item() == pytest.approx(wanted, abs=1e-9), (kind, label, subtyping)
                seen += 1
    assert seen == sum(name.startswith("inst_") for name in entry) == 6
