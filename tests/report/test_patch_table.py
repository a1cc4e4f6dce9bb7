"""The table of patches reads back as it was written, or is refused."""

from pathlib import Path

import numpy as np
import pytest

from sammil_cli.errors import InputError
from sammil_cli.report.patch_table import PatchTable, read_patch_table, write_patch_table


def test_a_table_reads_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = PatchTable(
        classes=("=1+1", "b"),
        xy=rng.integers(0, 99_999, (7, 2)).astype(np.int32),
        attention=rng.random(7),
        evidence=rng.random((7, 2)),
    )
    write_patch_table(tmp_path / "t.csv", table)
    found = read_patch_table(tmp_path / "t.csv")
    assert len(found.classes) == 2
    np.testing.assert_array_equal(found.xy, table.xy)
    np.testing.assert_allclose(found.attention, table.attention, rtol=1e-8)
    np.testing.assert_allclose(found.evidence, table.evidence, rtol=1e-8)


@pytest.mark.parametrize("text", ["x,y,attention\n", "x,y,attention\n1,2,much\n", "x,y,attention\n1,2\n"])
def test_a_table_without_numbers_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match="is no table of patches") as caught:
        read_patch_table(tmp_path / "t.csv")
    assert caught.value.code == "E_DAMAGED"
