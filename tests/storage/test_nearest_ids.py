"""Which ids are proposed for one that is not there, and in which order."""

import pytest

from sammil_cli.errors import InputError
from sammil_cli.project.project import check_only, read_only
from sammil_cli.storage.nearest_ids import nearest_ids

DEMO = [f"demo_{number:03}" for number in range(1, 25)]
TCGA = ["TCGA-05-4244-01Z-00-DX1.d4ff32cd-38cf-40ea-8213-45c2b100ac01", "TCGA-05-4245-01Z-00-DX1.36ff5403"]


@pytest.mark.parametrize(
    ("text", "known", "near"),
    [
        ("demo_01", DEMO, ["demo_001", "demo_010"]),
        ("demo_1", DEMO, ["demo_001", "demo_010"]),
        ("DEMO-016", DEMO, ["demo_016"]),
        ("demo_025", DEMO, ["demo_024", "demo_023"]),
        ("demo_0016", DEMO, ["demo_016"]),
        ("demo_16.tif", DEMO, ["demo_016"]),
        ("dem_016", DEMO, ["demo_016"]),
        ("TCGA-05-4244", TCGA, [TCGA[0]]),
        ("slide_33", ["slide_1", "slide_2", "slide_3"], ["slide_3"]),
        ("S12", ["S12-345 [he]", "T12"], ["S12-345 [he]", "T12"]),
        ("zebra", DEMO, []),
    ],
)
def test_the_nearest_come_first(text: str, known: list[str], near: list[str]) -> None:
    assert nearest_ids(text, known)[: len(near) or None] == near


def test_an_unknown_slide_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="'demo_01', which is not in data") as caught:
        check_only(read_only("demo_01,demo_002"), set(DEMO), "data")
    assert caught.value.remedy == "did you mean demo_001 or demo_010?"


def test_an_id_with_a_comma_is_quoted() -> None:
    assert read_only(' a, "b, c" ,d') == {"a", "b, c", "d"}
