"""The numbers that SAM-MIL's paper gives, to stand beside a user's own (docs/methods.md §15)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sammil_cli.report.tables import Table

C16, TCGA, C16_PLIP = "CAMELYON16", "TCGA lung", "CAMELYON16, PLIP"
_AUC_F1, _ALL = "AUC / F1", "AUC / F1 / accuracy"
_NOTE = (
    "Published: the numbers of SAM-MIL's paper on its own cohorts; none was measured here, and none is a target for "
    "yours. Features of ResNet-50 unless PLIP is named; the released code chooses epoch and threshold on test folds."
)
_BASELINES = " The paper's AB-MIL baseline differs from table to table; it stands here as it does there."
_MHIM = " The paper's AUC of MHIM without group features is 96.14 in Table 5 and 95.72 in Tables 1 and 7."
_OWN_NOTES = {
    "1": " On CAMELYON16 the paper's AUCs of TransMIL, DSMIL and DTFD in this table are those with group features in "
    "its Table 7; here only sam-mil has group features. Ten differences at once: an interval or two may leave out 0 by "
    "chance.",
    **dict.fromkeys(("2", "3", "4", "6"), _BASELINES),
    **dict.fromkeys(("5", "7"), _MHIM),
}

# Table -> cohort -> variant -> its cell.
_CELLS: dict[str, dict[str, dict[str, str]]] = {
    "1": {
        C16: {
            "max": "83.71 ± 9.90 / 77.23 ± 9.88 / 79.95 ± 9.33",
            "mean": "80.14 ± 4.84 / 70.93 ± 5.11 / 77.03 ± 3.89",
            "abmil": "94.54 ± 1.96 / 87.45 ± 3.07 / 89.80 ± 2.46",
            "dsmil": "94.95 ± 2.06 / 87.95 ± 2.27 / 90.40 ± 1.57",
            "clam-sb": "93.66 ± 2.44 / 86.89 ± 2.57 / 89.56 ± 1.90",
            "clam-mb": "94.16 ± 1.78 / 87.70 ± 2.53 / 90.23 ± 1.82",
            "transmil": "94.66 ± 2.34 / 86.27 ± 3.05 / 89.05 ± 2.52",
            "dtfd": "95.40 ± 1.82 / 88.56 ± 2.44 / 90.90 ± 2.40",
            "ibmil": "94.80 ± 1.03 / 88.80 ± 0.89 / 91.23 ± 0.41",
            "mhim": "95.72 ± 1.77 / 88.98 ± 2.88 / 90.73 ± 2.61",
            "sam-mil-groups": "96.08 ± 1.32 / 89.36 ± 2.31 / 91.28 ± 1.94",
        },
        TCGA: {
            "max": "93.89 ± 1.42 / 87.81 ± 2.65 / 87.86 ± 2.59",
            "mean": "92.67 ± 2.31 / 87.44 ± 2.43 / 87.48 ± 2.41",
            "abmil": "94.39 ± 1.71 / 89.61 ± 2.32 / 89.67 ± 2.31",
            "dsmil": "95.03 ± 1.57 / 89.38 ± 2.69 / 89.38 ± 2.69",
            "clam-sb": "94.53 ± 1.79 / 89.21 ± 2.65 / 89.29 ± 2.61",
            "clam-mb": "94.42 ± 1.93 / 89.24 ± 3.02 / 89.29 ± 2.99",
            "transmil": "94.71 ± 1.38 / 89.07 ± 1.81 / 89.10 ± 1.81",
            "dtfd": "95.39 ± 1.48 / 90.67 ± 1.63 / 90.71 ± 1.63",
            "ibmil": "94.59 ± 1.56 / 89.35 ± 2.42 / 89.38 ± 2.42",
            "mhim": "95.77 ± 1.42 / 90.79 ± 2.37 / 90.99 ± 2.27",
            "sam-mil-groups": "96.01 ± 1.24 / 91.42 ± 2.23 / 91.50 ± 2.27",
        },
    },
    "2": {
        C16: {
            "baseline": "94.00 / 87.40",
            "instance": "96.01 / 89.33",
            "bag": "95.69 / 89.73",
            "full": "96.08 / 89.36",
        },
        TCGA: {
            "baseline": "94.39 / 89.61",
            "instance": "95.84 / 91.81",
            "bag": "95.78 / 91.71",
            "full": "96.01 / 91.42",
        },
    },
    "3": {
        C16: {
            "baseline": "94.54 / 87.44",
            "random": "95.25 / 89.04",
            "non-group": "95.77 / 89.45",
            "instance": "96.01 / 89.33",
        },
        TCGA: {
            "baseline": "94.27 / 88.69",
            "random": "95.34 / 90.66",
            "non-group": "95.51 / 91.05",
            "instance": "95.84 / 91.81",
        },
    },
    "4": {
        C16: {
            "baseline": "94.00 / 87.40",
            "constant": "95.41 / 89.02",
            "linear": "94.23 / 88.32",
            "instance": "96.01 / 89.33",
        },
        TCGA: {
            "baseline": "94.39 / 89.61",
            "constant": "95.31 / 90.85",
            "linear": "95.06 / 90.86",
            "instance": "95.84 / 91.81",
        },
    },
    "5": {
        C16: {
            "transmil": "93.51 / 85.10",
            "transmil-groups": "94.66 / 86.27",
            "mhim": "96.14 / 89.94",
            "mhim-groups": "96.76 / 91.51",
        },
        C16_PLIP: {
            "transmil": "97.77 / 92.77",
            "transmil-groups": "97.85 / 92.23",
            "mhim": "97.79 / 94.13",
            "mhim-groups": "98.37 / 94.70",
        },
    },
    "6": {
        C16: {"baseline": "94.54 / 87.44", "no-consistency": "95.79 / 89.23", "full": "96.08 / 89.36"},
        TCGA: {"baseline": "94.27 / 88.69", "no-consistency": "95.66 / 91.33", "full": "96.01 / 91.42"},
    },
    "7": {
        C16: {
            "transmil": "93.51 / 85.10",
            "transmil-groups": "94.66 / 86.27",
            "dsmil": "94.57 / 87.65",
            "dsmil-groups": "94.95 / 87.64",
            "dtfd": "95.15 / 87.62",
            "dtfd-groups": "95.40 / 90.56",
            "mhim": "95.72 / 88.98",
            "mhim-groups": "96.76 / 91.51",
        },
        C16_PLIP: {
            "transmil": "97.77 / 92.77",
            "transmil-groups": "97.85 / 92.23",
            "dsmil": "97.64 / 93.24",
            "dsmil-groups": "97.65 / 93.24",
            "dtfd": "97.35 / 94.86",
            "dtfd-groups": "97.41 / 95.03",
            "mhim": "97.79 / 94.13",
            "mhim-groups": "98.37 / 94.70",
        },
    },
}


def published(name: str) -> Mapping[str, Mapping[str, str]]:
    """What the paper has in a table: cohort -> variant of `report.ablation` -> AUC / F1 (/ accuracy), × 100."""
    return _CELLS.get(name, {})


def with_published(table: Table, name: str, variants: Sequence[str]) -> Table:
    """The table with a column for each cohort of the paper, marked as published; as it is where the paper has none.

    Args:
        name: of the table. variants: of its rows.
    """
    columns = published(name)
    if not columns:
        return table
    what = _ALL if name == "1" else _AUC_F1
    return replace(
        table,
        header=(*table.header, *(f"published, {cohort}: {what}" for cohort in columns)),
        rows=[
            (*row, *(cells.get(variant, "–") for cells in columns.values()))
            for row, variant in zip(table.rows, variants, strict=True)
        ],
        note=f"{table.note} {_NOTE}{_OWN_NOTES[name]}",
    )
