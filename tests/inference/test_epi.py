"""Emergent property inference, from end to end, against optima by quadrature; bad input."""

import importlib.metadata
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exponential_family import grid, largest_entropy
from scipy.integrate import trapezoid
from scipy.special import entr
from scipy.stats import norm

import lanternfish as lf
from lanternfish.core import Folder
from lanternfish.inference.agreement import disagreement, nats
from lanternfish.inference.epi import Loop
from lanternfish.inference.epi import posterior as epi_posterior

QUICK = Loop(batch=128, rate=4e-3, tighten=2_000, polish=600, fit=300)
SMALL = lf.flows.Push(layers=3, width=24, bins=8)
METHOD = lf.EPI(loop=QUICK, push=SMALL, samples=16_000, population=1_024)


def bent(theta, key):
    """x = a, and y = b^2, which has two branches."""
    return {"x": theta["a"], "y": theta["b"] ** 2}


PRIOR = lf.Prior(a=lf.Uniform(0, 4, unit="nS"), b=lf.Uniform(-2, 2))
MODEL = lf.Model(PRIOR, lf.JaxSimulator(bent, ("x", "y")), name="bent")
PROPERTY = lf.EmergentProperty("bent", x=(1.0, 0.8), y=(1.5, 0.4))


def exact_entropy():
    """a and b are independent in the optimum: two problems on intervals."""
    a, cell_a = grid(0, 4)
    b, cell_b = grid(-2, 2)
    return largest_entropy((a[:, None] - 1.0) / 0.8, cell_a) + largest_entropy(
        (b[:, None] ** 2 - 1.5) / 0.4, cell_b
    )


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("epi")
    return lf.infer(MODEL, PROPERTY, METHOD, seed=0, store=folder, progress=False), folder


def test_the_property_is_met_and_proven(kept):
    run = kept[0]
    assert run.checks["convergence"]["passed"], run.checks["convergence"]["sentence"]
    assert run.posterior.converged
    samples = run.posterior.sample(20_000, seed=5)
    for values, (mean, sd) in ((samples["a"], (1.0, 0.8)), (samples["b"] ** 2, (1.5, 0.4))):
        assert values.mean() == pytest.approx(mean, abs=0.05 * sd)
        assert values.std() == pytest.approx(sd, rel=0.05)


def test_where_samples_do_not_decide_four_times_as_many_do():
    """The mean of 800 has an error of .035, which with 95 % confidence is more than .05."""
    run = lf.infer(MODEL, PROPERTY, replace(METHOD, samples=800), seed=0, progress=False)
    found = run.checks["convergence"]
    assert found["samples"] == 4 * 800
    assert found["passed"], found["sentence"]
    assert "3,200 fresh samples" in found["sentence"]
    assert all(s["mean_within"] > 1.6 / np.sqrt(3_200) for s in found["statistics"].values())


def test_entropy_is_near_the_largest_and_certified(kept):
    found, exact = kept[0].checks["entropy"], exact_entropy()
    assert found["low"] < exact < found["high"]
    assert found["high"] - found["low"] < 0.1
    assert exact - 0.1 < found["entropy"] < exact + 0.03
    assert found["divergence"] < 0.1


def test_both_modes_are_there(kept):
    assert np.mean(kept[0].posterior.sample(20_000)["b"] > 0) == pytest.approx(0.5, abs=0.08)


def test_it_is_a_posterior(kept):
    posterior = kept[0].posterior
    samples = posterior.sample(4_000, seed=3)
    assert PRIOR.contains(samples).all()
    entropy = -posterior.log_prob(samples).mean()
    assert entropy == pytest.approx(kept[0].checks["entropy"]["entropy"], abs=0.1)
    point, step = samples.array[:3], 1e-3
    for i in range(2):
        shift = step * np.eye(2)[i]
        rise = (posterior.log_prob(point + shift) - posterior.log_prob(point - shift)) / (2 * step)
        np.testing.assert_allclose(posterior.gradient(point)[:, i], rise, rtol=0.05, atol=0.05)
    assert len(posterior.map(starts=200)) == 1
    assert np.array_equal(posterior.sample(10, seed=3).array, samples.array[:10])
    assert posterior.log_prob([[5.0, 0.0]])[0] == -np.inf


def test_density_integrates_to_one(kept):
    a, b = np.linspace(0.005, 3.995, 400), np.linspace(-1.9975, 1.9975, 800)
    points = np.stack(np.meshgrid(a, b), -1).reshape(-1, 2)
    mass = np.exp(kept[0].posterior.log_prob(points)).sum() * 0.01 * 0.005
    assert mass == pytest.approx(1, abs=0.02)


def test_a_posterior_is_read_back(kept):
    run, folder = kept
    again = epi_posterior.read(Folder(str(folder)))
    assert again.target == PROPERTY
    assert again.target.name == "bent"
    assert again.converged
    assert np.array_equal(again.sample(50).array, run.posterior.sample(50).array)


@pytest.mark.skipif(
    "epi" not in importlib.metadata.entry_points(group="lanternfish.posteriors").names,
    reason="installed before EPI was there: install the package again",
)
def test_a_run_is_read_back(kept):
    run, folder = kept
    again = lf.Run.load(folder)
    assert again.checks["convergence"]["sentence"] == run.checks["convergence"]["sentence"]
    assert again.target == PROPERTY


class Interrupted(Exception):
    """Stands for a user who gives up."""


def test_interrupted_then_resumed_equals_uninterrupted(kept, tmp_path, monkeypatch):
    monkeypatch.setattr("lanternfish.inference.epi.training.SECONDS", 0.0)  # keep every epoch

    def give_up(event):
        if event.text.startswith("step 500"):
            raise Interrupted

    with pytest.raises(Interrupted):
        lf.infer(MODEL, PROPERTY, METHOD, seed=0, store=tmp_path, progress=give_up)
    resumed = lf.infer(MODEL, PROPERTY, METHOD, seed=0, store=tmp_path, progress=False)
    assert np.array_equal(resumed.posterior.sample(50).array, kept[0].posterior.sample(50).array)
    assert resumed.checks == kept[0].checks


def test_a_property_that_the_prior_has(kept):
    """Mean and sd of the uniform law itself: nothing is to be done, and H* = log of the box."""
    y = np.linspace(-2, 2, 100_001) ** 2
    target = lf.EmergentProperty(x=(2.0, 4 / np.sqrt(12)), y=(y.mean(), y.std()))
    run = lf.infer(MODEL, target, METHOD, seed=1, progress=False)
    assert run.posterior.converged, run.checks["convergence"]["sentence"]
    assert run.checks["entropy"]["entropy"] == pytest.approx(np.log(16), abs=0.02)


def test_an_infeasible_property_ends_with_a_sentence():
    """x = 9 lies outside of the box: said which constraint failed, and by how much."""
    target = lf.EmergentProperty(x=(9.0, 0.5), y=(1.5, 0.4))
    run = lf.infer(MODEL, target, METHOD, seed=0, progress=False)
    assert not run.posterior.converged
    assert run.checks["convergence"]["sentence"].startswith("Not converged: the mean of x is")
    assert "perhaps no parameters reach the property" in run.history["notes"][0]
    assert PRIOR.contains(run.posterior.sample(100)).all()


def by_rows(theta, seeds):
    """The same statistics in NumPy: no gradient."""
    return np.stack([theta[:, 0], theta[:, 1] ** 2], axis=1)


@pytest.mark.slow
def test_a_simulator_without_gradients():
    model = lf.Model(PRIOR, lf.BatchSimulator(by_rows, ("x", "y")), name="rows")
    run = lf.infer(model, PROPERTY, METHOD, seed=0, progress=False)
    assert run.history["gradient"] == "score"
    assert run.posterior.converged, run.checks["convergence"]["sentence"]
    assert run.checks["entropy"]["divergence"] < 0.1
    assert np.mean(run.posterior.sample(20_000)["b"] > 0) == pytest.approx(0.5, abs=0.1)


def counted(theta, key):
    """A count, whose gradient is 0 everywhere, and NaN in part of the box."""
    count = jnp.floor(10 * theta["a"]) / 10
    return jnp.stack([count, jnp.where(theta["b"] < -1.0, jnp.nan, theta["b"] ** 2)])


@pytest.mark.slow
def test_counts_and_parts_of_the_box_that_are_not_valid():
    model = lf.Model(PRIOR, lf.JaxSimulator(counted, ("x", "y")), name="counted")
    run = lf.infer(model, PROPERTY, METHOD, seed=0, progress=False)
    assert run.history["gradient"] == "score"
    assert "x has no gradient" in run.history["notes"][0]
    assert run.posterior.converged, run.checks["convergence"]["sentence"]
    with pytest.raises(ValueError, match=r"^Expected statistics with a gradient.*got none for x"):
        lf.infer(model, PROPERTY, lf.EPI(gradient="path"), progress=False)


@pytest.mark.slow
def test_unbounded_parameters_and_noisy_trials():
    """Mean 1 and sd 0.5 of a + noise over trials: a is normal with what the noise leaves of it."""

    def noisy(theta, key):
        return {"x": theta["a"] + 0.3 * jax.random.normal(key)}

    model = lf.Model(lf.Prior(a=lf.Normal(0, 3)), lf.JaxSimulator(noisy, ["x"]))
    target = lf.EmergentProperty(x=(1.0, 0.5), total_variance=True)
    run = lf.infer(model, target, lf.EPI(trials=2), progress=False)
    assert run.history["noisy"]
    assert run.posterior.converged, run.checks["convergence"]["sentence"]
    sd = np.sqrt(0.5**2 - 0.3**2)
    a = run.posterior.sample(20_000)["a"]
    assert a.mean() == pytest.approx(1, abs=0.05)
    assert a.std() == pytest.approx(sd, rel=0.05)
    exact = 0.5 * np.log(2 * np.pi * np.e * sd**2)
    found = run.checks["entropy"]
    assert found["entropy"] == pytest.approx(exact, abs=0.05)
    assert found["low"] < exact < found["high"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_the_linear_system_at_another_target(seed):
    """Defaults, against Newton's method on 2^21 Sobol points."""
    from scipy.stats import qmc

    from lanternfish.models.linear_2d import eigenvalue, linear_2d

    target = lf.EmergentProperty(growth_rate=(-1.0, 0.6), angular_frequency=(5.0, 0.8))
    run = lf.infer(linear_2d(), target, lf.EPI(), seed=seed, progress=False)
    points = 20 * qmc.Sobol(4, seed=0).random_base2(21) - 10
    f = np.stack(eigenvalue(*(jnp.asarray(p) for p in points.T)), 1).astype(float)
    exact = largest_entropy((f - target.means) / target.sds, 20.0**4 / len(points))
    found = run.checks["entropy"]
    assert run.posterior.converged, run.checks["convergence"]["sentence"]
    assert found["low"] - 0.02 < exact < found["high"] + 0.02  # the error of the points
    assert found["entropy"] > exact - 0.1
    assert np.mean(run.posterior.sample(20_000)["a12"] > 0) == pytest.approx(0.5, abs=0.1)


def test_a_parameter_that_the_property_does_not_hold():
    """b has no bounds and no effect: there is no largest entropy."""
    prior = lf.Prior(a=lf.Uniform(0, 4), b=lf.Normal(0, 1))
    model = lf.Model(prior, lf.JaxSimulator(lambda theta, key: theta["a"][None], ["x"]))
    target = lf.EmergentProperty(x=(1.0, 0.5))
    with pytest.raises(ValueError, match=r"^Expected a property that holds every .* got b spread"):
        lf.infer(model, target, METHOD, progress=False)


def infer(function, target=PROPERTY, method=METHOD, prior=PRIOR):
    return lf.infer(
        lf.Model(prior, lf.JaxSimulator(function, ("x", "y"))), target, method, progress=False
    )


WRONG = {
    "constant": (lambda t, key: jnp.stack([t["a"], 1.0]), r"got y constant"),
    "nothing valid": (lambda t, key: jnp.full(2, jnp.nan), r"^Expected at least 50 valid.*got 0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_the_pilot_finds(name):
    function, words = WRONG[name]
    with pytest.raises(ValueError, match=words):
        infer(function)


@pytest.mark.parametrize(
    ("target", "method", "words"),
    [
        (lf.Observation(x=1, y=2), METHOD, r"^Expected an EmergentProperty as target of EPI; got"),
        (PROPERTY, lf.NPE(100), r"^Expected an Observation as target of NPE; got"),
    ],
)
def test_targets_of_another_method(target, method, words):
    with pytest.raises(TypeError, match=words):
        lf.infer(MODEL, target, method, progress=False)


def test_an_unknown_statistic():
    with pytest.raises(ValueError, match=r"^Expected statistics of the model \(x, y\); got z"):
        lf.infer(MODEL, lf.EmergentProperty(z=(0, 1)), METHOD, progress=False)


def test_members_of_a_run_are_told_of(kept):
    """One member has none to compare with; of several, what was found decides."""
    run = kept[0]
    member = run.history["members"][0]
    assert member["proven"]
    assert member["entropy"] == pytest.approx(run.posterior.entropy)
    assert run.history["disagreement"] is None
    assert "EPI(members=3)" in run.check(simulations=0).left_out["ensemble"]
    assert disagreement([run.posterior, run.posterior], n=200) == pytest.approx(0, abs=1e-9)
    for apart, proven in ((0.01, True), (0.6, True), (0.01, False)):
        members = [member, {**member, "member": 1, "proven": proven}]
        more = replace(run, history={**run.history, "members": members, "disagreement": apart})
        found = more.check(simulations=0)
        if not proven:
            assert (
                "1 of 2 members has the property, and it takes two" in (found.left_out["ensemble"])
            )
            continue
        assert found["ensemble"].passed == (apart < 0.25)
        told = f"The 2 members that have the property disagree by {apart:.3f} nats"
        assert told in found["ensemble"].verdict


@pytest.mark.slow
def test_members_that_were_trained_apart_are_compared():
    """The optimum is unique, and both find it."""
    run = lf.infer(MODEL, PROPERTY, replace(METHOD, members=2), seed=0, progress=False)
    assert [m["member"] for m in run.history["members"]] == [0, 1]
    assert all(m["proven"] for m in run.history["members"])
    assert abs(np.subtract(*(m["entropy"] for m in run.history["members"]))) < 0.1
    assert 0 <= run.history["disagreement"] < 0.1
    assert run.check(simulations=0)["ensemble"].passed


def test_disagreement_of_normals_against_quadrature():
    """I(draw; member) of N(0, 1) and N(m, 1), by quadrature: 0 at m = 0, log 2 far away."""
    x = np.linspace(-12, 24, 40_001)
    for m in (0.0, 1.0, 12.0):
        p, q = norm.pdf(x), norm.pdf(x, m)
        mixed = 0.5 * (p + q)
        exact = trapezoid(entr(mixed) - 0.5 * (entr(p) + entr(q)), x)
        draws = np.random.default_rng(0).normal(size=40_000) + m * (np.arange(40_000) % 2)
        logs = np.stack([norm.logpdf(draws), norm.logpdf(draws, m)], axis=1)
        assert nats(logs) == pytest.approx(exact, abs=0.01)
    assert exact == pytest.approx(np.log(2), abs=1e-6)


@pytest.mark.parametrize(
    "fields", [{"members": 0}, {"trials": 0}, {"base": "flat"}, {"gradient": "numeric"}]
)
def test_bad_method(fields):
    with pytest.raises(ValueError, match=rf"^Expected {next(iter(fields))} .*got"):
        lf.EPI(**fields)


def test_another_property_needs_another_run(kept):
    with pytest.raises(ValueError, match=r"^Expected the property that this distribution"):
        kept[0].posterior.at(lf.EmergentProperty(x=(1.1, 0.8), y=(1.5, 0.4)))
