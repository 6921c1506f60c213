"""Laws of conditions and embeddings: missing numbers, orders, pasts, convolutions, starts."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import paramax
import pytest

from lanternfish import flows
from lanternfish.flows import embedding
from lanternfish.flows.condition import Part, blank_condition, fit_condition, robust_scaling

SINGLE = 2e-4  # float32 round-off of sums of some hundred products, relative to 1
PARTS = {
    "dense": Part("trace", (20,)),
    "conv1d": Part("trace", (300,)),
    "channels": Part("trace", (2, 150)),
    "causal": Part("trace", (9_000,)),
    "image": Part("image", (21, 17)),
    "colours": Part("image", (3, 12, 12)),
    "set": Part("trials", (6, 2)),
}


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def data(part, rng, n=40):
    """Normal arrays; of trials some are absent, of all else some numbers are missing."""
    c = rng.normal(2, 3, (n, *part.shape))
    if part.kind == "trials":
        c[rng.random((n, part.shape[0])) < 0.4] = np.nan
        c[:, 0] = 1.0
    else:
        c[:5, ..., 3] = np.nan
    return c.reshape(n, -1)


@pytest.mark.parametrize("name", PARTS)
def test_gradients_are_finite_where_numbers_are_missing(name, rng):
    part = PARTS[name]
    c = np.concatenate([rng.normal(size=(40, 2)), data(part, rng)], axis=1)
    c[:7, 0] = np.nan
    layout = (Part(), Part(), part)
    condition = fit_condition(0, rng.normal(size=(40, 2)), c, layout)
    assert [p.masked for p in condition.layout] == [True, False, part.kind != "trials"]
    params, static = eqx.partition(paramax.unwrap(condition), eqx.is_inexact_array)

    def loss(params, rows):
        return jnp.mean(jax.vmap(eqx.combine(params, static))(rows) ** 2)

    value, slope = jax.jit(jax.value_and_grad(loss))(params, jnp.float32(c))
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))


@pytest.mark.parametrize("name", PARTS)
def test_a_blank_condition_has_the_structure_of_a_fitted_one(name, rng):
    part = PARTS[name]
    fitted = fit_condition(0, rng.normal(size=(40, 2)), data(part, rng), (part,))
    blank = blank_condition(fitted.layout, 2)
    both = [[a.shape for a in jax.tree.leaves(eqx.filter(c, eqx.is_array))]
            for c in (fitted, blank)]  # fmt: skip
    assert both[0] == both[1]
    assert fitted.features == blank.features


def test_a_missing_number_is_predicted_and_told(rng):
    """The prediction is that of least squares on the rows that lack nothing."""
    c = rng.normal(size=(5_000, 3)) @ rng.normal(size=(3, 3)) + 2
    whole = np.asarray(jax.vmap(robust_scaling(c))(jnp.float32(c)))
    c[:10, 1] = np.nan
    condition = fit_condition(0, np.zeros((len(c), 1)), c, None)
    seen = np.asarray(jax.vmap(condition)(jnp.float32(c)))
    assert seen.shape == (5_000, 4)
    assert seen[:, 3].tolist() == [1.0] * 10 + [0.0] * 4_990
    np.testing.assert_allclose(seen[:, [0, 2]], whole[:, [0, 2]], atol=0.01)
    design = np.column_stack([np.ones(4_990), seen[10:, [0, 2]]])
    fit = np.linalg.lstsq(design, seen[10:, 1], rcond=None)[0]
    expected = fit[0] + seen[:10, [0, 2]] @ fit[1:]
    np.testing.assert_allclose(seen[:10, 1], expected, atol=0.03)  # the ridge of 1e-3


def test_numbers_that_are_never_missing_have_no_indicator(rng):
    c = rng.normal(size=(50, 3))
    condition = fit_condition(0, np.zeros((50, 1)), c, None)
    assert condition.features == 3
    np.testing.assert_array_equal(
        condition(jnp.float32(c[0])), robust_scaling(c)(jnp.float32(c[0]))
    )


def test_a_set_does_not_know_the_order_nor_the_room(rng):
    network = embedding.make(jr.key(0), "trials", (6, 2), None, 5)
    x, there = jnp.float32(rng.normal(size=(6, 2))), jnp.arange(6) < 4
    there = jnp.stack([there, there], axis=1)
    order = jnp.array([5, 2, 0, 4, 3, 1])
    seen = network(x, there)
    np.testing.assert_allclose(network(x[order], there[order]), seen, atol=SINGLE, rtol=SINGLE)
    np.testing.assert_allclose(network(x[:4], there[:4]), seen, atol=SINGLE, rtol=SINGLE)
    moved = jnp.where(there, x, 99.0)  # what is absent has no say
    np.testing.assert_allclose(network(moved, there), seen, atol=SINGLE, rtol=SINGLE)
    assert not np.allclose(network(x, there.at[3].set(False)), seen)


def test_causal_places_do_not_see_the_future(rng):
    body = embedding.Causal(jr.key(0), (600,))
    x = jnp.float32(rng.normal(size=600))
    later = x.at[400:].add(1.0)
    stride = 4  # of the strided convolution, which comes down to fewer than 512 places
    one, other = body.places(x), body.places(later)
    np.testing.assert_allclose(one[: 400 // stride], other[: 400 // stride], atol=SINGLE)
    assert not np.allclose(one[400 // stride :], other[400 // stride :])
    reach = body.places(x.at[0].add(1.0)) - one
    assert np.abs(reach[-1]).max() > 0  # dilations double up to the whole trace


@pytest.mark.parametrize(("axes", "space"), [(1, (17,)), (2, (9, 10))])
def test_a_convolution_is_that_of_jax(axes, space, rng):
    """Kernel of two strides, behind one stride of zeros: against ``jax.lax``."""
    s, channels, outputs = 4, 3, 5
    layer = embedding.Convolution(jr.key(0), axes, channels, outputs, s)
    x = jnp.float32(rng.normal(size=(*space, channels)))
    # own block first, then the one before, for each axis; the last axis varies slowest
    parts = layer.weight.reshape(*(2,) * axes, *(s,) * axes, channels, outputs)
    kernel = np.zeros((*(2 * s,) * axes, channels, outputs), np.float32)
    for place in np.ndindex(*(2,) * axes):
        corner = tuple(slice(s * (1 - b), s * (2 - b)) for b in place[::-1])
        kernel[corner] = parts[place]
    letters = "HW"[:axes]
    expected = jax.lax.conv_general_dilated(
        x[None], kernel, (s,) * axes, [(s, -n % s) for n in space],
        dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
    )[0]  # fmt: skip
    np.testing.assert_allclose(layer(x), expected + layer.bias, atol=SINGLE, rtol=SINGLE)


def test_coarse_blocks_are_averages(rng):
    x = jnp.float32(rng.normal(size=(10, 7, 2)))
    blocks = embedding._coarse(x, 4)
    assert blocks.shape == (4, 4, 2)
    np.testing.assert_allclose(blocks[0, 0], x[:3, :2].mean((0, 1)), atol=SINGLE)
    np.testing.assert_allclose(blocks[3, 3], x[9:, 6:].mean((0, 1)), atol=SINGLE)


def test_the_start_sees_a_linear_signal_in_a_trace(rng):
    """Before training: residuals of the start beside those of least squares on the template."""
    n, t = 4_000, np.linspace(0, 1, 512)
    template = np.sin(2 * np.pi * t)
    z = rng.normal(size=(n, 1))
    c = z * template + 5 * rng.normal(size=(n, 512))
    flow = paramax.unwrap(
        flows.build(0, flows.Architecture("maf", 1, 8, 1), z, c, (Part("trace", (512,)),))
    )
    unseen = rng.normal(size=(500, 1))
    rows = jnp.float32(unseen * template + 5 * rng.normal(size=(500, 512)))
    means = jax.jit(
        jax.vmap(lambda c: flow.flow.bijection.transform(jnp.zeros(1), flow.condition(c)))
    )
    error = np.mean((np.asarray(means(rows)) - unseen) ** 2)
    ideal = 1 / (1 + np.sum(template**2) / 25)
    assert ideal < error < 1.4 * ideal  # noise features cost something; knowing nothing would be 1


@pytest.mark.parametrize(
    ("fields", "words"), [({"embedding": "conv3d"}, "embedding"), ({"features": 0}, "features")]
)
def test_bad_embedding(fields, words):
    with pytest.raises(ValueError, match=f"^Expected.*{words}.*got"):
        flows.Architecture(**fields)


def test_an_embedding_for_other_data_is_named():
    with pytest.raises(ValueError, match=r"^Expected an embedding dense or conv2d.*got"):
        embedding.make(jr.key(0), "image", (9, 9), "causal", 4)


def test_a_layout_of_another_length_is_named(rng):
    with pytest.raises(ValueError, match=r"^Expected a condition of 2 numbers.*got 3"):
        fit_condition(0, np.zeros((9, 1)), np.zeros((9, 3)), (Part(), Part()))
