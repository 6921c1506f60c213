"""Rounds: the atomic loss, the judge between rounds, ends of cuts, collapse, far observations."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lanternfish as lf
from lanternfish.cli.report import _notes
from lanternfish.core import Folder
from lanternfish.inference.judge import gain, of_losses
from lanternfish.inference.npe import NPE, held_out
from lanternfish.inference.objectives import ATOMS, Atoms, Pairs, losses
from lanternfish.inference.rounds import Study

SMALL = lf.flows.Architecture("maf", layers=2, width=16, depth=1)
QUICK = lf.inference.Training(epochs=40)


class Normal:
    """q(z | c) = N(shift + c, 1) in one dimension."""

    def __init__(self, shift=0.0):
        self.shift = shift

    def log_prob(self, z, c):
        return jnp.sum(-0.5 * (z - c - self.shift) ** 2 - 0.5 * jnp.log(2 * jnp.pi))


@pytest.fixture
def pairs():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(40, 1)).astype(np.float32)
    c = z + rng.normal(size=(40, 1)).astype(np.float32)
    return Pairs(z, c, np.ones(40, np.float32))


def test_the_atomic_loss_by_hand(pairs):
    """Rows are told from the next ones, cyclically, padding left out; the prior's rows pay more."""
    log_prior = -0.5 * pairs.z[:, 0] ** 2
    from_prior = (np.arange(40) < 10).astype(np.float32)
    weight = (np.arange(40) < 30).astype(np.float32)
    given = pairs._replace(weight=weight, atoms=Atoms(log_prior, from_prior))
    found = np.asarray(losses(Normal(), jax.tree.map(jnp.asarray, given)))
    for i in range(30):
        who = [(i + k) % 30 for k in range(ATOMS)]
        logs = -0.5 * (pairs.z[who, 0] - pairs.c[i, 0]) ** 2 - 0.5 * np.log(2 * np.pi)
        ratio = np.exp(logs - log_prior[who])
        expected = -np.log(ratio[0] / ratio.sum()) - from_prior[i] * logs[0]
        assert found[i] == pytest.approx(expected, abs=1e-4)


def test_fewer_pairs_than_atoms_are_not_counted_twice(pairs):
    few = jax.tree.map(lambda a: jnp.asarray(a[:16]), pairs)
    weight = jnp.asarray(np.arange(16) < 3, jnp.float32)
    few = few._replace(weight=weight, atoms=Atoms(jnp.zeros(16), jnp.zeros(16)))
    logs = -0.5 * (np.asarray(few.z)[:3, 0] - float(few.c[0, 0])) ** 2
    expected = -np.log(np.exp(logs[0]) / np.exp(logs).sum())
    assert float(losses(Normal(), few)[0]) == pytest.approx(expected, abs=1e-5)


def test_rounds_from_the_posterior_find_the_closed_form(gaussian_model, gaussian_target, exact):
    training = lf.inference.Training(epochs=30)
    method = NPE(3_000, rounds=3, proposal="posterior", density="maf", training=training)
    run = lf.infer(gaussian_model, gaussian_target, method, seed=0, progress=False)
    mean, covariance = exact()
    sd = np.sqrt(np.diag(covariance))
    samples = run.posterior.sample(20_000).array
    np.testing.assert_allclose(samples.mean(0), mean, atol=0.25 * sd.min())
    np.testing.assert_allclose(samples.std(0), sd, rtol=0.2)
    later = run.simulations.theta.array[1_000:]
    assert np.all(later.std(0) < 3 * sd)  # drawn from the posterior, not from the prior


def judged(older, newer, pairs):
    found = gain(older, newer, pairs, np.arange(len(pairs.z)))
    assert found is not None
    return found


def test_the_judge_measures_what_is_known(pairs):
    """A mean shifted by 1 costs 1/2 - (z - c) nats of a pair."""
    found = judged(Normal(1.0), Normal(), pairs)
    away = (pairs.z - pairs.c)[:, 0]
    assert found.mean == pytest.approx(np.mean(0.5 - away), abs=1e-5)
    assert found.error == pytest.approx(np.std(away) / np.sqrt(40), rel=1e-3)
    assert judged(Normal(), Normal(3.0), pairs).worse
    assert judged(Normal(), Normal(), pairs).small
    assert gain(Normal(), Normal(), pairs, np.arange(5)) is None


def test_losses_without_an_end_are_judged_too():
    found = of_losses(np.full(20, 1.0), np.r_[np.inf, np.ones(19)], np.ones(20))
    assert found.mean == pytest.approx(-49 / 20)


def test_the_same_simulations_are_held_out_in_every_round():
    first, later = held_out(np.arange(1_000), 0.1, 5), held_out(np.arange(300, 2_000), 0.1, 5)
    assert np.array_equal(first[300:], later[:700])
    assert 0.05 < first.mean() < 0.15
    assert held_out(np.arange(2), 0.01, 0).sum() == 1


@pytest.mark.parametrize("ahead", [True, False])
def test_a_round_goes_on_from_the_one_before_where_that_is_ahead(gaussian_run, pairs, ahead):
    """With fewer and smaller steps; else it starts anew."""
    before, fresh = gaussian_run.posterior, [Normal()]
    near, far = (Normal(0.0), Normal(9.0)) if ahead else (Normal(9.0), Normal(0.0))
    members, settings = NPE()._starts(replace(before, flow=near), [far], pairs, np.arange(40))
    assert (members == [near]) == ahead
    if ahead:
        usual = NPE().training.for_pairs(len(pairs.z))
        assert settings.epochs <= usual.epochs / 2 + 1
        assert settings.rate < usual.rate
    else:
        assert settings is None
    assert NPE()._starts(None, fresh, pairs, np.arange(40)) == (fresh, None)


def test_a_wide_gaussian_posterior_is_not_cut(gaussian_model, gaussian_target, monkeypatch):
    """What is left goes into one round from the whole prior, and any observation can be asked."""
    from lanternfish.inference.method import Rounds

    train = Rounds.train

    def nothing_learned(self, *given, **options):
        flow = train(self, *given, **options)
        self.history[-1]["best_epoch"] = 0
        return flow

    monkeypatch.setattr(Rounds, "train", nothing_learned)
    method = NPE(3_000, rounds=6, density=SMALL, training=QUICK)
    run = lf.infer(gaussian_model, gaussian_target, method, seed=0, progress=False)
    rounds = run.history["rounds"]
    assert [r["simulations"] for r in rounds] == [500, 2_500]
    assert rounds[0]["wide"] > 0.05
    assert run.posterior.amortised
    from_prior = lf.simulate(gaussian_model, 3_000, seed=0, progress=False).theta.array
    assert np.array_equal(run.simulations.theta.array, from_prior)
    assert any("not worth cutting" in note for note in _notes(run))


def test_when_rounds_bring_nothing_more_the_rest_is_one_round(gaussian_model, gaussian_target):
    """The Gaussian needs no fourth cut: the whole budget is spent all the same."""
    method = NPE(6_000, rounds=12, density=SMALL, training=QUICK)
    run = lf.infer(gaussian_model, gaussian_target, method, seed=0, progress=False)
    rounds = run.history["rounds"]
    assert len(run.simulations) == sum(r["simulations"] for r in rounds) == 6_000
    assert 2 < len(rounds) < 12
    assert rounds[-2]["settled"]
    assert any("further ones brought nothing" in note for note in _notes(run))


def test_a_worse_round_is_not_followed(gaussian_model, gaussian_target, monkeypatch):
    from lanternfish.inference import npe

    monkeypatch.setattr(npe, "gain", lambda *given: of_losses(np.zeros(9), np.ones(9), np.ones(9)))
    kept = []
    choose = NPE._better

    def better(self, rounds, before, found):
        kept.append(choose(self, rounds, before, found))
        return kept[-1]

    monkeypatch.setattr(NPE, "_better", better)
    method = NPE(1_500, rounds=2, density=SMALL, training=QUICK)
    run = lf.infer(gaussian_model, gaussian_target, method, seed=0, progress=False)
    assert run.posterior is kept[0] is kept[1]
    assert run.history["rounds"][1]["reverted"]
    assert any("made the posterior worse" in note for note in _notes(run))


def test_a_region_with_too_few_simulations_keeps_the_posterior(
    gaussian_model, gaussian_target, monkeypatch
):
    from lanternfish.inference import npe

    monkeypatch.setattr(npe, "too_few", lambda simulations: True)
    method = NPE(1_000, rounds=2, density=SMALL, training=QUICK)
    run = lf.infer(gaussian_model, gaussian_target, method, seed=0, progress=False)
    assert run.history["rounds"][1]["collapsed"]
    assert run.history["rounds"][1]["train"] == []
    assert any("too few valid simulations" in note for note in _notes(run))


def test_an_observation_far_from_all_simulations_is_said(gaussian_model):
    far = lf.Observation(x1=0.0, x2=500.0, x3=0.0)
    method = NPE(300, density=SMALL, training=QUICK)
    with pytest.warns(UserWarning, match=r"^Expected an observation .*got x2 of 500 \(simulated"):
        run = lf.infer(gaussian_model, far, method, seed=0, progress=False)
    assert "x2" in run.history["rounds"][0]["far"]
    assert "x1" not in run.history["rounds"][0]["far"]


def test_an_unknown_proposal():
    with pytest.raises(
        ValueError, match=r"^Expected proposal of truncated or posterior; got 'all'"
    ):
        NPE(proposal="all")


def test_a_budget_in_minutes(gaussian_model, gaussian_target, tmp_path, monkeypatch):
    """(60 minutes - 40 s) / (10 ms + 6 ms x 3 / 2), decided once for a folder."""
    from lanternfish.inference import budget

    monkeypatch.setattr(budget, "_timed", lambda study, n: 0.01 * n)
    study = Study(gaussian_model, gaussian_target, 0, Folder(str(tmp_path)))
    assert sum(NPE(minutes=2, rounds=2).planned(study)) == int(80 / 0.019)
    monkeypatch.setattr(budget, "_timed", lambda study, n: 1.0 * n)
    assert sum(NPE(minutes=2, rounds=2).planned(study)) == int(80 / 0.019)
    elsewhere = Study(gaussian_model, gaussian_target, 0)
    with pytest.raises(ValueError, match=r"^Expected minutes for at least 10 .*about 4.* got 2:"):
        NPE(minutes=2, rounds=20).planned(elsewhere)


def test_a_pilot_times_the_simulator(tmp_path):
    import time

    def slow(theta, rng):
        time.sleep(0.005)
        return [theta["a"] + rng.normal()]

    model = lf.Model(lf.Prior(a=lf.Normal(0, 1)), lf.PythonSimulator(slow, outputs=("x",)))
    with ThreadPoolExecutor(1) as one:
        study = Study(model, lf.Observation(x=0.0), 0, executor=one)
        found = sum(NPE(minutes=1).planned(study))
    assert 20 / (0.05 + 0.006) < found < 20 / (0.005 + 0.006)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"minutes": 5, "simulations": 100}, "simulations or minutes; got both"),
        ({"minutes": 0}, "minutes above 0; got 0"),
    ],
)
def test_bad_minutes(fields, words):
    with pytest.raises(ValueError, match=rf"^Expected {words}"):
        NPE(**fields)


def test_the_default_budget():
    assert NPE().simulations == 10_000


@pytest.mark.parametrize(
    ("method", "pairs", "last", "members"),
    [
        (NPE(rounds=10), 4_999, True, 3),
        (NPE(rounds=10), 6_000, True, 2),
        (NPE(rounds=10), 6_000, False, 1),
        (NPE(rounds=10), 20_000, True, 1),
        (NPE(rounds=10, density="maf"), 6_000, True, 1),
    ],
)
def test_the_last_round_alone_trains_an_ensemble(method, pairs, last, members):
    assert method._size(pairs, last) == members
