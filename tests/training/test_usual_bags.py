"""What training bags usually are: leave-one-out by hand, how often a slide like them gets a remark, and one unlike."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from sammil_cli.training.usual_bags import UsualBags, _packed, _spread, _unpacked, describe, of_record, remarks_on

DIM = 64


def cohort(slides: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Mean features that vary together, as those of slides do, and numbers of patches."""
    shared = np.random.default_rng(5).normal(size=(6, DIM))
    means = 3 + generator.standard_t(6, (slides, 6)) @ shared + 0.5 * generator.normal(size=(slides, DIM))
    return means, np.rint(np.exp(generator.normal(5, 0.8, slides))).astype(np.int64) + 1


def on_features(mean: np.ndarray, usual: UsualBags) -> tuple[str, ...]:
    return remarks_on(np.repeat(mean[None], round(float(np.median(_unpacked(usual.patches)))), 0), [usual])


def test_distances_are_those_of_each_slide_against_all_others() -> None:
    means, patches = cohort(12, np.random.default_rng(0))
    expected = []
    for left_out in range(12):
        others = np.delete(means, left_out, 0)
        scores = (means[left_out] - others.mean(0)) / _spread(others.std(0, ddof=1))
        expected.append(np.sqrt((np.minimum(np.abs(scores), 10) ** 2).mean()))
    assert _unpacked(describe(means, patches).distances) == pytest.approx(np.sort(expected), rel=1e-5)


@pytest.mark.parametrize(("slides", "cohorts"), [(10, 60), (40, 30), (120, 15), (400, 8)])
def test_about_one_of_a_hundred_slides_like_the_training_slides_gets_a_remark(slides: int, cohorts: int) -> None:
    generator = np.random.default_rng(slides)
    flagged, asked = 0, 0
    for _ in range(cohorts):
        means, patches = cohort(slides + 100, generator)
        usual = describe(means[:slides], patches[:slides])
        flagged += sum(bool(on_features(mean, usual)) for mean in means[slides:])
        asked += 100
    assert flagged / asked < 0.02
    if slides == 400:
        assert flagged > 0  # and not never


def test_a_slide_of_another_stain_or_encoder_gets_one_and_says_how_far_it_lies() -> None:
    means, patches = cohort(300, np.random.default_rng(1))
    usual = describe(means[:240], patches[:240])
    shift = 4 * means.std(0) * np.random.default_rng(2).choice([-1, 1], DIM)
    found = [on_features(mean + shift, usual) for mean in means[240:]]
    assert sum(map(bool, found)) > 50
    said = next(text for texts in found for text in texts)
    assert said.startswith("its features lie farther from the training slides than")
    assert "240" in said


def test_a_percentile_is_given_where_some_training_slide_lies_farther() -> None:
    means, patches = cohort(400, np.random.default_rng(3))
    means[7] += 40 * means.std(0)
    usual = describe(means, patches)
    said = on_features(means.mean(0) + 8 * means.std(0), usual)
    assert said == (
        "its features lie farther from the training slides than 99 % of them (at the 99.8th percentile of 400)",
    )


@pytest.mark.parametrize(
    ("number", "said"), [(1, "1 patches: fewer than any"), (10**4, "10000 patches: more than any")]
)
def test_more_or_fewer_patches_than_any_training_slide_are_said(number: int, said: str) -> None:
    means, _ = cohort(240, np.random.default_rng(4))
    usual = describe(means, np.arange(100, 340))
    (found,) = remarks_on(np.repeat(means.mean(0)[None], number, 0), [usual])
    assert found == f"{said} of the 240 training slides"


def test_of_several_models_most_must_agree_and_without_any_nothing_is_said() -> None:
    means, patches = cohort(240, np.random.default_rng(6))
    usual = describe(means, patches)
    far = describe(means + 50, patches)
    slide = np.repeat(means.mean(0)[None] + 50, 150, 0)
    assert remarks_on(slide, [usual, usual, far])
    assert remarks_on(slide, [usual, far, far]) == ()
    assert remarks_on(slide, [None]) == ()


def test_a_feature_that_never_differs_and_one_that_only_one_slide_has_rule_nothing() -> None:
    means, patches = cohort(60, np.random.default_rng(7))
    means[:, 0] = 1.0
    means[:, 1] = 0.0
    means[5, 1] = 3.0
    usual = describe(means, patches)
    assert not on_features(means[8], usual)
    assert not on_features(means[5], usual)


def test_a_description_comes_back_from_its_json_and_a_damaged_one_does_not() -> None:
    means, patches = cohort(30, np.random.default_rng(8))
    usual = describe(means, patches)
    assert of_record(asdict(usual), DIM) == usual
    assert len(usual.mean) + len(usual.spread) < 2 * 4 * DIM * 1.5
    wrong = [
        (usual, DIM + 1),
        (replace(usual, slides=31), DIM),
        (replace(usual, mean="§"), DIM),
        (replace(usual, distances=usual.distances[-8:] + usual.distances[:-8]), DIM),
        (replace(usual, spread=_packed(-_unpacked(usual.spread))), DIM),
    ]
    for one, dim in wrong:
        with pytest.raises(ValueError, match=r".+"):
            of_record(asdict(one), dim)


def test_of_many_slides_quantiles_are_kept() -> None:
    means, patches = cohort(3000, np.random.default_rng(9))
    usual = describe(means, patches)
    assert len(_unpacked(usual.distances)) == 1001
    assert of_record(asdict(usual), DIM) == usual
