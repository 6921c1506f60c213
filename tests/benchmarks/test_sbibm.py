"""The benchmark's tasks: JAX, NumPy and the published reference posteriors say the same.

The chain: the JAX simulator draws what the NumPy one draws; the NumPy likelihood is that of its
simulator; and the reference samples do not move under Markov chains that keep prior x likelihood.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import ks_2samp

import lanternfish as lf
import stored
from numpy_tasks import TASKS
from results import Cell, Results, table
from tasks import TASKS as MODELS
from tasks import observe

LEAST_P = 1e-4  # of one comparison; about 200 are made
DRAWS = 20_000
CHAINS, STEPS = 2_500, 150
NAMES = list(TASKS)
# moved a little: where likelihood ratios keep a small variance
MOVES = {"two_moons": 0.001, "slcp": 0.02, "gaussian_mixture": 0.02}


@pytest.fixture
def published(data):
    """The folder of observations and reference posteriors."""
    if not (data / "sbibm").is_dir():
        pytest.skip(f"no benchmark at {data / 'sbibm'}: set LANTERNFISH_DATA to the data's folder")
    return data / "sbibm"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def typical(name):
    """One parameter set of a task away from its bounds, shape (d,)."""
    d = MODELS[name]().prior.low.shape[0]
    return {"slcp": np.array([0.7, -1.0, -0.9, 1.1, 0.6])}.get(name, np.linspace(-0.4, 0.5, d))


def least_p(a, b, rng):
    """Least Kolmogorov-Smirnov p over coordinates and as many random projections."""
    sd = b.std(axis=0)
    turned = [rng.normal(size=len(sd)) / sd for _ in sd]
    pairs = [(a[:, i], b[:, i]) for i in range(len(sd))] + [(a @ t, b @ t) for t in turned]
    return min(ks_2samp(*pair).pvalue for pair in pairs)


@pytest.mark.parametrize("name", NAMES)
def test_jax_and_numpy_simulate_the_same(name, rng):
    model = MODELS[name]()
    theta = np.tile(typical(name), (DRAWS, 1))
    ours = lf.simulate(model, theta=theta, seed=3, progress=False).x.array
    assert least_p(ours, TASKS[name].simulate(theta, rng), rng) > LEAST_P


@pytest.mark.parametrize("name", NAMES)
def test_jax_and_numpy_have_one_prior(name, rng):
    prior, task = MODELS[name]().prior, TASKS[name]
    theta = task.sample_prior(DRAWS, rng)
    gap = prior.log_prob(theta) - task.log_prior(theta)
    assert np.ptp(gap) < 1e-3  # a constant, in float32
    assert least_p(prior.sample(DRAWS, seed=1).array, theta, rng) > LEAST_P
    assert not np.isfinite(task.log_prior(10.5 * np.ones((1, len(prior))))) or np.isinf(
        prior.low[0]
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_likelihood_is_that_of_the_simulator(name, rng):
    """E_{x ~ p(x|a)} [p(x|b) / p(x|a)] = 1, whatever factor of x the likelihood leaves out."""
    task, a = TASKS[name], typical(name)
    b = a + MOVES.get(name, 0.05)
    x = task.simulate(np.tile(a, (DRAWS, 1)), rng)
    both = np.stack([a, b])
    values = np.array([task.log_likelihood(both, row) for row in x[:4_000]])
    ratio = np.exp(values[:, 1] - values[:, 0])
    assert abs(ratio.mean() - 1) < 4.5 * ratio.std() / np.sqrt(len(ratio))
    assert ratio.std() > 0.01  # the move is felt


def walked(log_density, reference, rng):
    """Chains from some reference samples, steps along differences of others, shape (CHAINS, d)."""
    order = rng.permutation(len(reference))
    theta, d = reference[order[:CHAINS]].copy(), reference.shape[1]
    value = log_density(theta)
    for _ in range(STEPS):
        first, second = rng.choice(len(reference), (2, CHAINS))
        size = rng.choice([0.1, 0.4, 1.0], (CHAINS, 1)) * 1.7 / np.sqrt(d)
        proposal = theta + size * (reference[first] - reference[second])
        new = log_density(proposal)
        taken = np.log(rng.uniform(size=CHAINS)) < new - value
        theta[taken], value[taken] = proposal[taken], new[taken]
    return theta, reference[order[CHAINS:]]


def p_of_moving(log_density, reference, rng):
    """Least p over coordinates, projections and the density itself, before and after the walk."""
    moved, others = walked(log_density, reference, rng)
    density = ks_2samp(log_density(moved), log_density(others)).pvalue
    return min(density, least_p(moved, others, rng))


@pytest.mark.parametrize("number", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3))])
@pytest.mark.parametrize("name", NAMES)
def test_the_reference_posterior_does_not_move(published, name, number, rng):
    task, x = TASKS[name], stored.observation(name, number)
    reference = stored.reference(name, number)
    assert p_of_moving(lambda t: task.log_posterior(t, x), reference, rng) > LEAST_P


@pytest.mark.parametrize("name", NAMES)
def test_a_sharper_likelihood_would_move_it(published, name, rng):
    """What the law above can see: noise that is smaller by a fifth."""
    task, x = TASKS[name], stored.observation(name, 1)
    reference = stored.reference(name, 1)

    def sharper(theta):
        return task.log_prior(theta) + 1.5 * task.log_likelihood(theta, x)

    assert p_of_moving(sharper, reference, rng) < LEAST_P


@pytest.mark.parametrize("name", NAMES)
def test_observations_are_typical_of_their_parameters(published, name, rng):
    """Mahalanobis distance of the observation, among those of simulations."""
    for number in (1, 2, 3):
        theta = np.tile(stored.true_parameters(name, number), (4_000, 1))
        x = TASKS[name].simulate(theta, rng)
        root = np.linalg.pinv(np.cov(x.T))
        gap = np.concatenate([stored.observation(name, number)[None], x]) - x.mean(axis=0)
        distance = np.sum(gap @ root * gap, axis=1)
        assert (distance[1:] >= distance[0]).mean() > 1e-3


def test_the_linear_posterior_has_its_closed_form(published, rng):
    """Equal variances 0.1 of prior and noise: N(x / 2, 0.05 I)."""
    for number in (1, 2, 3):
        x = stored.observation("gaussian_linear", number)
        exact = x / 2 + np.sqrt(0.05) * rng.normal(size=(DRAWS, 10))
        assert least_p(exact, stored.reference("gaussian_linear", number), rng) > LEAST_P


def test_stored_data_become_observations_of_the_model(published):
    for name, make in MODELS.items():
        x = stored.observation(name, 2)
        target = observe(name, x, 2)
        np.testing.assert_allclose(target.array_for(make().statistics), x)
        assert make().prior.contains(jnp.asarray(stored.true_parameters(name, 2)[None])).all()


def test_the_table_takes_up_what_a_folder_holds(published, tmp_path):
    ours = Cell("ours", "slcp", (1, 2), 10_000, 1, "NPE", 0)
    again = Cell("ours", "slcp", (1, 2), 10_000, 1, "NPE", 1)
    peer = Cell("sbi", "slcp", (1, 2), 10_000, 1, "nsf", 0)
    results = Results(tmp_path)
    for cell, c2st, cpu in ((ours, 0.7, 20.0), (again, 0.8, 20.0), (peer, 0.9, 200.0)):
        results.add_cost(cell, {"cpu_s": cpu, "outside": {"1": 0.0, "2": 0.0}})
        for number in (1, 2):
            results.add_c2st(cell, number, c2st, 5.0)
    last = table(Results(tmp_path), [ours, again, peer]).splitlines()[-1]
    assert last.split(" | ")[3:6] == ["NPE", "0.750", "0.100"]
    assert last.endswith("| 0.901 | 10.0 |")
    assert "NPE | | | | | nsf | |" in table(Results(tmp_path / "empty"), [ours, peer])
