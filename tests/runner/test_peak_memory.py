"""The most memory that a process held, counted from a moment on."""

import mmap

import pytest

from sammil_cli.runner.worker import forget_peak, peak_bytes

_BLOCK = 64 << 20


def _fresh_pages() -> mmap.mmap:
    """A written block of the system's own pages; malloc might hand out pages that the process held anyway."""
    block = mmap.mmap(-1, _BLOCK)
    block.write(b"x" * _BLOCK)
    return block


def test_what_was_held_before_does_not_count() -> None:
    block = _fresh_pages()
    with_block = peak_bytes()
    block.close()
    if not forget_peak():
        pytest.skip("this system does not count anew")
    without = peak_bytes()
    assert without < with_block - _BLOCK // 2
    block = _fresh_pages()
    assert peak_bytes() > without + _BLOCK // 2
    block.close()
