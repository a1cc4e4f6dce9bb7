"""The most memory that a process held, counted from a moment on."""

import pytest

from sammil_cli.runner.worker import forget_peak, peak_bytes

_BLOCK = 64 << 20


def test_what_was_held_before_does_not_count() -> None:
    block = b"x" * _BLOCK
    with_block = peak_bytes()
    del block
    if not forget_peak():
        pytest.skip("this system does not count anew")
    assert peak_bytes() < with_block - _BLOCK // 2
    block = b"x" * _BLOCK
    assert peak_bytes() > _BLOCK
    del block
