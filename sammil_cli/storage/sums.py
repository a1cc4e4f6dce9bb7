"""Checksums of what a file holds: CRC-32, at the speed of the memory, and sure to show any few changed bits."""

import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def sum_of_array(array: NDArray[Any]) -> str:
    """The CRC-32 of an array's type, shape and bytes, in 8 hex digits; the array is contiguous."""
    head = f"{array.dtype.str} {array.shape}".encode()
    return f"{zlib.crc32(array.reshape(-1).view(np.uint8).data, zlib.crc32(head)):08x}"


def sum_of_facts(facts: Mapping[str, object]) -> str:
    """The CRC-32 of attributes as JSON with sorted keys, in 8 hex digits."""
    return f"{zlib.crc32(json.dumps(facts, sort_keys=True).encode()):08x}"
