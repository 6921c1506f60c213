"""Arrays mapped from files: the same numbers as in memory, and memory that is given back."""

import resource
import subprocess
import sys

import numpy as np
import pytest

from lanternfish.core import mapped
from lanternfish.core.mapped import allocate, blocks, joined, release, take


@pytest.fixture(params=[2**40, 0], ids=["memory", "mapped"])
def large(request, monkeypatch):
    monkeypatch.setattr(mapped, "LARGE", request.param)
    monkeypatch.setattr(mapped, "_BLOCK", 1_000)
    return request.param


def numbers(n, k=3):
    return np.random.default_rng(n).normal(size=(n, k))


def test_what_is_written_is_read(large):
    held = allocate((1_000, 3))
    for block in blocks(held):
        held[block] = numbers(1_000)[block]
        release(held)
    assert isinstance(held, np.memmap) == (large == 0)
    assert np.array_equal(held, numbers(1_000))


def test_blocks_are_all_rows(large):
    held = numbers(777)
    assert np.concatenate([np.arange(777)[block] for block in blocks(held)]).tolist() == [
        *range(777)
    ]


@pytest.mark.parametrize(
    "rows",
    [slice(5, 50), np.arange(300) % 3 == 0, np.array([7, 3, 3, 299]), np.zeros(0, int)],
    ids=["slice", "mask", "numbers", "none"],
)
def test_rows_are_those_of_numpy(large, rows):
    assert np.array_equal(take(numbers(300), rows), numbers(300)[rows])


def test_parts_are_joined(large):
    assert np.array_equal(
        joined(numbers(30), numbers(50)), np.concatenate([numbers(30), numbers(50)])
    )
    assert np.array_equal(joined(numbers(0), numbers(50)), numbers(50))


PROGRAM = """
import resource, numpy as np
from lanternfish.core.mapped import allocate, blocks, release
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
held = allocate((2**20, 64))
for block in blocks(held):
    held[block] = 1.0
    release(held)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_filling_half_a_gigabyte_takes_no_more_memory_than_a_few_blocks():
    assert resource.getpagesize() <= 2**16
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 150  # MB, of 512 written
