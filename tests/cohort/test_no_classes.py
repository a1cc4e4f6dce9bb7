"""Labels that are no classes are recognised as what they are, and what only looks like it passes."""

from collections.abc import Callable, Sequence

import pytest

from sammil_cli.cohort.no_classes import survival_columns, what_they_are

IDS = [f"s{i:02d}" for i in range(40)]


def cycle(*names: str) -> Callable[[int], str]:
    return lambda i: names[i % len(names)]


NO_CLASSES: dict[str, tuple[Callable[[int], str], str, str]] = {
    "fractions": (lambda i: f"{0.37 * i:.2f}", "numbers", "40 different values"),
    "decimal commas": (lambda i: f"{0.37 * i:.2f}".replace(".", ","), "numbers", "numbers of a scale"),
    "ages, most of them": (lambda i: "over 80" if i % 9 == 0 else str(40 + i), "numbers", "numbers of a scale"),
    "per cent": (lambda i: f"<{i} %", "numbers", "numbers of a scale"),
    "dates": (lambda i: f"{i % 28 + 1:02d}.03.2020", "dates", "holds dates"),
    "bars": (cycle("A", "B", "A|B"), "several-labels", "'A|B' (rows: 13)"),
    "semicolons without single labels": (cycle("A;B", "B;C", "A;C"), "several-labels", "'A;B' (rows: 14)"),
    "commas": (cycle("A", "B", "A, B"), "several-labels", "gives a slide one class"),
    "a list of Python": (cycle("A", "B", "['A', 'B']"), "several-labels", "several classes in a cell"),
    "numbers together": (cycle("1", "2", "1,2"), "several-labels", "'1,2' (rows: 13)"),
    "ids": (lambda i: IDS[i], "ids-as-labels", "40 different values, such as 's00', 's01', 's02', for 40 rows"),
    "a class for each slide": (lambda i: f"type {i}", "ids-as-labels", "classes are shared"),
}
CLASSES: dict[str, Callable[[int], str]] = {
    "two": cycle("0", "1"),
    "grades": cycle("0", "0.5", "1", "1.5", "2"),
    "codes": lambda i: str(i % 12),
    "a comma in names": cycle("Adenocarcinoma, NOS", "Squamous cell carcinoma, NOS"),
    "stages together": cycle("I|II", "III|IV"),
    "a slash in names": cycle("HR+/HER2-", "HR-/HER2+", "HR-/HER2-"),
    "Gleason": cycle("3+3", "3+4", "4+3"),
    "PD-L1": cycle("<1%", "1-49%", "≥50%"),
}


@pytest.mark.parametrize("name", NO_CLASSES)
def test_what_is_no_class_is_one_finding_and_the_fix_names_classes(name: str) -> None:
    label, kind, message = NO_CLASSES[name]
    found = what_they_are([label(i) for i in range(40)], IDS)
    assert found is not None
    assert found[0] == kind
    assert message in found[1]
    assert "class" in found[2]


@pytest.mark.parametrize("name", CLASSES)
def test_what_looks_like_it_and_may_be_classes_passes(name: str) -> None:
    assert what_they_are([CLASSES[name](i) for i in range(40)], IDS) is None


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("slide_id", "OS_months", "OS_status"), ["OS_months", "OS_status"]),
        (("slide_id", "event", "time"), ["time", "event"]),
        (("case_id", "slide_id", "survival_months", "censorship"), ["survival_months", "censorship"]),
        (("days_to_death", "vital_status"), ["days_to_death", "vital_status"]),
        (("OS.time", "OS"), ["OS.time", "OS"]),
        (("slide_id", "age_years", "status"), []),
        (("slide_id", "timepoint", "grade"), []),
    ],
)
def test_tables_of_survival_are_known_by_a_time_and_an_event(names: Sequence[str], found: list[str]) -> None:
    assert survival_columns(names) == found
