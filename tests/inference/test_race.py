"""The race between densities: who wins, what it learns from, and candidates that fail."""

from dataclasses import replace

import numpy as np
import pytest

import lanternfish as lf
from lanternfish import flows
from lanternfish.inference import race as room
from lanternfish.inference.objectives import Pairs
from lanternfish.inference.race import race
from lanternfish.inference.training import Training

LOSSES = {"spline": 1.5, "autoregressive": None, "maf": 0.5, "mixture": 0.75}  # None: not finite


@pytest.fixture
def raced(monkeypatch):
    """A race in which training is replaced by losses that are known, and what was learned from."""
    seen = []

    def train(model, pairs, settings, **_):
        seen.append((pairs, settings))
        if LOSSES[model] is None:
            raise FloatingPointError("no finite loss")
        return model, {"validation": [9.0, LOSSES[model]]}

    def run(kinds, n):
        pairs = Pairs(np.arange(n)[:, None], np.arange(n)[:, None], np.ones(n))
        candidates = [flows.Architecture(kind) for kind in kinds]
        chosen, losses = race(
            candidates, lambda a: a.kind, pairs, Training(), seed=0, tell=lambda epoch: None
        )
        return chosen.kind, losses, seen

    monkeypatch.setattr(room, "train", train)
    return run


def test_the_least_loss_wins_and_one_that_fails_is_out(raced):
    chosen, losses, _ = raced(("spline", "autoregressive", "maf", "mixture"), 1_000)
    assert chosen == "maf"
    assert losses == {"spline": 1.5, "maf": 0.5, "mixture": 0.75}


def test_where_all_fail_the_failure_is_said(raced):
    with pytest.raises(FloatingPointError, match="no finite loss"):
        raced(("autoregressive",), 1_000)


def test_heats_are_short_whatever_the_budget(raced):
    """Of a million pairs 50,000 from first to last, for eight epochs; of few, all of them."""
    (many, settings), (few, _) = (raced(("maf",), n)[2][-1] for n in (1_000_000, 3_000))
    assert len(many.z) == 50_000
    assert (many.z[0, 0], many.z[-1, 0]) == (0, 999_999)
    assert np.array_equal(many.z, many.c)
    assert settings.epochs == 8
    assert np.array_equal(few.z[:, 0], np.arange(3_000))


def test_mixtures_win_on_a_mixture(mixture):
    """Of a density with two parts of unlike width, which no chain of few layers has."""
    kinds = [flows.Architecture("maf", layers=2), flows.Architecture("mixture")]
    build = lambda a: flows.build(0, a, mixture.z, mixture.c)  # noqa: E731
    chosen, losses = race(kinds, build, mixture, Training(), seed=0, tell=lambda epoch: None)
    assert chosen.kind == "mixture"
    assert losses["mixture"] < losses["maf"] - 0.05


@pytest.fixture
def mixture():
    rng = np.random.default_rng(0)
    c = rng.uniform(-1, 1, size=(4_000, 1))
    sd = np.where(rng.random((4_000, 1)) < 0.5, 1.0, 0.05)
    return Pairs(c + sd * rng.normal(size=(4_000, 1)), c, np.ones(4_000))


def test_the_networks_of_many_parameters_are_wider():
    """So that units are left for each of them."""
    few, many = (next(a for a in room.candidates(n) if a.kind == "autoregressive") for n in (2, 31))
    assert few == room.autoregressive(12) != many
    assert few.width < many.width >= 2 * 31


def test_few_simulations_in_all_are_learned_from_by_more_layers(gaussian_model, gaussian_target):
    """It is the whole budget that counts: rounds go on with the density of the first."""
    layers = []
    for method in (lf.NPE(1_000), lf.NPE(5_000, rounds=2, first_round=0.2)):
        quick = replace(method, training=Training(epochs=2))
        run = lf.infer(gaussian_model, gaussian_target, quick, progress=False)
        layers.append(run.posterior.architecture.layers)
    assert layers == [5, 3]
