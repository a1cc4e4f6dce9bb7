"""When patches are at another resolution than an encoder was trained at, and how that is said."""

import pytest

from sammil_cli.features.own_patches import OwnPatches, mpp_remark

OWN = OwnPatches(px=224, mpp=0.5)


@pytest.mark.parametrize(
    ("own", "px", "mpp", "said"),
    [
        (OWN, 224, 0.5, ""),
        (OWN, 224, 0.4942, ""),  # a scanner
        (OWN, 448, 0.25, ""),  # resized to the same
        (OWN, 224, 1.0, "uni is for 0.5 µm per pixel, these patches have 1"),
        (OWN, 512, 0.5, "uni is for 0.5 µm per pixel, and sees these patches, 512 px at 0.5, at 1.14"),
        (OwnPatches(px=224, mpp=0.5, other_mpps=(1.0, 0.25)), 224, 1.0, ""),
        (
            OwnPatches(px=224, mpp=0.5, other_mpps=(1.0, 0.25)),
            *(224, 8.0, "uni is for 0.25, 0.5 or 1 µm per pixel, these patches have 8"),
        ),
        (OwnPatches(px=224, mpp=None), 224, 8.0, ""),
        (OWN, 224, float("nan"), ""),  # nobody knows
    ],
)
def test_a_remark_is_made_of_what_the_encoder_sees(own: OwnPatches, px: int, mpp: float, said: str) -> None:
    assert mpp_remark("uni", own, px=px, mpp=mpp) == (f"encoder-mpp: {said}" if said else "")


def test_a_larger_input_side_sees_more_of_a_patch() -> None:
    assert mpp_remark("uni", OWN, px=448, mpp=0.5, enlarged=2.0) == ""
    assert "at 0.25" in mpp_remark("uni", OWN, px=224, mpp=0.5, enlarged=2.0)
