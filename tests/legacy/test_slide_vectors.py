"""Slide embeddings of other tools: one vector for a slide, and nothing else taken for one."""

from pathlib import Path

import numpy as np
import pytest
from vector_files import write_vectors

from sammil_cli.errors import InputError, SlideError
from sammil_cli.legacy.slide_vectors import read_slide_vector, read_slide_vectors, vector_paths

VECTOR = np.array([1.5, -2.0, 3.0], np.float32)
COORDS = np.zeros((9, 2), np.int64)


@pytest.mark.parametrize(
    "held",
    [
        {"features": VECTOR, "coords": COORDS},  # TRIDENT
        {"features": VECTOR[None], "coords": COORDS},
        {"slide_embeddings": VECTOR.astype(np.float16)},
        {"features/uni_v2": np.zeros((9, 4), np.float32), "slide_features/titan": VECTOR},  # AtlasPatch
    ],
)
def test_the_vector_of_a_slide_is_found(tmp_path: Path, held: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(read_slide_vector(write_vectors(tmp_path / "s.h5", held)), VECTOR.astype(np.float64))


@pytest.mark.parametrize(
    ("held", "code", "said"),
    [
        ({"features": np.zeros((9, 3), np.float32)}, "E_LEGACY_DAMAGED", "features (9, 3)"),
        ({"coords": COORDS}, "E_LEGACY_DAMAGED", "no vector of the slide; it has coords (9, 2)"),
        ({"slide_features/a": VECTOR, "slide_features/b": VECTOR}, "E_LEGACY_MISSING", "of slide_features/a, slide_fe"),
        ({"features": np.array([1.0, np.nan])}, "E_NAN", "NaN or infinite"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, held: dict[str, np.ndarray], code: str, said: str) -> None:
    with pytest.raises(SlideError) as caught:
        read_slide_vector(write_vectors(tmp_path / "s.h5", held))
    assert caught.value.code == code
    assert said in caught.value.message
    assert caught.value.remedy


def test_a_folder_of_two_encoders_is_refused_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no slide embedding"):
        vector_paths(tmp_path)
    write_vectors(tmp_path / "a.h5", {"features": VECTOR})
    write_vectors(tmp_path / "b.h5", {"features": np.zeros(5, np.float32)})
    assert list(vector_paths(tmp_path)) == ["a", "b"]
    with pytest.raises(InputError, match="'b' has 5 numbers, that of 'a' 3"):
        read_slide_vectors(tmp_path, ["a", "b"])
    with pytest.raises(SlideError, match="does not exist"):
        read_slide_vector(tmp_path / "c.h5")
