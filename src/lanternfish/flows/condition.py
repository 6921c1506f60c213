"""From what was measured to what a flow is given: a raw vector c becomes features.

    c  ->  [ s(numbers),  1{number missing},  embedding_1(array_1),  embedding_2(array_2), ... ]

A layout says which places of c are numbers and which belong to an array. Numbers are standardised
robustly (s). Where a number was missing (NaN) in the data that the flow was fitted to, its linear
prediction from the others stands in for it, and an indicator tells so: rows that lack a number are
of use, and what its absence says of z is learned. In a linear Gaussian problem the best prediction
of z from all numbers, E(z | c) = A c + b, is then the best one from those that are known, too,
because E(z | known) = A E(c | known) + b.

Each array is standardised and goes through a network of its own (``embedding``), trained with the
flow: Lueckmann et al. (2017), Flexible statistical inference for mechanistic models of neural
dynamics, section 2.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike
from paramax import NonTrainable

from lanternfish.flows import embedding
from lanternfish.flows.regression import ridge

_LINEAR = 5.0  # scales within which a condition enters as it is
_ROWS = 4_096  # enough for the scales and the start of an embedding


@dataclass(frozen=True)
class Part:
    """Some places of a condition, one after the other.

    Args:
        kind: ``"number"``, ``"trace"``, ``"image"`` or ``"trials"``.
        shape: of the array; ``()`` for a number.
        masked: whether numbers may be missing (NaN); of trials, whole ones always may.
    """

    kind: str = "number"
    shape: tuple[int, ...] = ()
    masked: bool = False

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=int))


Layout = tuple[Part, ...]


def plain(columns: int) -> Layout:
    """The layout of so many numbers."""
    return (Part(),) * columns


def spans(layout: Layout) -> list[slice]:
    """The places of each part."""
    ends = np.cumsum([part.size for part in layout]).tolist()
    return [slice(end - part.size, end) for part, end in zip(layout, ends, strict=True)]


class Scaling(eqx.Module):
    """Standardise each number of a condition; beyond five scales it grows as a logarithm only.

    Linear where the data are, so that a linear Gaussian problem stays one; robust to heavy tails.
    """

    centre: NonTrainable
    scale: NonTrainable

    def __call__(self, c: Array) -> Array:
        centre = jax.lax.stop_gradient(_raw(self.centre))
        scale = jax.lax.stop_gradient(_raw(self.scale))
        t = (c - centre) / scale
        beyond = jnp.maximum(jnp.abs(t) - _LINEAR, 0.0)
        return jnp.clip(t, -_LINEAR, _LINEAR) + jnp.sign(t) * jnp.log1p(beyond)


def _raw(leaf):
    return leaf.tree if isinstance(leaf, NonTrainable) else leaf


def robust_scaling(c: np.ndarray) -> Scaling:
    """Centre (median) and scale (interquartile range as a standard deviation) of columns (n, k).

    Where more than half of the values are equal, the standard deviation takes the place of the
    range; a constant column is scaled by 1 and so carries nothing. Missing values are left out.
    """
    if c.shape[1] == 0:
        return blank_scaling(0)
    low, centre, high = np.nanquantile(c, [0.25, 0.5, 0.75], axis=0)
    least = 1e-9 * np.nanmax(np.abs(c), axis=0)
    scale = (high - low) / 1.349
    scale = np.where(scale > least, scale, np.nanstd(c, axis=0))
    return _scaling(centre, np.where(scale > least, scale, 1.0))


def blank_scaling(columns: int) -> Scaling:
    """A scaling of this many columns, to be filled with stored numbers."""
    return _scaling(np.zeros(columns), np.ones(columns))


def _scaling(centre: np.ndarray, scale: np.ndarray) -> Scaling:
    return Scaling(NonTrainable(_single(centre)), NonTrainable(_single(scale)))


def _single(a: np.ndarray) -> np.ndarray:
    return np.asarray(a, np.float32)


def array_scaling(values: np.ndarray, part: Part) -> Scaling:
    """Scaling of arrays (n, *shape): of trials for each number, else for each channel.

    Centres are medians, of each place of a trace or image by itself. A trace with spikes rests most
    of the time: a tenth of its central 98 % is the least that counts as its scale.
    """
    if part.kind == "trials":
        return robust_scaling(values[~np.isnan(values).any(axis=-1)])
    centre = np.nanmedian(values, axis=0)
    channels = int(np.prod(_scale_shape(part)))
    away = np.moveaxis((values - centre).reshape(len(values), channels, -1), 1, 0)
    away = away.reshape(channels, -1)
    away = away[:, :: 1 + away.shape[1] // 2**20]
    first, low, high, last = np.nanquantile(away, [0.01, 0.25, 0.75, 0.99], axis=1)
    scale = np.maximum((high - low) / 1.349, (last - first) / 10)
    least = 1e-9 * np.nanmax(np.abs(values))
    scale = np.where(scale > least, scale, np.nanstd(away, axis=1))
    return _scaling(centre, np.where(scale > least, scale, 1.0).reshape(_scale_shape(part)))


def _scale_shape(part: Part) -> tuple[int, ...]:
    """One scale for each channel, or for each number of a trial."""
    if part.kind == "trials":
        return part.shape[1:]
    space = embedding.AXES[part.kind]
    return (*part.shape[:-space], *(1,) * space)


def _blank_array_scaling(part: Part) -> Scaling:
    shape = part.shape[1:] if part.kind == "trials" else part.shape
    return _scaling(np.zeros(shape), np.ones(_scale_shape(part)))


class Prediction(eqx.Module):
    """What numbers (k,) are expected where they are missing: linear in those that are known.

    E(t_missing | t_known) = m + C_missing,known C_known,known^-1 (t_known - m).
    """

    mean: NonTrainable
    covariance: NonTrainable

    def __call__(self, t: Array, missing: Array) -> Array:
        mean = jax.lax.stop_gradient(_raw(self.mean))
        covariance = jax.lax.stop_gradient(_raw(self.covariance))
        known = 1.0 - missing.astype(t.dtype)
        among = covariance * known[:, None] * known[None, :] + jnp.diag(1.0 - known)
        weights = jnp.linalg.solve(among, known * (t - mean))
        return jnp.where(missing, mean + covariance @ (known * weights), t)


def _fit_prediction(scaling: Scaling, numbers: np.ndarray) -> Prediction:
    """From the rows that lack nothing, where they are enough; else none is expected to differ."""
    k = numbers.shape[1]
    whole = numbers[~np.isnan(numbers).any(axis=1)]
    if len(whole) < 2 * k + 10:
        return _prediction(np.zeros(k), np.eye(k))
    t = np.asarray(jax.vmap(scaling)(jnp.asarray(_single(whole))), np.float64)
    return _prediction(t.mean(axis=0), np.atleast_2d(np.cov(t.T)) + 1e-3 * np.eye(k))


def _prediction(mean: np.ndarray, covariance: np.ndarray) -> Prediction:
    return Prediction(NonTrainable(_single(mean)), NonTrainable(_single(covariance)))


def _lacks_numbers(layout: Layout) -> bool:
    return any(part.masked for part in layout if not part.shape)


class Embedded(eqx.Module):
    """An array of a condition, standardised, as the features of its network."""

    scaling: Scaling
    network: embedding.Embedding
    part: Part = eqx.field(static=True)

    def _inputs(self, values: Array) -> tuple[Array, Array]:
        """The array with 0 for what is missing, and which of its numbers are there."""
        array = values.reshape(self.part.shape)
        there = ~jnp.isnan(array)
        # missing numbers are replaced before any arithmetic, so that no gradient meets a NaN
        known = jnp.where(there, array, jnp.broadcast_to(_raw(self.scaling.centre), array.shape))
        return self.scaling(known), there

    def __call__(self, values: Array) -> Array:
        """Features (m,) of values (size,)."""
        array, there = self._inputs(values)
        features = self.network(array, there)
        if not self.part.masked:
            return features
        return jnp.append(features, 1.0 - jnp.mean(there, dtype=jnp.float32))

    def summary(self, values: Array) -> Array:
        """What the network's head looks at."""
        return self.network.summary(*self._inputs(values))


class Condition(eqx.Module):
    """Features of a raw condition c (k,); see the module."""

    scaling: Scaling
    prediction: Prediction | None
    embedded: tuple[Embedded, ...]
    layout: Layout = eqx.field(static=True)

    def __call__(self, c: Array) -> Array:
        numbers = c[numbers_of(self.layout)]
        features = [self.scaling(numbers)]
        if self.prediction is not None:
            masked = np.array([part.masked for part in self.layout if not part.shape])
            missing = jnp.isnan(numbers) & masked
            # replaced before any arithmetic, so that no gradient meets a NaN
            centre = jax.lax.stop_gradient(_raw(self.scaling.centre))
            t = self.scaling(jnp.where(missing, centre, numbers))
            told = missing[np.flatnonzero(masked)].astype(t.dtype)
            features = [self.prediction(t, missing), told]
        places = zip(self.layout, spans(self.layout), strict=True)
        arrays = [span for part, span in places if part.shape]
        features += [e(c[span]) for e, span in zip(self.embedded, arrays, strict=True)]
        return jnp.concatenate(features)

    @property
    def features(self) -> int:
        """How many features there are."""
        size = sum(part.size for part in self.layout)
        return jax.eval_shape(self, jax.ShapeDtypeStruct((size,), jnp.float32)).shape[0]


def numbers_of(layout: Layout) -> np.ndarray:
    """Places of the numbers."""
    parts = zip(layout, spans(layout), strict=True)
    return np.array([span.start for part, span in parts if not part.shape], int)


def blank_condition(
    layout: Layout | int, dim: int, kind: str | None = None, features: int | None = None
) -> Condition:
    """A condition of this layout, to be filled with stored numbers."""
    layout = plain(layout) if isinstance(layout, int) else tuple(layout)
    size = features or max(16, 2 * dim)
    embedded = tuple(
        Embedded(_blank_array_scaling(p), _network(jr.key(0), p, kind, size), p)
        for p in layout if p.shape
    )  # fmt: skip
    k = len(layout) - len(embedded)
    prediction = _prediction(np.zeros(k), np.eye(k)) if _lacks_numbers(layout) else None
    return Condition(blank_scaling(k), prediction, embedded, layout)


def _network(key: Array, part: Part, kind: str | None, features: int) -> embedding.Embedding:
    return embedding.make(key, part.kind, part.shape, kind, features)


def fit_condition(
    seed: int,
    z: np.ndarray,
    c: np.ndarray,
    layout: Sequence[Part] | None,
    kind: str | None = None,
    features: int | None = None,
) -> Condition:
    """The condition of training data z (n, d) and c (n, k).

    Args:
        layout: what the places of c are; numbers where left out. Parts that have missing values in
            c are masked.
        kind, features: of the embeddings; chosen from the shapes where left out.
    """
    given = plain(c.shape[1]) if layout is None else tuple(layout)
    if sum(part.size for part in given) != c.shape[1]:
        raise ValueError(
            f"Expected a condition of {sum(part.size for part in given)} numbers, as its layout "
            f"says; got {c.shape[1]}."
        )
    places = spans(given)
    found = tuple(_noted(part, c[:, span]) for part, span in zip(given, places, strict=True))
    rows = np.linspace(0, len(c) - 1, min(len(c), _ROWS)).astype(int)
    size = features or max(16, 2 * z.shape[1])
    key = lambda i: jr.fold_in(jr.key(seed % 2**32), i)  # noqa: E731
    embedded = tuple(
        _fit_embedded(key(i), part, z[rows], c[rows, span], (kind, size))
        for i, (part, span) in enumerate(zip(found, places, strict=True)) if part.shape
    )  # fmt: skip
    numbers = c[:, numbers_of(found)]
    scaling = robust_scaling(numbers)
    prediction = _fit_prediction(scaling, numbers) if _lacks_numbers(found) else None
    return Condition(scaling, prediction, embedded, found)


def _noted(part: Part, values: np.ndarray) -> Part:
    """The part, marked where values of it are missing; trials look after their own."""
    missing = part.kind != "trials" and bool(np.isnan(values).any())
    return replace(part, masked=part.masked or missing)


def _fit_embedded(key, part: Part, z, values: np.ndarray, choice) -> Embedded:
    """An embedding that starts as the linear fit of z from what its head looks at."""
    scaling = array_scaling(values.reshape(len(values), *part.shape), part)
    start = Embedded(scaling, _network(key, part, *choice), part)
    seen = in_chunks(start.summary, values)
    network = start.network.standardised(seen.mean(axis=0), seen.std(axis=0))
    seen = (seen - seen.mean(axis=0)) / (seen.std(axis=0) + 1e-6)
    away = (z - z.mean(axis=0)) / (z.std(axis=0) + 1e-12)
    matrix, offset, _ = ridge(np.asarray(away, np.float64), seen)
    return Embedded(scaling, network.started(matrix, offset), part)


def in_chunks(function, c: np.ndarray, size: int = 256) -> np.ndarray:
    """A function of one row of c (n, k) over all of them, as float64."""
    padded = np.concatenate([c, np.repeat(c[:1], -len(c) % size, axis=0)])
    chunks = np.split(padded, len(padded) // size)
    done = [np.asarray(_of_rows(function, _single(part))) for part in chunks]
    return np.concatenate(done)[: len(c)].astype(np.float64)


@eqx.filter_jit
def _of_rows(function, rows: ArrayLike) -> Array:
    return jax.vmap(function)(rows)
