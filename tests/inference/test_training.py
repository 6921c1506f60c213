"""The training loop: what it minimises, exact resume, weights, bad input."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from lanternfish import flows
from lanternfish.core import Folder
from lanternfish.inference import descent
from lanternfish.inference.judge import losses_of
from lanternfish.inference.objectives import Pairs
from lanternfish.inference.order import Order
from lanternfish.inference.training import Training, train, train_together

SMALL = flows.Architecture("maf", layers=2, width=16, depth=1)
SHORT = Training(batch=50, epochs=12)


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    c = rng.normal(size=(600, 2))
    z = np.sin(2 * c) + 0.1 * rng.normal(size=(600, 2))
    return Pairs(z, c, np.ones(600))


@pytest.fixture
def start(pairs):
    return flows.build(0, SMALL, pairs.z, pairs.c)


def leaves(model):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(model) if hasattr(leaf, "dtype")]


def test_the_loss_falls_and_the_best_weights_are_kept(start, pairs):
    _, curves = train(start, pairs, Training(), seed=0)
    best = int(curves["best_epoch"][0])
    assert curves["validation"][best] == min(curves["validation"])
    assert curves["validation"][best] < curves["validation"][0] - 0.5


def test_the_held_out_loss_is_that_of_the_best_averaged_weights(pairs):
    """By another program, with weights, and a last minibatch that is not full."""
    weight = np.random.default_rng(1).uniform(0.1, 2, 600)
    weighted = pairs._replace(weight=weight)
    held = np.arange(600) % 4 == 0
    starts = [flows.build(seed, SMALL, pairs.z, pairs.c) for seed in (0, 1)]
    fitted, curves = train_together(starts, weighted, SHORT, seeds=[3, 4], held=held)
    for flow, curve in zip(fitted, curves, strict=True):
        losses = losses_of(flow, weighted, np.flatnonzero(held))
        expected = np.average(losses, weights=weight[held])
        assert min(curve["validation"]) == pytest.approx(expected, abs=1e-4)


def test_a_held_out_pair_of_no_density_is_no_progress(start, pairs):
    """A loss that is not finite is not taken for 0."""
    held = np.arange(600) < 60
    broken = pairs._replace(z=np.where(np.arange(600)[:, None] == 5, np.nan, pairs.z))
    with pytest.raises(FloatingPointError, match=r"^Expected a finite training loss; got none"):
        train_together([start], broken, SHORT, seeds=[0], held=held)


def test_masked_weights_stay_masked(start, pairs):
    """What is trained keeps its structure, and coordinates see those before them alone."""
    fitted, _ = train(start, pairs, replace(SHORT, rate=0.1), seed=0)
    assert jax.tree.structure(fitted) == jax.tree.structure(start)
    counts = [leaf for leaf in jax.tree.leaves(flows.seen(start.flow)) if leaf.min() == 0]
    weights = [leaf for leaf in leaves(flows.plain(fitted.flow)) if np.any(leaf == 0)]
    assert len(counts) == 4  # in, two of a block, out
    for mask in counts:
        assert any(w.shape == mask.shape and np.array_equal(w != 0, mask != 0) for w in weights)


def test_same_seed_same_bits_other_seed_other_bits(start, pairs):
    one, two, three = (train(start, pairs, SHORT, seed=s)[0] for s in (1, 1, 2))
    assert all(map(np.array_equal, leaves(one), leaves(two)))
    assert not all(map(np.array_equal, leaves(one), leaves(three)))


def train_until(epoch, starts, pairs, seeds, folder):
    """Train with a checkpoint after every epoch, and break off after some."""

    def stop(told):
        if told.number > epoch:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lanternfish.inference.training._SAVED", 0.0)
        with pytest.raises(KeyboardInterrupt):
            train_together(starts, pairs, SHORT, seeds=seeds, checkpoint=folder, tell=stop)


def test_epochs_fall_with_the_number_of_pairs():
    """In proportion up to 10,000 pairs, as the square root beyond, from 100 to 3."""
    numbers = (10, 1_000, 4_000, 10_000, 40_000, 10**9)
    epochs = [Training().for_pairs(n).epochs for n in numbers]
    assert epochs == [100, 100, 88, 35, 18, 3]
    assert [Training(epochs=7).for_pairs(n).epochs for n in numbers] == [7] * 6


@pytest.mark.parametrize("epochs_before", [1, 7])
def test_resume_is_exact(start, pairs, tmp_path, epochs_before):
    """Interrupted after some epochs and gone on with: the same bits as without a break."""
    whole, curves = train(start, pairs, SHORT, seed=3)
    folder = Folder(str(tmp_path))
    train_until(epochs_before, [start], pairs, [3], folder)
    resumed, again = train(start, pairs, SHORT, seed=3, checkpoint=folder)
    assert curves == again
    assert all(map(np.array_equal, leaves(whole), leaves(resumed)))


def test_a_finished_checkpoint_is_not_trained_again(start, pairs, tmp_path):
    folder, told = Folder(str(tmp_path)), []
    one, _ = train(start, pairs, SHORT, seed=3, checkpoint=folder)
    two, _ = train(start, pairs, SHORT, seed=3, checkpoint=folder, tell=told.append)
    assert told == []
    assert all(map(np.array_equal, leaves(one), leaves(two)))


def test_rows_of_weight_zero_do_not_count(start, pairs):
    """What stands in rows of weight 0 changes nothing."""
    weight = np.where(np.arange(600) % 3 == 0, 0.0, 1.0)
    garbage = np.where(weight[:, None] == 0, 50.0, pairs.z)
    clean, curves = train(start, Pairs(pairs.z, pairs.c, weight), SHORT, seed=0)
    dirty, again = train(start, Pairs(garbage, pairs.c, weight), SHORT, seed=0)
    assert curves == again
    assert all(map(np.array_equal, leaves(clean), leaves(dirty)))


def test_progress_tells_each_epoch(start, pairs):
    told = []
    train(start, pairs, Training(epochs=4), seed=0, tell=told.append)
    assert [e.number for e in told] == [1, 2, 3, 4]
    assert all(0 < e.share <= 1 and e.seconds_left >= 0 for e in told)
    assert told[-1].seconds_left == 0


def test_too_few_pairs(start, pairs):
    few = Pairs(pairs.z[:5], pairs.c[:5], pairs.weight[:5])
    with pytest.raises(ValueError, match=r"^Expected at least 10 valid simulations.*got 5"):
        train(start, few, SHORT, seed=0)


def test_a_loss_that_is_never_finite(start, pairs):
    broken = Pairs(pairs.z * np.nan, pairs.c, pairs.weight)
    with pytest.raises(FloatingPointError, match=r"^Expected a finite training loss; got none"):
        train(start, broken, SHORT, seed=0)


def test_a_damaged_checkpoint_says_so(start, pairs, tmp_path):
    folder = Folder(str(tmp_path))
    train(start, pairs, Training(epochs=2), seed=3, checkpoint=folder)
    state = next(p for p in tmp_path.iterdir() if p.suffix == ".safetensors")
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"^Expected a whole file .*got a damaged one"):
        train(start, pairs, SHORT, seed=3, checkpoint=folder)


@pytest.mark.parametrize("field", [{"batch": 0}, {"rate": 0.0}, {"held_out": 1.0}, {"clip": -1}])
def test_bad_settings(field):
    with pytest.raises(ValueError, match=rf"^Expected {next(iter(field))}"):
        Training(**field)


def test_members_trained_together_are_those_trained_alone(pairs, tmp_path):
    """Bit for bit, whichever of them stops first; and an interruption changes nothing."""
    starts = [flows.build(seed, SMALL, pairs.z, pairs.c) for seed in (0, 1)]
    together, curves = train_together(starts, pairs, SHORT, seeds=[5, 5])
    for start, member, curve in zip(starts, together, curves, strict=True):
        alone, alone_curve = train(start, pairs, SHORT, seed=5)
        assert curve == alone_curve
        assert all(map(np.array_equal, leaves(alone), leaves(member)))
    folder = Folder(str(tmp_path))
    train_until(4, starts, pairs, [5, 5], folder)
    resumed, again = train_together(starts, pairs, SHORT, seeds=[5, 5], checkpoint=folder)
    assert again == curves
    assert all(map(np.array_equal, leaves(together[1]), leaves(resumed[1])))


def test_members_side_by_side_learn_as_one_after_the_other(pairs):
    """One program of all members, as on a GPU: to rounding, also once one of them has stopped."""
    settings = replace(SHORT, patience=1, rate=0.1, averaging=0.0)
    starts = [flows.build(seed, SMALL, pairs.z, pairs.c) for seed in (0, 1)]
    apart, expected = train_together(starts, pairs, settings, seeds=[5, 6])
    epochs = [len(curve["train"]) for curve in expected]
    assert epochs[0] != epochs[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(descent, "_of_each", lambda program, *given: program(*given))
        beside, curves = train_together(starts, pairs, settings, seeds=[5, 6])
    assert [len(curve["train"]) for curve in curves] == epochs
    for one, other in zip(apart, beside, strict=True):
        for a, b in zip(leaves(one), leaves(other), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-3)


def test_pairs_on_disk_are_learned_as_in_memory(start, pairs, tmp_path):
    """Bit for bit."""
    files = []
    for i, array in enumerate(pairs[:3]):
        np.save(tmp_path / f"{i}.npy", np.asarray(array, np.float32))
        files.append(np.load(tmp_path / f"{i}.npy", mmap_mode="r"))
    one, curves = train(start, pairs, SHORT, seed=0)
    two, again = train(start, Pairs(*files), SHORT, seed=0)
    assert curves == again
    assert all(map(np.array_equal, leaves(one), leaves(two)))


@pytest.mark.parametrize("window", [10_000, 100, 7])
def test_an_epoch_sees_each_row_once_in_another_order_each_time(window):
    rows = np.arange(0, 2_000, 2)
    order = Order(rows, seed=1, window=window)
    first, second = (order.epoch(number, 20, 50)[0].ravel() for number in (0, 1))
    assert sorted(first) == sorted(second) == rows.tolist()
    assert not np.array_equal(first, second)
    assert np.array_equal(first, order.epoch(0, 20, 50)[0].ravel())
    reach = np.abs(np.diff(first // 2)).reshape(-1)
    assert np.median(reach) <= window


def test_fewer_pairs_than_a_minibatch_fill_the_rest_with_weight_0():
    rows, real = Order(np.arange(9), seed=0).epoch(0, 1, 20)
    assert sorted(rows[real]) == [*range(9)]


def test_the_average_forgets_where_it_began(pairs, start):
    """The average of weights that stand still is those weights: rate 0 in all but name."""
    still, _ = train(start, pairs, Training(rate=1e-12, epochs=3), seed=0)
    assert all(
        np.allclose(a, b, atol=1e-6)
        for a, b in zip(leaves(still), leaves(flows.plain(start)), strict=True)
    )
