"""Label tables as SAM-MIL and CLAM ship them."""

import re
from collections import Counter
from pathlib import Path

import pytest

from sammil_cli.cohort.cohort import Cohort, counts, read_labels
from sammil_cli.training.fold import read_folds, write_folds
from sammil_cli.training.foresight import fold_findings
from sammil_cli.training.splits import draw_folds


@pytest.fixture
def clam(real_data: Path) -> Path:
    folder = real_data / "legacy" / "clam" / "splits_and_labels"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing")
    return folder


def tally(cohort: Cohort) -> dict[str, int]:
    return dict(Counter(cohort.classes[member.label] for member in cohort.members))


def test_the_camelyon16_labels_of_sam_mil_are_read_without_a_header(published_labels: Path) -> None:
    cohort = read_labels(published_labels / "label_c16.csv")
    assert cohort.classes == ("0", "1")
    assert tally(cohort) == {"0": 239, "1": 159}  # docs/methods.md §1
    assert [(m.slide_id, m.label) for m in cohort.members[:3]] == [
        ("tumor_020", 1),
        ("normal_052", 0),
        ("tumor_078", 1),
    ]


def test_the_tcga_labels_of_sam_mil_are_read_without_a_header(published_labels: Path) -> None:
    cohort = read_labels(published_labels / "label_tcga_nsclc.csv", ["LUAD", "LUSC"])
    assert tally(cohort) == {"LUAD": 478, "LUSC": 478}  # docs/methods.md §1
    assert cohort.classes == ("LUAD", "LUSC")
    assert cohort.members[0].slide_id == "TCGA-62-A46R"


def test_the_tcga_labels_of_sam_mil_find_the_slides_of_their_patients(published_labels: Path, real_data: Path) -> None:
    bags = real_data / "mil" / "tcga_regions" / "lung"
    if not bags.is_dir():
        pytest.skip(f"{bags} is missing")
    slides = {path.stem for path in bags.glob("TCGA-*.pt")}
    assert len(slides) > 900
    cohort = read_labels(published_labels / "label_tcga_nsclc.csv", slides=slides)
    assert len(cohort.patients) == 956
    published = {patient.patient_id: patient.label for patient in cohort.patients}
    # In the names of TCGA the patient is the first twelve characters.
    assert {(m.slide_id, m.patient_id, m.label) for m in cohort.members} == {
        (slide, slide[:12], published[slide[:12]]) for slide in slides if slide[:12] in published
    }
    assert max(Counter(m.patient_id for m in cohort.members).values()) > 1
    for fold in draw_folds(cohort, folds=5, repeats=1, val_fraction=0.2, seed=2021, published=True):
        parts = [{slide[:12] for slide in part} for part in (fold.train, fold.val, fold.test)]
        assert sum(len(part) for part in parts) == len(set.union(*parts))  # no patient straddles


def test_patients_of_tcga_are_seen_in_the_names_where_case_id_repeats_slide_id(
    published_labels: Path, real_data: Path, tmp_path: Path
) -> None:
    splits = real_data / "mil" / "tcga_regions" / "splits_lung" / "splits_0_bool.csv"
    if not splits.is_file():
        pytest.skip(f"{splits} is missing")
    slides = sorted(line.split(",")[0] for line in splits.read_text(encoding="utf-8").splitlines()[1:])
    known = {
        p.patient_id: p.label for p in read_labels(published_labels / "label_tcga_nsclc.csv", slides=slides).patients
    }
    rows = "".join(f"{slide},{slide},{('LUAD', 'LUSC')[known[slide[:12]]]}\n" for slide in slides)
    path = tmp_path / "labels.csv"
    path.write_text("case_id,slide_id,label\n" + rows, encoding="utf-8")
    cohort = read_labels(path)
    folds = draw_folds(cohort, folds=5, repeats=1, val_fraction=0.2, seed=2021, published=True)
    (finding,) = fold_findings(cohort, folds, str(path))
    mixed = sum(
        slide[:12] in {other[:12] for other in (*fold.train, *fold.val)} for fold in folds for slide in fold.test
    )
    assert (len(slides), len({slide[:12] for slide in slides})) == (1033, 936)
    assert "128 of 1033 slides count as 128 patients, but their names hold 31: " in finding.message
    assert (
        f"; {mixed} of 1033 test slides of the folds drawn have their patient in train or validation" in finding.message
    )
    path.write_text("patient_id,slide_id,label\n" + re.sub("(?m)^(.{12})[^,]*", r"\1", rows), encoding="utf-8")
    assert list(fold_findings(read_labels(path), [], str(path))) == []


def test_folds_of_camelyon16_have_the_published_sizes(published_labels: Path, tmp_path: Path) -> None:
    cohort = read_labels(published_labels / "label_c16.csv")
    folds = draw_folds(cohort, folds=3, repeats=3, val_fraction=0.2, seed=2021)
    assert len(folds) == 9
    for repeat in range(3):
        tested = [fold.test for fold in folds if fold.repeat == repeat]
        assert sorted(len(part) for part in tested) == [132, 133, 133]
        assert len({slide for part in tested for slide in part}) == 398
    write_folds(tmp_path / "splits.csv", folds, cohort)
    assert read_folds(tmp_path / "splits.csv") == folds


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("camelyon_clean.csv", {"normal_tissue": 591, "tumor_tissue": 308}),
        ("tcga_kidney_clean.csv", {"TCGA-KICH": 111, "TCGA-KIRC": 489, "TCGA-KIRP": 284, "TCGA-SARC": 7}),
        ("tumor_subtyping_dummy_clean.csv", {"subtype_1": 250, "subtype_2": 150, "subtype_3": 100}),
    ],
)
def test_label_tables_of_clam_are_read(clam: Path, name: str, expected: dict[str, int]) -> None:
    cohort = read_labels(clam / name)
    assert tally(cohort) == expected
    assert all(f"{number} {label}" in counts(cohort) for label, number in expected.items())
