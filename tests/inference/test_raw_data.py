"""Posteriors given raw data, against closed forms: traces, images, trials, missing statistics."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lanternfish as lf
from lanternfish.inference.rounds import training_pairs, worth_masking

QUICK = lf.inference.Training(batch=100, rate=3e-3, epochs=25)
SMALL = lf.flows.Architecture("maf", layers=2, width=16, depth=1)


def fit(model, target, n, seed=0, **options):
    method = lf.NPE(n, density=SMALL, training=QUICK, **options)
    return lf.infer(model, target, method, seed=seed, progress=False)


def moments(posterior, model, row):
    samples = posterior.at(lf.Observation.from_array(row, model.statistics)).sample(2_000).array
    return samples.mean(0), samples.std(0)


TIME = np.linspace(0, 1, 4096)
TEMPLATES = np.stack([np.sin(2 * np.pi * TIME), np.cos(2 * np.pi * TIME)])
NOISE = 20.0


def two_templates(theta, key):
    signal = theta["a"] * TEMPLATES[0] + theta["b"] * TEMPLATES[1]
    return signal + NOISE * jax.random.normal(key, TIME.shape)


@pytest.fixture(scope="module")
def trace_run(tmp_path_factory):
    prior = lf.Prior(a=lf.Normal(0, 1), b=lf.Normal(0, 1))
    simulator = lf.JaxSimulator(two_templates, [lf.Trace("voltage", 4096, unit="mV")])
    model = lf.Model(prior, simulator)
    target = lf.Observation(voltage=TEMPLATES[0] + 0.0)
    run = fit(model, target, 1_500)
    folder = tmp_path_factory.mktemp("trace")
    run.save(folder)
    return model, run, folder


def test_linear_gaussian_posterior_of_a_trace(trace_run):
    """4,096 noisy points, two templates: the posterior is normal with a known precision."""
    model, run, _ = trace_run
    precision = TEMPLATES @ TEMPLATES.T / NOISE**2 + np.eye(2)
    sd = np.sqrt(np.diag(np.linalg.inv(precision)))
    tests = lf.simulate(model, 30, seed=7, progress=False)
    found = [moments(run.posterior, model, row) for row in tests.x.array]
    true = np.linalg.solve(precision, TEMPLATES @ tests.x["voltage"].T / NOISE**2).T
    away = np.array([mean for mean, _ in found]) - true
    assert np.sqrt(np.mean(away**2)) < 0.5 * sd.mean()  # knowing nothing would be about 2
    assert np.mean([s for _, s in found], axis=0) == pytest.approx(sd, rel=0.25)


def test_a_run_on_a_trace_is_kept_and_read(trace_run):
    model, run, folder = trace_run
    again = lf.Run.load(folder)
    assert again.posterior.observation == run.posterior.observation
    assert np.array_equal(again.posterior.sample(20).array, run.posterior.sample(20).array)
    assert again.posterior.statistics == model.statistics
    assert (folder / "posterior.json").stat().st_size < 4_000  # the trace itself stands elsewhere
    stored = json.loads((folder / "posterior.json").read_text())
    assert stored["observation"]["voltage"]["shape"] == [4096]


def test_a_run_on_a_trace_is_exported(trace_run):
    tree = trace_run[1].to_arviz(samples=50)
    assert tree["observed_data"]["voltage"].shape == (4096,)
    assert tree["observed_data"]["voltage"].attrs["units"] == "mV"


def test_a_run_on_a_trace_is_checked(trace_run):
    model, run, _ = trace_run
    check = lf.diagnostics.predictive_check(
        run.posterior, model, run.simulations[:400], n=100, progress=False
    )
    assert [row["name"] for row in check.finding["statistics"]] == ["voltage_mean", "voltage_sd"]
    assert check.x.columns == model.statistics


AXIS = np.linspace(-1, 1, 41)
ACROSS, DOWN = np.meshgrid(AXIS, AXIS)


def blob(theta, key):
    away = (ACROSS - theta["x"]) ** 2 + (DOWN - theta["y"]) ** 2
    return jnp.exp(-away / 0.08) + 0.05 * jax.random.normal(key, (41, 41))


@pytest.mark.slow
def test_where_a_blob_is_in_an_image():
    prior = lf.Prior(x=lf.Uniform(-1, 1), y=lf.Uniform(-1, 1))
    model = lf.Model(prior, lf.JaxSimulator(blob, [lf.Image("field", (41, 41))]))
    tests = lf.simulate(model, 20, seed=8, progress=False)
    target = lf.Observation(field=tests.x["field"][0])
    run = fit(model, target, 700)
    found = [moments(run.posterior, model, row) for row in tests.x.array]
    away = np.array([mean for mean, _ in found]) - tests.theta.array
    assert np.sqrt(np.mean(away**2)) < 0.1  # the prior's is 0.58
    assert np.mean([sd for _, sd in found]) < 0.15


def repeated(theta, key):
    """Between 1 and 20 normal numbers of an unknown mean."""
    noise, number = jax.random.split(key)
    x = theta["mean"] + jax.random.normal(noise, (20, 1))
    return jnp.where(jnp.arange(20)[:, None] < jax.random.randint(number, (), 1, 21), x, jnp.nan)


@pytest.mark.slow
def test_the_posterior_narrows_with_the_number_of_trials():
    """Normal mean, variance 1, standard normal prior: variance 1 / (n + 1)."""
    prior = lf.Prior(mean=lf.Normal(0, 1))
    model = lf.Model(prior, lf.JaxSimulator(repeated, [lf.Trials("x", 20)]))
    method = lf.NPE(4_000, density=SMALL, members=2)
    run = lf.infer(model, lf.Observation(x=[[0.5]]), method, seed=0, progress=False)
    assert run.simulations.valid.all()
    rng = np.random.default_rng(3)
    for n in (1, 4, 20):
        errors, ratios = [], []
        for mean in rng.normal(size=8):
            values, sd = rng.normal(mean, 1, (n, 1)), 1 / np.sqrt(n + 1)
            samples = run.posterior.at(lf.Observation(x=values)).sample(2_000).array[:, 0]
            errors.append((samples.mean() - values.sum() / (n + 1)) / sd)
            ratios.append(samples.std() / sd)
        assert np.median(np.abs(errors)) < 0.2  # rare observations are further off
        assert np.mean(ratios) == pytest.approx(1, abs=0.2)


def leaky(theta, key):
    """Two noisy readings of a mean; the second is missing in half of the simulations."""
    noise, lost = jax.random.split(key)
    x = theta["mean"] + 0.5 * jax.random.normal(noise, (2,))
    return x.at[1].set(jnp.where(jax.random.bernoulli(lost), jnp.nan, x[1]))


@pytest.fixture(scope="module")
def leaky_model():
    return lf.Model(lf.Prior(mean=lf.Normal(0, 1)), lf.JaxSimulator(leaky, ["x", "y"]))


def test_missing_statistics_cost_no_row_and_no_truth(leaky_model, tmp_path):
    run = fit(leaky_model, lf.Observation(x=1.0, y=0.4), 3_000)
    assert run.posterior.flow.condition.layout[1].masked  # decided so: half of them lack it
    samples = run.posterior.sample(4_000).array[:, 0]
    precision = 1 + 2 / 0.25
    assert samples.mean() == pytest.approx(1.4 / 0.25 / precision, abs=0.3 / np.sqrt(precision))
    assert samples.std() == pytest.approx(1 / np.sqrt(precision), rel=0.15)
    run.save(tmp_path)
    again = lf.Run.load(tmp_path).posterior
    assert np.array_equal(again.sample(20).array, run.posterior.sample(20).array)


def test_rows_that_lack_statistics_are_used_where_asked(leaky_model):
    found = lf.simulate(leaky_model, 400, seed=3, progress=False)
    valid = int(found.valid.sum())
    assert 150 < valid < 250
    assert [len(training_pairs(leaky_model, found, m).z) for m in (False, True, None)] == [
        valid, 400, 400
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("valid", "partial", "expected"),
    [(100, 0, False), (960, 40, False), (950, 50, True), (100, 900, True), (50, 950, False)],
)
def test_when_masking_is_worth_it(valid, partial, expected):
    assert worth_masking(valid, partial) == expected


def test_nle_takes_numbers_alone(trace_run):
    model, run, _ = trace_run
    with pytest.raises(ValueError, match=r"^Expected statistics that are numbers.*got voltage, a"):
        lf.infer(model, run.target or run.posterior.observation, lf.NLE(1_000), progress=False)
