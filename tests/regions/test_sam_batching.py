"""Batches that shrink when memory runs out."""

from collections.abc import Sequence

import pytest
import torch

from sammil_cli.errors import SlideError
from sammil_cli.regions.sam_engine.batching import Batches, is_out_of_memory


def test_items_come_in_order_in_batches() -> None:
    assert list(Batches(3, "thing").map(list, [1, 2, 3, 4, 5, 6, 7])) == [[1, 2, 3], [4, 5, 6], [7]]
    assert list(Batches(3, "thing").map(list, [])) == []


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: not enough memory: you tried to"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_a_batch_that_does_not_fit_is_halved_until_it_does(error: Exception) -> None:
    batches, tried = Batches(8, "thing"), []

    def work(items: Sequence[int]) -> list[int]:
        tried.append(len(items))
        if len(items) > 2:
            raise error
        return list(items)

    found = list(batches.map(work, list(range(9))))
    assert found == [[0, 1], [2, 3], [4, 5], [6, 7], [8]]
    assert tried == [8, 4, 2, 2, 2, 2, 1]
    assert batches.size == 2  # it is not tried again with more


def test_when_not_even_one_fits_the_slide_is_refused_with_what_to_do() -> None:
    def work(items: Sequence[int]) -> None:
        raise MemoryError

    with pytest.raises(SlideError, match="not enough memory for one prompt at a time") as caught:
        list(Batches(4, "prompt").map(work, [1, 2, 3]))
    assert caught.value.code == "E_MEMORY"
    assert "sam_model" in caught.value.remedy


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def work(items: Sequence[int]) -> None:
        raise RuntimeError("The size of tensor a must match")

    with pytest.raises(RuntimeError, match="size of tensor"):
        list(Batches(4, "prompt").map(work, [1, 2, 3]))
    assert not is_out_of_memory(ValueError("out of memory"))
