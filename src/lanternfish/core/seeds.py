"""Seeds belong to simulations, not to workers.

Simulation i of a study with seed s draws all its randomness from one 64-bit number,

    seed_i = mix(mix(s) + i),

with ``mix`` the finaliser of SplitMix64 (Steele, Lea & Flood 2014): a bijection of 64-bit words
whose outputs pass BigCrush when its inputs are consecutive. The number depends on neither the batch
size, the worker count nor the order of execution.
"""

import hashlib

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def mix(words: np.ndarray | np.uint64) -> np.ndarray:
    """SplitMix64's finaliser, elementwise over uint64 words."""
    with np.errstate(over="ignore"):
        z = np.asarray(words, np.uint64) + _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * _MIX_1
        z = (z ^ (z >> np.uint64(27))) * _MIX_2
        return z ^ (z >> np.uint64(31))


def simulation_seeds(seed: int, start: int, stop: int) -> np.ndarray:
    """Seeds of simulations ``start`` to ``stop - 1`` of a study, shape (stop - start,), uint64.

    Raises:
        ValueError: if the study's seed is not a whole number from 0 to 2**63 - 1.
    """
    base = mix(np.uint64(check_seed(seed)))
    with np.errstate(over="ignore"):
        return mix(base + np.arange(start, stop, dtype=np.uint64))


def check_seed(seed: int) -> int:
    """The seed itself, or one sentence on what is wrong with it."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**63:
        raise ValueError(f"Expected a whole number from 0 to 2**63 - 1 as seed; got {seed!r}.")
    return int(seed)


def stream(seed: int, purpose: str) -> int:
    """A seed for another purpose of a study (training, sampling), independent of the rest."""
    digest = hashlib.blake2b(purpose.encode(), digest_size=8).digest()
    word = np.uint64(int.from_bytes(digest, "little"))
    with np.errstate(over="ignore"):
        return int(mix(mix(np.uint64(check_seed(seed))) ^ word) >> np.uint64(1))
