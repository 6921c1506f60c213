"""Sweep, rejection and SMC against posteriors in closed form and by quadrature."""

import numpy as np
import pytest

import lanternfish as lf
from lanternfish.inference.distance import kernel_weight, tolerance_for
from lanternfish.inference.moving import Moving
from lanternfish.inference.progress import Progress
from lanternfish.inference.unbounded import from_unbounded, log_prior, to_unbounded

NOISE = dict.fromkeys(("x1", "x2", "x3"), 0.5)
MATRIX = np.array([[1.0, 0.5], [-0.3, 1.2], [0.4, 0.4]])  # of the shared linear Gaussian model
OFFSET, OBSERVED = np.array([0.2, -0.1, 1.0]), np.array([1.0, 0.4, 1.2])
PRIOR_MEAN, PRIOR_SD = np.array([0.5, -1.0]), np.array([1.0, 2.0])
SIGMAS = 5.0  # standard errors that an estimate may be off


def conjugate(variance):
    """Posterior mean (2,) and covariance (2, 2) where each statistic has this variance."""
    precision = MATRIX.T @ MATRIX / variance + np.diag(PRIOR_SD**-2)
    covariance = np.linalg.inv(precision)
    pull = MATRIX.T @ (OBSERVED - OFFSET) / variance + PRIOR_MEAN / PRIOR_SD**2
    return covariance @ pull, covariance


def within_ball(tolerance, scale=0.5, points=60, draws=4_000):
    """Mean and covariance given a distance up to the tolerance, by quadrature over parameters.

    P(d <= eps | theta) is the share of shifted normal draws inside a ball, the same draws for all
    parameters.
    """
    axes = [np.linspace(m - 4 * s, m + 4 * s, points) for m, s in ((0.5, 0.8), (0.5, 0.8))]
    theta = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    shift = (theta @ MATRIX.T + OFFSET - OBSERVED) / scale
    noise = 0.5 / scale * np.random.default_rng(7).normal(size=(draws, 3))
    inside = [np.mean(np.mean((s + noise) ** 2, axis=1) <= tolerance**2) for s in shift]
    prior = np.exp(-0.5 * np.sum(((theta - PRIOR_MEAN) / PRIOR_SD) ** 2, axis=1))
    w = inside * prior / np.sum(inside * prior)
    mean = w @ theta
    return mean, (w[:, None] * (theta - mean)).T @ (theta - mean)


def check_moments(posterior, mean, covariance, slack=0.0):
    """Within the standard errors of the posterior's effective size, and some slack in sds."""
    n, sd = posterior.effective, np.sqrt(np.diag(covariance))
    off = np.abs(posterior.mean().array[0] - mean) / sd
    assert np.all(off < SIGMAS / np.sqrt(n) + slack), off
    ratio = posterior.covariance() / np.outer(sd, sd) - covariance / np.outer(sd, sd)
    assert np.all(np.abs(ratio) < SIGMAS * np.sqrt(2 / n) + 2 * slack), ratio


def test_a_gaussian_kernel_is_the_posterior_with_that_much_more_noise(
    gaussian_model, gaussian_target
):
    """Exactly: variance 0.5^2 of the model and (eps s)^2 of the kernel add."""
    method = lf.Rejection(simulations=60_000, kernel="gaussian", noise=NOISE, tolerance=0.8)
    run = lf.infer(gaussian_model, gaussian_target, method, seed=3, progress=False)
    check_moments(run.posterior, *conjugate(0.5**2 + (0.8 * 0.5) ** 2))


@pytest.mark.parametrize(
    "method",
    [
        lf.Rejection(simulations=60_000, noise=NOISE, tolerance=1.0),
        lf.Sweep(simulations=60_000, noise=NOISE, tolerance=1.0),
        lf.Sweep(levels=240, noise=NOISE, tolerance=1.0),
        lf.SMC(simulations=12_000, noise=NOISE, tolerance=1.0),
        lf.SMC(simulations=12_000, noise=NOISE, tolerance=1.0, moves="covariance"),
    ],
    ids=["rejection", "sobol", "grid", "smc", "smc covariance"],
)
def test_a_uniform_kernel_by_quadrature(gaussian_model, gaussian_target, method):
    """All methods give the law of parameters whose simulations lie within the tolerance."""
    run = lf.infer(gaussian_model, gaussian_target, method, seed=5, progress=False)
    assert run.posterior.details["tolerance"] == 1.0
    check_moments(run.posterior, *within_ball(1.0), slack=0.02)  # quadrature's own error


def test_named_levels_count_by_the_prior_that_they_stand_for(gaussian_model, gaussian_target):
    """Uneven levels, dense where the posterior is not, give the same mean."""
    dense = np.concatenate([np.linspace(-4, 0, 300), np.linspace(0.02, 4, 90)])
    method = lf.Sweep(levels={"a": dense, "b": 150}, noise=NOISE, tolerance=1.0)
    run = lf.infer(gaussian_model, gaussian_target, method, seed=5, progress=False)
    check_moments(run.posterior, *within_ball(1.0), slack=0.02)


def test_regression_is_exact_on_a_linear_gaussian_model(gaussian_model, gaussian_target, exact):
    """At any tolerance: here every simulation is accepted."""
    method = lf.Rejection(simulations=20_000, quantile=1.0, adjustment="linear")
    run = lf.infer(gaussian_model, gaussian_target, method, seed=3, progress=False)
    check_moments(run.posterior, *exact())


def test_smc_with_regression_comes_near_the_exact_posterior(gaussian_model, gaussian_target, exact):
    method = lf.SMC(simulations=20_000, adjustment="linear")
    run = lf.infer(gaussian_model, gaussian_target, method, seed=3, progress=False)
    check_moments(run.posterior, *exact(), slack=0.05)


def banana(theta, seeds):
    """Two modes at a = +-1, along a curve, no statistics where b is high."""
    noise = np.stack([np.random.default_rng(int(s)).normal(size=2) for s in seeds])
    x = np.stack([theta[:, 0] ** 2, theta[:, 1] + theta[:, 0]], axis=1) + 0.1 * noise
    return np.where(theta[:, 1:] > 1.5, np.nan, x)


@pytest.fixture(scope="module")
def curved():
    prior = lf.Prior(a=lf.Uniform(-2, 2), b=lf.Uniform(-2, 2))
    return lf.Model(prior, lf.BatchSimulator(banana, ("square", "sum")))


@pytest.mark.parametrize("moves", ["fitted", "nearest"])
def test_smc_agrees_with_rejection_on_two_modes(curved, moves):
    """Same tolerance and scales: shares of the modes and means within each."""
    noise, target = {"square": 0.2, "sum": 0.2}, lf.Observation(square=1.0, sum=0.3)
    plain = lf.Rejection(simulations=25_000, noise=noise, tolerance=1.0)
    other = lf.SMC(simulations=12_000, population=800, noise=noise, tolerance=1.0, moves=moves)
    one, two = (
        lf.infer(curved, target, m, seed=2, progress=False).posterior for m in (plain, other)
    )
    n = min(one.effective, two.effective)
    right = [p.weight[p.theta[:, 0] > 0].sum() for p in (one, two)]
    assert abs(right[0] - right[1]) < SIGMAS * np.sqrt(0.5 / n)
    for side in (-1, 1):
        means = []
        for p in (one, two):
            rows = side * p.theta[:, 0] > 0
            means.append(np.average(p.theta[rows], axis=0, weights=p.weight[rows]))
        assert np.all(np.abs(means[0] - means[1]) < SIGMAS * 0.2 * np.sqrt(4 / n))


def test_invalid_simulations_are_counted_and_never_accepted(curved):
    target = lf.Observation(square=4.0, sum=0.0)
    method = lf.Rejection(simulations=5_000, quantile=0.05)
    run = lf.infer(curved, target, method, seed=2, progress=False)
    (entry,) = run.history["rounds"]
    assert entry["valid"] == int((run.simulations.theta["b"] <= 1.5).sum())
    assert entry["accepted"] == np.ceil(0.05 * entry["valid"])
    assert run.posterior.table["b"].max() <= 1.5


def test_weights_are_prior_over_proposal():
    """Kernels are normalised, and their draws weigh to the prior: averages of it come back."""
    prior = lf.Prior(a=lf.Uniform(0, 3), b=lf.LogUniform(0.1, 10), c=lf.Gamma(2.0, 1.0))
    rng = np.random.default_rng(0)
    centres = to_unbounded(prior, prior.sample(300, seed=1).array)
    seeds = rng.integers(0, 2**63, 20_000, dtype=np.uint64)
    for moving in (
        Moving.fitted(prior, centres, rng.random(300)),
        Moving.twice_covariance(prior, centres, rng.random(300)),
        Moving.nearest(prior, centres, rng.random(300), 60),
    ):
        theta = moving(seeds)
        assert np.all(prior.contains(theta))
        assert np.array_equal(moving(seeds[50:60]), theta[50:60])
        z = to_unbounded(prior, theta)
        w = np.exp(log_prior(prior, z) - moving.log_density(z))
        assert w.max() < 10.001  # a tenth of the draws are the prior's
        error = w.std() / np.sqrt(len(w))
        assert w.mean() == pytest.approx(1, abs=SIGMAS * error)
        assert np.average(theta[:, 0], weights=w) == pytest.approx(1.5, abs=SIGMAS * 2 * error)
        assert np.average(theta[:, 2], weights=w) == pytest.approx(2.0, abs=SIGMAS * 3 * error)


def test_the_fitted_kernel_is_that_of_the_likeliest_size():
    """Of 400 normal draws in the plane: by the estimate's own likelihood for 20,000 fresh ones."""
    prior = lf.Prior(a=lf.Normal(0, 1), b=lf.Normal(0, 1))
    rng = np.random.default_rng(1)
    centres, fresh = rng.normal(size=(400, 2)), rng.normal(size=(20_000, 2))
    fitted = Moving.fitted(prior, centres, np.ones(400))
    likelihoods = []
    for scale in (2.0, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625):
        root = np.sqrt(scale) * np.linalg.cholesky(np.cov(centres.T, bias=True))
        moving = Moving(prior, centres, np.full(400, 1 / 400), root[None])
        likelihoods.append(moving.log_density(fresh).mean())
    assert fitted.log_density(fresh).mean() > max(likelihoods) - 0.02


def test_unbounded_space_and_back_is_where_it_was():
    prior = lf.Prior(a=lf.Uniform(0, 3), b=lf.LogUniform(0.1, 10))
    theta = prior.sample(1_500, seed=1).array
    assert np.allclose(from_unbounded(prior, to_unbounded(prior, theta)), theta, rtol=1e-5)
    expected = prior.log_prob(theta)
    z = to_unbounded(prior, theta)
    slope = 0.02
    for i in range(2):  # the change of volume by finite differences, each parameter by itself
        step = np.zeros(2)
        step[i] = slope
        ends = [from_unbounded(prior, z + sign * step)[:, i] for sign in (1, -1)]
        expected = expected + np.log((ends[0] - ends[1]) / (2 * slope))
    assert np.allclose(log_prior(prior, z), expected, atol=0.02)


def test_tolerances_by_effective_size():
    distance = np.array([0.1, 0.2, 0.3, 0.4, np.inf])
    assert tolerance_for(distance, np.ones(5), 2, "uniform", 1) == 0.2
    assert tolerance_for(distance, np.ones(5), 9, "uniform", 1) == 0.4
    assert tolerance_for(distance, np.array([1, 1e-3, 1, 1, 1]), 1.9, "uniform", 1) == 0.3
    eps = tolerance_for(distance, np.ones(5), 2.5, "gaussian", 1)
    w = kernel_weight(distance, eps, "gaussian", 1)
    assert w.sum() ** 2 / (w**2).sum() == pytest.approx(2.5)


@pytest.mark.parametrize("kernel", ["uniform", "gaussian"])
def test_an_emergent_property_gets_its_mean_and_deviation(kernel):
    """Where all values of the statistics are equally likely before."""
    prior = lf.Prior(a=lf.Uniform(-10, 10), b=lf.Uniform(-10, 10))
    model = lf.Model(
        prior, lf.BatchSimulator(lambda t, s: t @ [[1, 2, 0], [1, -1, 1]], tuple("xyz"))
    )
    target = lf.EmergentProperty(x=(1.0, 0.5), y=(-2.0, 0.8))
    method = lf.Rejection(simulations=400_000, kernel=kernel)
    posterior = lf.infer(model, target, method, seed=1, progress=False).posterior
    x = posterior.table.array @ [[1, 2], [1, -1]]
    mean = posterior.weight @ x
    sd = np.sqrt(posterior.weight @ (x - mean) ** 2)
    n = posterior.effective
    assert np.all(np.abs(mean - [1, -2]) < SIGMAS * np.array([0.5, 0.8]) / np.sqrt(n))
    assert np.allclose(sd, [0.5, 0.8], rtol=SIGMAS / np.sqrt(2 * n))
    smc = lf.infer(model, target, lf.SMC(simulations=8_000, population=300), seed=1, progress=False)
    assert smc.posterior.details["tolerance"] == pytest.approx(np.sqrt(2))
    assert smc.target == target


METHODS = {
    "rejection": lf.Rejection(simulations=600, quantile=0.2),
    "sweep": lf.Sweep(simulations=600, quantile=0.2),
    "grid": lf.Sweep(levels={"a": 30, "b": (-2.0, -1.0, 0.0, 1.0)}, quantile=0.5),
    "smc": lf.SMC(simulations=1_000, population=200),
}


@pytest.fixture(scope="module", params=METHODS)
def stored(request, curved, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    target = lf.Observation("made", square=1.0, sum=0.3)
    method = METHODS[request.param]
    return lf.infer(curved, target, method, seed=9, store=folder, progress=False), folder, method


def test_a_run_comes_back_from_its_folder(stored):
    run, folder, _ = stored
    again = lf.Run.load(folder)
    assert np.array_equal(again.posterior.theta, run.posterior.theta)
    assert np.array_equal(again.posterior.weight, run.posterior.weight)
    assert again.posterior.details == run.posterior.details
    assert again.target == run.target
    assert len(again.simulations) == len(run.simulations)
    assert np.array_equal(again.posterior.sample(9, seed=4), run.posterior.sample(9, seed=4))


class Stop(Exception):
    """Raised by a listener to interrupt."""


def test_interrupted_and_repeated_is_the_same_bit_for_bit(stored, curved, tmp_path):
    run, _, method = stored
    told: list[Progress] = []

    def interrupt(event):
        told.append(event)
        if event.share > 0 and event.stage.round >= min(3, event.stage.rounds):
            raise Stop

    with pytest.raises(Stop):
        lf.infer(curved, run.target, method, seed=9, store=tmp_path, progress=interrupt)
    again = lf.infer(curved, run.target, method, seed=9, store=tmp_path, progress=False)
    assert np.array_equal(again.posterior.theta, run.posterior.theta)
    assert np.array_equal(again.posterior.weight, run.posterior.weight)
    assert again.history == run.history


def test_neither_batches_nor_workers_change_a_result(stored, curved):
    from concurrent.futures import ThreadPoolExecutor

    run, _, method = stored
    small = lf.Model(curved.prior, lf.BatchSimulator(banana, ("square", "sum"), block=7))
    with ThreadPoolExecutor(3) as pool:
        again = lf.infer(small, run.target, method, seed=9, executor=pool, progress=False)
    assert np.array_equal(again.posterior.theta, run.posterior.theta)
    assert np.array_equal(again.posterior.weight, run.posterior.weight)


def test_a_set_of_samples_does_what_a_posterior_does(stored, curved):
    run = stored[0]
    posterior = run.posterior
    drawn = posterior.sample(20_000, seed=1)
    assert np.all(posterior.prior.contains(drawn))
    assert np.array_equal(posterior.sample(5, seed=1), drawn[:5])
    error = posterior.sd().array[0] / np.sqrt(20_000)
    assert np.all(np.abs(drawn.array.mean(axis=0) - posterior.mean().array[0]) < SIGMAS * error)
    even = posterior.systematic(len(posterior.theta), seed=1).array
    rows, times = np.unique(even, axis=0, return_counts=True)
    weight = [posterior.weight[(posterior.theta == row).all(axis=1)].sum() for row in rows]
    assert np.all(np.abs(times - len(posterior.theta) * np.array(weight)) < 1 + 1e-9)
    middle = np.quantile(drawn.array, 0.5, axis=0)
    assert np.allclose(posterior.quantiles([0.5]).array[0], middle, atol=0.1)
    tree = run.to_arviz(samples=50)
    assert set(tree["posterior"].data_vars) == {"a", "b"}
    check = lf.diagnostics.predictive_check(posterior, curved, run.simulations, n=50)
    assert check.finding["valid"]["share"] > 0.5


def test_a_set_of_samples_has_no_density_but_can_be_smoothed(stored):
    posterior = stored[0].posterior
    for asked in (posterior.log_prob, posterior.gradient):
        with pytest.raises(ValueError, match=r"got a set of samples, .*smoothed\(\)\.log_prob"):
            asked({"a": 0.0, "b": 0.0})
    smoothed = posterior.smoothed(500)
    near, far = smoothed.log_prob([[1.0, -0.7], [0.0, 1.9]])
    assert near > far
    with pytest.raises(ValueError, match="target that these samples were accepted for"):
        posterior.at(lf.Observation(square=2.0, sum=0.3))


def test_simulations_that_are_there_are_accepted_from(curved):
    target = lf.Observation(square=1.0, sum=0.3)
    method = lf.Rejection(simulations=600, quantile=0.2)
    first = lf.infer(curved, target, method, seed=9, progress=False)
    again = lf.infer(curved, target, method, simulations=first.simulations, seed=0, progress=False)
    assert np.array_equal(again.posterior.theta, first.posterior.theta)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lf.Rejection(quantile=0), r"quantile above 0, up to 1; got 0"),
        (lambda: lf.Rejection(tolerance=-1.0), r"tolerance above 0; got -1.0"),
        (lambda: lf.Rejection(kernel="box"), r"uniform or gaussian; got 'box'"),
        (lambda: lf.Rejection(adjustment="neural"), r'"linear" or None; got \'neural\''),
        (lambda: lf.Sweep(design="grid"), r"Expected levels for a grid"),
        (lambda: lf.Sweep(design="halton"), r"sobol, grid, random; got 'halton'"),
        (lambda: lf.SMC(simulations=100, population=500), r"got 500 of 100"),
        (lambda: lf.SMC(keep=1.0), r"keep between 0 and 1; got 1.0"),
        (lambda: lf.SMC(moves="far"), r"fitted or covariance or nearest; got 'far'"),
    ],
)
def test_settings_that_cannot_be_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_cannot_be_accepted_is_said(curved):
    target = lf.Observation(square=1.0, sum=0.3)
    ask = {"seed": 1, "progress": False}
    law = lf.Custom(["a", "b"], lambda key: np.zeros(2) + 0.5, low=0, high=1)
    opaque = lf.Model(lf.Prior(law), lf.BatchSimulator(banana, ("square", "sum")))
    silent = lf.Rejection(simulations=300, noise={"square": 0.0, "sum": 1.0})
    with pytest.raises(ValueError, match=r"within the tolerance of 1e-05; got none, the nearest"):
        lf.infer(curved, target, lf.Rejection(simulations=300, tolerance=1e-5), **ask)
    with pytest.raises(ValueError, match=r"noise above 0 of each statistic"):
        lf.infer(curved, target, silent, **ask)
    with pytest.warns(UserWarning, match=r"worth at least 50 of equal weight; got 3"):
        lf.infer(curved, target, lf.Rejection(simulations=300), **ask)
    with pytest.raises(ValueError, match=r"Expected a prior with a density .* Rejection\(\)"):
        lf.infer(opaque, target, lf.SMC(simulations=300), **ask)
