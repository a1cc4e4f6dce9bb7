"""The colour maps: even steps, ordered by lightness, and readable to colour-blind people."""

import numpy as np
import pytest

from sammil_cli.report.colours import STEPS, attention_colours, evidence_colours, oklab

PLACES = np.linspace(0, 1, STEPS)
MAPS = {"attention": attention_colours(PLACES), "evidence": evidence_colours(PLACES)}

# Machado, Oliveira and Fernandes 2009, severity 1: what colour-blind people see of linear sRGB.
SEEN_BY = {
    "all": np.eye(3),
    "deuteranopes": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopes": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "tritanopes": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
readers = pytest.mark.parametrize("reader", list(SEEN_BY))


def seen(rgb: np.ndarray, reader: str) -> np.ndarray:
    """OKLab of sRGB colours (…, 3) as a reader sees them."""
    share = rgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    there = np.clip(linear @ SEEN_BY[reader].T, 0, 1)
    return oklab(255 * np.where(there <= 0.0031308, 12.92 * there, 1.055 * there ** (1 / 2.4) - 0.055))


def test_lightness_of_known_colours() -> None:
    known = oklab(np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0]]))
    np.testing.assert_allclose(known, [[1, 0, 0], [0, 0, 0], [0.628, 0.225, 0.126]], atol=2e-3)


@pytest.mark.parametrize("name", list(MAPS))
def test_equal_steps_look_equal(name: str) -> None:
    lab = oklab(MAPS[name])
    eighths = np.linalg.norm(np.diff(lab[:: STEPS // 8], axis=0), axis=1)
    assert eighths.max() < 1.3 * eighths.min()


@readers
def test_lightness_alone_orders_the_values_for_every_reader(reader: str) -> None:
    attention = seen(MAPS["attention"][::8], reader)[:, 0]
    assert (np.diff(attention) < 0).all()
    evidence = seen(MAPS["evidence"], reader)[:, 0]
    middle = STEPS // 2
    assert (np.diff(evidence[:middle:8]) > 0).all()
    assert (np.diff(evidence[middle::8]) < 0).all()
    assert evidence[middle] - max(evidence[0], evidence[-1]) > 0.3


@readers
def test_for_and_against_are_kept_apart_by_every_reader(reader: str) -> None:
    colours = seen(MAPS["evidence"], reader)
    apart = np.linalg.norm(colours - colours[::-1], axis=1)[: STEPS // 2]
    strength = 1 - 2 * PLACES[: STEPS // 2]
    assert (apart[strength > 0.5] > 0.12).all()
    assert (np.abs(colours[:, 0] - colours[::-1, 0]) < 0.12).all()  # neither side looks stronger than the other


def test_the_middle_of_evidence_is_pale_and_without_a_colour() -> None:
    lightness, a, b = oklab(evidence_colours(np.array(0.5)))
    assert lightness > 0.94
    assert np.hypot(a, b) < 0.01


def test_places_beyond_the_ends_are_the_ends() -> None:
    for pick in (attention_colours, evidence_colours):
        assert pick(np.array([-1.0, 0.0, 1.0, 7.0])).tolist() == pick(np.array([0.0, 0.0, 1.0, 1.0])).tolist()
