"""What is said where a model looks at pen, dirt or blur."""

import numpy as np

from sammil_cli.report.patch_artefacts import artefact_of, artefact_remarks


def _scores(**shares: list[float]) -> dict[str, np.ndarray]:
    return {name: np.array(values, np.float16) for name, values in shares.items()}


SCORES = _scores(
    tissue=[1, 1, 1, 1], blank=[0, 0, 0, 0.9], pen=[0, 0.4, 0.05, 0], dark=[0, 0.12, 0, 0], blur=[0.3, 0.3, 0.8, 0.3]
)


def test_a_patch_says_what_covers_it_most() -> None:
    assert [artefact_of(SCORES, index) for index in range(4)] == ["", "pen 40%", "blurred", ""]
    assert artefact_of(_scores(pen=[0.1], dark=[0.5]), 0) == "black 50%"
    assert artefact_of({}, 0) == ""


def test_a_slide_is_remarked_where_a_tenth_of_the_attention_is_on_artefacts() -> None:
    assert artefact_remarks(SCORES, np.array([7.0, 2.0, 0.5, 0.5])) == [
        "looks-at-pen: 20% of the attention on patches with pen, 25% of all patches",
        "looks-at-dark: 20% of the attention on patches with black (folds, dirt), 25% of all patches",
    ]
    assert artefact_remarks(SCORES, np.array([0.96, 0.01, 0.02, 0.01])) == []
    assert artefact_remarks({}, np.ones(4)) == []


def test_a_slide_without_attention_has_no_remark() -> None:
    assert artefact_remarks(SCORES, np.zeros(4)) == []
