"""The folds of the published code, on its own label files. The expected values are those of docs/methods.md §1."""

from pathlib import Path

import pytest

from sammil_cli.cohort.cohort import Cohort, read_labels
from sammil_cli.config import TrainSettings, check
from sammil_cli.jobs.drawn_folds import drawn_folds
from sammil_cli.project.presets import preset
from sammil_cli.training.fold import Fold


def draw(cohort: Cohort, name: str, protocol: str) -> list[Fold]:
    """As `sammil train` draws with a preset's settings."""
    settings = check({**preset(name), "protocol": protocol}, name)
    return drawn_folds(cohort, settings.stage(TrainSettings))


def test_the_folds_of_camelyon16_are_the_published_ones(published_labels: Path) -> None:
    folds = draw(read_labels(published_labels / "label_c16.csv"), "camelyon16", "paper")
    assert [(len(fold.train), len(fold.test)) for fold in folds] == [(265, 133), (265, 133), (266, 132)] * 3
    assert [fold.test[:3] for fold in folds if fold.fold == 0] == [
        ("normal_070", "test_038", "test_043"),
        ("test_023", "test_004", "normal_085"),
        ("normal_004", "normal_107", "test_090"),
    ]
    assert all(fold.val == fold.test for fold in folds)


def test_the_folds_of_tcga_are_the_published_ones(published_labels: Path) -> None:
    folds = draw(read_labels(published_labels / "label_tcga_nsclc.csv", ["LUAD", "LUSC"]), "tcga-nsclc", "paper")
    assert [len(fold.test) for fold in folds] == [192, 191, 191, 191, 191]
    assert folds[0].test[:3] == ("TCGA-97-A4M3", "TCGA-86-8056", "TCGA-55-7576")


@pytest.mark.parametrize(("name", "table"), [("camelyon16", "label_c16.csv"), ("tcga-nsclc", "label_tcga_nsclc.csv")])
def test_the_honest_protocol_keeps_the_published_test_parts(published_labels: Path, name: str, table: str) -> None:
    cohort = read_labels(published_labels / table)
    label = {member.slide_id: member.label for member in cohort.members}
    for honest, paper in zip(draw(cohort, name, "honest"), draw(cohort, name, "paper"), strict=True):
        assert honest.test == paper.test
        assert [slide for slide in paper.train if slide in honest.train] == list(honest.train)  # in published order
        assert set(honest.train) | set(honest.val) == set(paper.train)
        assert not set(honest.train) & set(honest.val)
        assert len(honest.val) == round(0.2 * len(paper.train))
        share = [sum(label[slide] for slide in part) / len(part) for part in (honest.val, paper.train)]
        assert share[0] == pytest.approx(share[1], abs=0.01)  # stratified


def test_missing_slides_do_not_move_the_others_to_other_folds(published_labels: Path) -> None:
    whole = read_labels(published_labels / "label_c16.csv")
    some = whole.only({member.slide_id for member in whole.members[::5]})
    for fold, smaller in zip(draw(whole, "camelyon16", "paper"), draw(some, "camelyon16", "paper"), strict=True):
        kept = {member.slide_id for member in some.members}
        assert smaller.test == tuple(slide for slide in fold.test if slide in kept)
        assert smaller.train == tuple(slide for slide in fold.train if slide in kept)
