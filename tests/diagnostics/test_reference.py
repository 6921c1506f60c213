"""Reference samplers against each other's mathematics: stored samples, closed forms, quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lanternfish as lf
from lanternfish.diagnostics.reference import nuts, polya_gamma
from lanternfish.diagnostics.reference.samples import of_chains
from lanternfish.models import ln_filter as _  # noqa: F401  (the file of the same name)
from lanternfish.models.ln_filter import PARAMETERS, design, prior, spikes

pytest.importorskip("blackjax")
pytest.importorskip("polyagamma")

# posterior of the specification, by an independent Gibbs sampler of 500,000 steps; error <= 0.005
MEAN = [-1.6272, 0.4365, 1.0418, 1.1109, 0.5680, 0.2359, 0.2023, 0.1581, 0.0781, -0.0038]
SD = [0.3265, 0.2890, 0.3408, 0.3415, 0.3070, 0.2789, 0.2644, 0.2598, 0.2616, 0.2781]
STORED = 0.005


def log_likelihood(theta):
    drive = jnp.asarray(design()) @ jnp.stack([theta[c.name] for c in PARAMETERS])
    y = jnp.asarray(spikes())
    return jnp.sum(y * jax.nn.log_sigmoid(drive) + (1 - y) * jax.nn.log_sigmoid(-drive))


@pytest.fixture(scope="module")
def gibbs():
    return polya_gamma(prior, design(), spikes(), n=4_000)


@pytest.fixture(scope="module")
def hamiltonian():
    return nuts(prior, log_likelihood, n=1_000, warmup=500)


@pytest.mark.parametrize("name", ["gibbs", "hamiltonian"])
def test_the_published_posterior_of_the_filter(name, request):
    """Means to four standard errors of both; deviations to four of theirs, sd / sqrt(2 n)."""
    found = request.getfixturevalue(name)
    assert found.passed, found.sentence
    away = np.abs(found.samples.array.mean(axis=0) - MEAN)
    assert np.all(away < 4 * np.hypot(found.error, STORED))
    slack = 4 * np.array(SD) / np.sqrt(2 * found.effective.min()) + STORED
    assert np.all(np.abs(found.samples.array.std(axis=0) - SD) < slack)


@pytest.mark.slow
def test_they_agree_with_the_stored_samples(gibbs, data):
    with np.load(data / "glm" / "ln_reference_posterior.npz") as stored:
        truth = lf.Table(stored["samples"], PARAMETERS)
    rows = np.random.default_rng(0).permutation(len(gibbs.samples))[:1_000]  # one in eight
    found = lf.diagnostics.compare(gibbs.samples[rows], truth)
    assert found.passed, found


def test_bounds_are_kept_and_the_law_is_that_of_quadrature():
    """p(theta | x) of a uniform prior and one normal measurement near a bound."""
    box = lf.Prior(a=lf.Uniform(0, 1))
    found = nuts(box, lambda theta: -0.5 * ((theta["a"] - 0.1) / 0.3) ** 2, n=2_000, warmup=300)
    grid = np.linspace(0, 1, 20_001)
    weight = np.exp(-0.5 * ((grid - 0.1) / 0.3) ** 2)
    mean = np.sum(grid * weight) / weight.sum()
    a = found.samples["a"]
    assert np.all((a >= 0) & (a <= 1))
    assert abs(a.mean() - mean) < 4 * found.error[0]


def test_effective_size_of_a_known_chain():
    """An autoregressive chain of coefficient 0.8 is worth (1 - 0.8) / (1 + 0.8) of its length."""
    rng, n = np.random.default_rng(0), 20_000
    x = np.zeros((4, n, 1))
    for t in range(1, n):
        x[:, t] = 0.8 * x[:, t - 1] + rng.normal(size=(4, 1))
    found = of_chains(x, ["a"])
    assert found.effective[0] == pytest.approx(4 * n * 0.2 / 1.8, rel=0.1)
    apart = of_chains(x + np.arange(4)[:, None, None], ["a"])
    assert not apart.passed
    assert "have not arrived" in apart.sentence


def test_what_cannot_be_sampled():
    box = lf.Prior(a=lf.Uniform(0, 1))
    with pytest.raises(ValueError, match="prior of one CorrelatedNormal law"):
        polya_gamma(box, np.ones((5, 1)), np.ones(5))
    with pytest.raises(ValueError, match=r"design \(bins, 10\) and spikes \(bins,\)"):
        polya_gamma(prior, design()[:, :3], spikes())
    with pytest.raises(ValueError, match="spikes of 0 and 1"):
        polya_gamma(prior, design(), spikes() + 1)
    with pytest.raises(ValueError, match="Expected n, a whole number"):
        nuts(box, lambda theta: theta["a"], n=0)
    with pytest.raises(ValueError, match="one finite number in the prior"):
        nuts(box, lambda theta: jnp.log(theta["a"] - 2), n=10)
