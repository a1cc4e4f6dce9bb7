"""Which bags a model may judge."""

from dataclasses import replace

import pytest

from sammil_cli.errors import InputError
from sammil_cli.features.bag import EncoderFacts
from sammil_cli.training.encoder_check import check_encoder, unknown_encoder

TRAINED = EncoderFacts(
    name="resnet50", weights_sha256="a" * 64, dim=1024, patch_px=224, patch_mpp=0.5, patch_px_level0=512
)
PLIP = replace(TRAINED, name="plip", dim=512)


def test_the_same_encoder_passes_whatever_the_resolution_of_its_patches() -> None:
    check_encoder(replace(TRAINED, patch_mpp=0.25), TRAINED, remedy="")


@pytest.mark.parametrize("change", [{"name": "plip"}, {"dim": 512}, {"weights_sha256": "b" * 64}])
def test_another_encoder_is_refused_with_both_names(change: dict[str, object]) -> None:
    now = replace(TRAINED, **change)
    with pytest.raises(InputError) as caught:
        check_encoder(now, TRAINED, remedy="train again")
    assert "resnet50 (1024-d, weights aaaaaaaa)" in caught.value.message
    assert f"{now.name} ({now.dim}-d" in caught.value.message
    assert caught.value.remedy == "train again"


def test_of_imported_weights_the_dimension_counts_and_the_name_where_it_was_given() -> None:
    check_encoder(TRAINED, unknown_encoder(1024), remedy="")
    check_encoder(TRAINED, unknown_encoder(1024, "resnet50"), remedy="")
    for now, then in ((PLIP, unknown_encoder(1024)), (replace(PLIP, dim=1024), unknown_encoder(1024, "resnet50"))):
        with pytest.raises(InputError, match="the bags are of plip"):
            check_encoder(now, then, remedy="")
