"""Seeds of simulations: distinct, and free of order, batch and worker."""

import numpy as np
import pytest

from lanternfish.core.seeds import check_seed, mix, simulation_seeds, stream

# Output of SplitMix64 seeded with 1234567, the test values of its reference implementation.
SPLITMIX = [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_mix_is_splitmix64():
    golden = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        states = np.uint64(1_234_567) + golden * np.arange(3, dtype=np.uint64)
    assert mix(states).tolist() == SPLITMIX


def test_seeds_are_distinct():
    seeds = np.concatenate([simulation_seeds(s, 0, 50_000) for s in range(4)])
    assert len(np.unique(seeds)) == len(seeds)


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 1), (7, 19), (999, 1_000)])
def test_a_part_is_the_same_as_in_the_whole(start, stop):
    whole = simulation_seeds(3, 0, 1_000)
    np.testing.assert_array_equal(simulation_seeds(3, start, stop), whole[start:stop])


def test_bits_are_balanced():
    seeds = simulation_seeds(0, 0, 20_000)
    ones = [np.mean(seeds >> np.uint64(b) & np.uint64(1)) for b in range(64)]
    assert np.max(np.abs(np.array(ones) - 0.5)) < 6 * 0.5 / np.sqrt(20_000)  # six standard errors


def test_streams_are_distinct_by_purpose_and_seed():
    purposes = ("training", "training_1", "training_2", "sampling", "")
    found = {stream(seed, purpose) for seed in range(3) for purpose in purposes}
    assert len(found) == 3 * len(purposes)
    assert all(check_seed(s) == s for s in found)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.0, "1", None, True])
def test_bad_seed_is_named(seed):
    with pytest.raises(ValueError, match=r"^Expected a whole number from 0 .+; got .+\.$"):
        simulation_seeds(seed, 0, 1)
