"""Laws of the flows, against autodiff, quadrature and least squares."""

from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import paramax
import pytest

from lanternfish import flows
from lanternfish.flows import spline
from lanternfish.flows.condition import robust_scaling
from lanternfish.flows.networks import MaskedNetwork
from lanternfish.flows.regression import ridge

FLOAT32 = 5e-3  # float32 round-off 1e-7, times slopes of up to about 1e3 over three layers, in log


@pytest.fixture(params=["spline", "autoregressive", "maf", "mixture"])
def kind(request):
    return request.param


@cache
def shaken(kind, dim, cond_dim, seed=0):
    """A flow with random weights, far from its silent start."""
    flow = flows.empty(flows.Architecture(kind, layers=3, width=16, depth=1), dim, cond_dim)
    weights, rest = eqx.partition(flow, eqx.is_inexact_array)
    rng = np.random.default_rng(seed)  # a compilation for each shape would take much longer
    moved = jax.tree.map(lambda w: w + np.float32(0.15 * rng.normal(size=w.shape)), weights)
    return eqx.filter_jit(paramax.unwrap)(eqx.combine(moved, rest))


def over(function):
    """Of a flow and each row, as one compiled program, which flows of one structure share."""
    return eqx.filter_jit(lambda flow, rows: jax.vmap(lambda row: function(flow, row))(rows))


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_density_of_a_draw_is_that_of_log_prob(kind, dim):
    flow, c = shaken(kind, dim, 3), jnp.array([0.3, -1.0, 2.0])
    z, density = over(lambda flow, k: flow.sample_and_log_prob(k, c))(flow, jr.split(jr.key(1), 64))
    again = over(lambda flow, z: flow.log_prob(z, c))(flow, z)
    np.testing.assert_allclose(density, again, atol=FLOAT32, rtol=FLOAT32)


@pytest.mark.parametrize("kind", ["spline", "autoregressive", "maf"])
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_log_det_is_that_of_the_jacobian(kind, dim):
    flow, c = shaken(kind, dim, 2), jnp.array([0.1, -0.4])

    @over
    def both(flow, z):
        inverse = lambda z: flow.flow.bijection.inverse(z, c)  # noqa: E731
        return jax.jacfwd(inverse)(z), flow.flow.bijection.inverse_and_log_det(z, c)[1]

    jacobians, log_dets = both(flow, jr.normal(jr.key(2), (5, dim)))
    np.testing.assert_allclose(log_dets, np.linalg.slogdet(jacobians)[1], rtol=0, atol=FLOAT32)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_rows_go_through_together_as_one_by_one(kind, dim):
    """With a condition for each row, and with one for all; densities and draws."""
    flow, rng = shaken(kind, dim, 3), np.random.default_rng(0)
    z, c = (jnp.asarray(rng.normal(size=(20, k)), jnp.float32) for k in (dim, 3))
    together = eqx.filter_jit(lambda flow, z, c: flow.log_probs(z, c))
    each = over(lambda flow, row: flow.log_prob(*row))
    np.testing.assert_allclose(together(flow, z, c), each(flow, (z, c)), atol=FLOAT32)
    one = jnp.broadcast_to(c[0], c.shape)
    np.testing.assert_allclose(together(flow, z, c[0]), each(flow, (z, one)), atol=FLOAT32)
    keys = jr.split(jr.key(1), 20)
    drawn = eqx.filter_jit(lambda flow, keys, c: flow.samples(keys, c))(flow, keys, c[0])
    if kind == "mixture":
        expected = over(lambda flow, key: flow.sample(key, c[0]))(flow, keys)
    else:
        noise = jax.vmap(lambda key: jr.normal(key, (dim,)))(keys)
        inverse = lambda flow, row: flow.flow.bijection.transform(row, flow.condition(c[0]))  # noqa: E731
        expected = over(inverse)(flow, noise)
    np.testing.assert_allclose(drawn, expected, atol=FLOAT32)


def test_density_integrates_to_one(kind):
    flow, c = shaken(kind, 2, 1), jnp.array([0.5])
    axis = np.linspace(-14, 14, 561)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    density = jnp.exp(over(lambda flow, z: flow.log_prob(z, c))(flow, grid))
    assert np.sum(density) * (axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=5e-3)


def test_a_silent_spline_is_the_identity():
    x = jnp.linspace(-7, 7, 41)
    y, log_slope = spline.forward(x, jnp.zeros((23, 41)), 5.0)
    np.testing.assert_allclose(y, x, atol=1e-5)
    np.testing.assert_allclose(log_slope, 0, atol=1e-5)


def test_a_spline_is_that_of_the_published_equations():
    """Durkan et al. (2019), equations 1 to 4, one point at a time in double precision."""
    rng, bound, bins = np.random.default_rng(0), 5.0, 6
    x, raw = rng.uniform(-6, 6, 300), rng.normal(0, 2, (3 * bins - 1, 300))

    def published(x, raw):
        if abs(x) >= bound:
            return x, 0.0
        sizes = np.exp(raw[: 2 * bins].reshape(2, bins))
        sizes = 5e-3 + (1 - 5e-3 * bins) * sizes / sizes.sum(1, keepdims=True)
        knots = np.concatenate([np.zeros((2, 1)), np.cumsum(sizes, axis=1)], axis=1)
        knots_x, knots_y = 2 * bound * knots - bound
        inner = raw[2 * bins :]
        d = np.r_[1, 1e-2 + 0.99 * 0.5 * (inner + np.sqrt(inner**2 + 4)), 1]
        k = np.searchsorted(knots_x, x, side="right") - 1
        width, height = np.diff(knots_x)[k], np.diff(knots_y)[k]
        s, xi = height / width, (x - knots_x[k]) / width
        below = s + (d[k + 1] + d[k] - 2 * s) * xi * (1 - xi)
        y = knots_y[k] + height * (s * xi**2 + d[k] * xi * (1 - xi)) / below
        slope = d[k + 1] * xi**2 + 2 * s * xi * (1 - xi) + d[k] * (1 - xi) ** 2
        return y, np.log(s**2 * slope / below**2)

    expected = np.array([published(*pair) for pair in zip(x, raw.T, strict=True)])
    y, log_slope = jax.jit(spline.forward)(*(jnp.asarray(a, jnp.float32) for a in (x, raw)), bound)
    np.testing.assert_allclose(y, expected[:, 0], atol=2e-4)
    np.testing.assert_allclose(log_slope, expected[:, 1], atol=5e-3)
    back, _ = jax.jit(spline.inverse)(jnp.asarray(expected[:, 0], jnp.float32), raw, bound)
    again = [published(*pair)[0] for pair in zip(np.asarray(back, float), raw.T, strict=True)]
    np.testing.assert_allclose(again, expected[:, 0], atol=1e-3)


def test_a_spline_and_its_inverse():
    x = jnp.linspace(-6, 6, 1001)
    raw = jr.normal(jr.key(0), (23, 1001))
    y, up = jax.jit(spline.forward)(x, raw, 5.0)
    back, down = jax.jit(spline.inverse)(y, raw, 5.0)
    np.testing.assert_allclose(back, x, atol=2e-3)
    np.testing.assert_allclose(up, -down, atol=5e-2)
    slopes = jax.vmap(jax.grad(lambda a, r: spline.forward(a, r, 5.0)[0]), (0, 1))
    slope = jax.jit(slopes)(x, raw)
    np.testing.assert_allclose(np.exp(up), slope, rtol=2e-3)


def test_the_start_is_the_linear_gaussian_fit(kind):
    """Before any training, data from a linear Gaussian law have their true conditional law."""
    rng = np.random.default_rng(0)
    n = 20_000
    c = rng.normal(size=(n, 2))
    root = np.array([[1.0, 0.0], [0.5, 0.3]])
    z = c @ np.array([[1.0, -2.0], [0.0, 0.5]]) + 3 + rng.normal(size=(n, 2)) @ root.T
    flow = paramax.unwrap(flows.build(0, flows.Architecture(kind), z, c))
    point = jnp.array([0.7, -0.2])
    draws = over(lambda flow, k: flow.sample(k, point))(flow, jr.split(jr.key(3), 20_000))
    mean = np.array([0.7, -0.2]) @ np.array([[1.0, -2.0], [0.0, 0.5]]) + 3
    np.testing.assert_allclose(draws.mean(0), mean, atol=0.05)  # 5 standard errors of both sets
    np.testing.assert_allclose(np.cov(draws.T), root @ root.T, atol=0.05)


def test_ridge_is_least_squares_where_rows_abound():
    rng = np.random.default_rng(1)
    c, noise = rng.normal(size=(50_000, 3)), 0.1 * rng.normal(size=(50_000, 2))
    matrix = rng.normal(size=(2, 3))
    fitted, offset, root = ridge(c @ matrix.T + 1 + noise, c)
    np.testing.assert_allclose(fitted, matrix, atol=3e-3)
    np.testing.assert_allclose(offset, 1, atol=3e-3)
    np.testing.assert_allclose(root @ root.T, 0.01 * np.eye(2), atol=1e-3)


def test_scaling_is_linear_for_data_and_tame_for_outliers():
    rng = np.random.default_rng(2)
    c = np.stack([rng.normal(3, 2e12, 1000), rng.standard_cauchy(1000) * 1e-12, np.ones(1000)], 1)
    scaling = robust_scaling(c)
    squashed = np.asarray(jax.vmap(scaling)(jnp.asarray(c, jnp.float32)))
    assert np.all(np.abs(squashed) < 20)
    assert squashed[:, 0].std() == pytest.approx(1, abs=0.1)
    assert np.all(squashed[:, 2] == 0)


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"kind": "splines"}, "spline"), ({"layers": 0}, "layers"), ({"width": 0}, "width")],
)
def test_bad_architecture(fields, words):
    with pytest.raises(ValueError, match=f"^Expected.*{words}.*got"):
        flows.Architecture(**fields)


def test_coordinates_of_an_autoregressive_flow_see_those_before_them():
    """The Jacobian of one layer is lower triangular."""
    network = MaskedNetwork(np.random.default_rng(0), 4, 2, size=3, width=16, depth=2)
    network = paramax.unwrap(jax.tree.map(lambda w: w + 0.3, network))
    slope = jax.jacfwd(lambda x: network(x, jnp.ones(2)))(jnp.arange(4.0))
    assert slope.shape == (3, 4, 4)
    seen = np.any(np.asarray(slope) != 0, axis=0)
    assert np.array_equal(seen, np.tril(np.ones((4, 4), bool), -1))


def test_an_ensemble_is_the_mixture_of_its_members(kind):
    members = [shaken(kind, 2, 1, seed) for seed in (0, 1, 2)]
    ensemble, c = flows.Ensemble(members), jnp.array([0.5])
    z = jr.normal(jr.key(0), (20, 2))
    density = over(lambda flow, row: flow.log_prob(row, c))
    each = np.array([density(member, z) for member in members])
    whole = density(ensemble, z)
    np.testing.assert_allclose(whole, np.log(np.exp(each).mean(0)), atol=FLOAT32)
    keys = jr.split(jr.key(1), 6_000)
    draw = over(lambda flow, k: flow.sample(k, c))
    draws, apart = (
        np.asarray(draw(ensemble, keys)),
        np.concatenate([draw(m, keys) for m in members]),
    )
    spread = apart.std(0)
    np.testing.assert_allclose(draws.mean(0), apart.mean(0), atol=0.08 * spread.max())


def test_what_of_a_network_is_masked():
    """``plain`` holds what counts and 0 elsewhere; ``seen`` says which is which."""
    network = MaskedNetwork(np.random.default_rng(0), 3, 2, size=2, width=8, depth=1)
    trees = paramax.unwrap(network), flows.plain(network), flows.seen(network), network
    unwrapped, plain, seen, whole = map(jax.tree.leaves, trees)
    for a, b, mask, weight in zip(unwrapped, plain, seen, whole, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, weight * mask)
    assert [mask.all() for mask in seen].count(False) == 4  # first, two of a block, last
