"""``Prior``: named, bounded, unit-bearing parameters and their distribution.

A prior is a product of laws of one parameter (``laws``) and of several (``joint``). Its
``bijection`` maps unbounded space onto the support, so that a density built there can lose nothing
to the bounds.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flowjax.bijections import AbstractBijection
from jaxtyping import Array, ArrayLike

from lanternfish.core import joint, laws
from lanternfish.core.columns import Column, as_columns
from lanternfish.core.compilation import fast_jit
from lanternfish.core.joint import JointLaw
from lanternfish.core.laws import Law
from lanternfish.core.seeds import simulation_seeds
from lanternfish.core.table import Table, as_table

_BLOCK = 4096  # draws per compiled call: bounds the memory, and one shape is compiled once


class Prior:
    """Distribution of named parameters.

    >>> import lanternfish as lf
    >>> prior = lf.Prior(g=lf.Uniform(0, 2, unit="mS/cm2"), tau=lf.LogUniform(1, 100, unit="ms"))
    >>> prior.names
    ('g', 'tau')

    Args:
        *joint_laws: laws of several parameters, such as ``CorrelatedNormal``.
        **named_laws: one law for each further parameter.

    Raises:
        ValueError: if there is no parameter, or a name comes twice.
        TypeError: if something else than a law is given.
    """

    def __init__(self, *joint_laws: JointLaw, **named_laws: Law) -> None:
        for law in joint_laws:
            if not isinstance(law, JointLaw):
                raise TypeError(
                    f"Expected laws of several parameters before the named ones; got {law!r}: "
                    "give a law of one parameter by its name, such as Prior(a=Uniform(0, 1))."
                )
        for name, law in named_laws.items():
            if not isinstance(law, Law):
                raise TypeError(f"Expected a law such as Uniform(0, 1) for {name}; got {law!r}.")
        self.joint_laws = joint_laws
        self.named_laws = dict(named_laws)
        columns = [c for law in joint_laws for c in law.columns]
        columns += [Column(name, law.unit, law.label) for name, law in named_laws.items()]
        self.columns = as_columns(columns)
        arrays = [c.name for c in self.columns if c.is_array]
        if arrays:
            raise ValueError(f"Expected parameters that are numbers; got arrays: {arrays[0]}.")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    @cached_property
    def low(self) -> np.ndarray:
        """Lower bounds, shape (d,); minus infinity where there is none."""
        ends = [law.low for law in (*self.joint_laws, *self.named_laws.values())]
        return np.concatenate([np.atleast_1d(np.asarray(e, np.float64)) for e in ends])

    @cached_property
    def high(self) -> np.ndarray:
        """Upper bounds, shape (d,); infinity where there is none."""
        ends = [law.high for law in (*self.joint_laws, *self.named_laws.values())]
        return np.concatenate([np.atleast_1d(np.asarray(e, np.float64)) for e in ends])

    @property
    def has_density(self) -> bool:
        """Whether ``log_prob`` is known."""
        return all(law.has_density for law in self.joint_laws)

    @cached_property
    def bijection(self) -> PriorBijection:
        """Unbounded space (d,) to the support, a FlowJAX bijection."""
        return PriorBijection(self._blocks, len(self))

    @cached_property
    def _blocks(self) -> tuple[_Block, ...]:
        """Joint laws one by one; scalar laws of one kind stacked, to be evaluated together."""
        blocks, start = [], 0
        for law in self.joint_laws:
            stop = start + len(law.columns)
            blocks.append(_Block(law, tuple(range(start, stop))))
            start = stop
        kinds: dict[type, list[int]] = {}
        scalar = list(self.named_laws.values())
        for i, law in enumerate(scalar):
            kinds.setdefault(type(law), []).append(i)
        for members in kinds.values():
            law = _stack([scalar[i] for i in members])
            blocks.append(_Block(law, tuple(start + i for i in members)))
        return tuple(blocks)

    def sample(self, n: int, seed: int = 0) -> Table:
        """``n`` independent draws. Draw i depends on the seed and i alone."""
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
            raise ValueError(f"Expected a whole number n of at least 0; got {n!r}.")
        return Table(self.sample_at(simulation_seeds(seed, 0, n)), self.columns)

    def sample_at(self, seeds: np.ndarray) -> np.ndarray:
        """The draws that belong to simulations with these seeds (n,) uint64; shape (n, d)."""
        rows = [np.zeros((0, len(self)))]
        for start in range(0, len(seeds), _BLOCK):
            part = seeds[start : start + _BLOCK]
            padded = np.zeros(_BLOCK if len(seeds) > 256 else 256, np.uint64)
            padded[: len(part)] = part
            drawn = np.asarray(_draw(self._blocks, len(self), key_data(padded)), np.float64)
            rows.append(drawn[: len(part)])
        return self._held(np.concatenate(rows))

    def quantile(self, u: np.ndarray) -> np.ndarray:
        """Points of the support of places u in the unit cube, (n, d) each, in float64.

        Places that are uniform give draws of the prior; midpoints of a grid give a grid whose cells
        all hold the same share of it.

        Raises:
            ValueError: if a law has no quantiles (``Custom``, ``FromSamples``).
        """
        u = np.asarray(u, np.float64)
        if u.ndim != 2 or u.shape[1] != len(self):
            raise ValueError(f"Expected places of shape (n, {len(self)}); got {u.shape}.")
        parts, start = [np.zeros((len(u), 0))], 0
        for law in self.joint_laws:
            stop = start + len(law.columns)
            parts.append(law.quantile(u[:, start:stop]))
            start = stop
        for i, law in enumerate(self.named_laws.values(), start=start):
            parts.append(law.quantile(u[:, i : i + 1]))
        return np.clip(np.concatenate(parts, axis=1), self.low, self.high)

    def _held(self, drawn: np.ndarray) -> np.ndarray:
        """Draws held inside the bounds that float32 rounding passed; more is the law's mistake."""
        slack = 1e-6 * np.maximum(np.abs(self.low), np.abs(self.high))
        slack = np.where(np.isfinite(slack), slack, 0.0)
        wrong = ~((drawn >= self.low - slack) & (drawn <= self.high + slack) & np.isfinite(drawn))
        if wrong.any():
            row, i = np.argwhere(wrong)[0]
            raise ValueError(
                f"Expected draws of {self.names[i]} between {self.low[i]:.6g} and "
                f"{self.high[i]:.6g}; got {drawn[row, i]:.6g} in draw {row}: correct the bounds or "
                "the sample function of its law."
            )
        return np.clip(drawn, self.low, self.high)

    def log_prob(self, theta) -> np.ndarray:
        """Log density, shape (n,); minus infinity outside the support.

        Args:
            theta: a table, a mapping of names, or an array of shape (n, d) or (d,).

        Raises:
            ValueError: if a law has no density, or theta does not fit.
        """
        if not self.has_density:
            raise ValueError(joint.NO_DENSITY)
        array = as_table(theta, self.columns, "theta").array
        inside = np.all((array >= self.low) & (array <= self.high), axis=1)
        held = np.clip(array, self.low, self.high)
        value = np.asarray(_density(self._blocks, jnp.asarray(held)), np.float64)
        return np.where(inside, value, -np.inf)

    def log_density(self, theta: Array) -> Array:
        """Log density of one point (d,), for use inside JAX programs."""
        return _log_density(self._blocks, theta)

    def contains(self, theta) -> np.ndarray:
        """Which rows lie inside the bounds, shape (n,)."""
        array = as_table(theta, self.columns, "theta").array
        return np.all((array >= self.low) & (array <= self.high), axis=1)

    def check_inside(self, theta) -> Table:
        """The same as a table, or one sentence that names the first parameter out of bounds."""
        table = as_table(theta, self.columns, "theta")
        outside = (table.array < self.low) | (table.array > self.high) | np.isnan(table.array)
        if outside.any():
            row, i = np.argwhere(outside)[0]
            raise ValueError(
                f"Expected {self.names[i]} between {self.low[i]:.6g} and {self.high[i]:.6g}, the "
                f"prior's bounds; got {table.array[row, i]:.6g} in row {row}."
            )
        return table

    def to_dict(self) -> dict:
        """A description that ``from_dict`` reads back; a user's own law is named, not stored."""
        return {
            "joint": [_describe_joint(law) for law in self.joint_laws],
            "named": {name: _describe(law) for name, law in self.named_laws.items()},
        }

    @classmethod
    def from_dict(cls, description: dict) -> Prior:
        """The prior that ``to_dict`` described.

        Raises:
            ValueError: if it holds a user's own law, which is code and not stored.
        """
        joint_laws = [_read_joint(d) for d in description["joint"]]
        return cls(*joint_laws, **{n: _read(d) for n, d in description["named"].items()})

    def __repr__(self) -> str:
        lines = [f"  {name} = {_sentence(law)}" for name, law in self.named_laws.items()]
        for law in self.joint_laws:
            lines.append(f"  {', '.join(c.name for c in law.columns)}: {type(law).__name__}")
        return "\n".join([f"Prior of {len(self)} parameters", *lines])


def key_data(seeds: np.ndarray) -> np.ndarray:
    """JAX key words, shape (n, 2) uint32, of 64-bit seeds."""
    seeds = np.asarray(seeds, np.uint64)
    halves = [seeds >> np.uint64(32), seeds & np.uint64(0xFFFFFFFF)]
    return np.stack(halves, axis=1).astype(np.uint32)


class _Block(eqx.Module):
    """One law, or several of one kind, and the places of its parameters in theta."""

    law: Law | JointLaw
    places: tuple[int, ...] = eqx.field(static=True)

    def sample(self, key):
        if isinstance(self.law, JointLaw):
            return self.law.sample(key)
        return self.law.sample(key, (len(self.places),))

    def log_prob(self, theta):
        return jnp.sum(self.law.log_prob(theta))

    def constrain(self, z):
        if isinstance(self.law, JointLaw):
            return self.law.constrain(z)
        return self.law.constrain(z), jnp.sum(self.law.log_det(z))


def _stack(members: list[Law]) -> Law:
    """One law whose parameters are arrays, from laws of one kind."""
    bare = [_bare(m) for m in members]
    return jax.tree.map(lambda *leaves: np.asarray(leaves, np.float32), *bare)


def _bare(law: Law) -> Law:
    """The law without unit and label, so that laws of one kind share their structure."""
    fields = {k: v for k, v in vars(law).items() if k not in ("unit", "label")}
    return type(law)(**fields)


def _places(blocks) -> np.ndarray:
    """Where each coordinate of theta stands in the concatenation of the blocks."""
    return np.argsort(np.concatenate([np.asarray(b.places) for b in blocks]))


@partial(fast_jit, brief=True)
def _draw(blocks, d: int, words: ArrayLike) -> Array:
    def one(word):
        key = jax.random.wrap_key_data(word, impl="threefry2x32")
        keys = jax.random.split(jax.random.fold_in(key, 0), len(blocks))
        parts = [b.sample(k) for b, k in zip(blocks, keys, strict=True)]
        return jnp.concatenate(parts)[_places(blocks)]

    return jax.vmap(one)(words)


def _log_density(blocks, theta: Array) -> Array:
    parts = [b.log_prob(theta[np.asarray(b.places)]) for b in blocks]
    return sum(parts, start=jnp.zeros(()))


@eqx.filter_jit
def _density(blocks, theta: Array) -> Array:
    return jax.vmap(partial(_log_density, blocks))(theta)


class PriorBijection(AbstractBijection):
    """From unbounded space to the prior's support."""

    blocks: tuple[_Block, ...]
    shape: tuple[int, ...]
    cond_shape: None = None

    def __init__(self, blocks: tuple[_Block, ...], d: int) -> None:
        self.blocks = blocks
        self.shape = (d,)

    def transform_and_log_det(self, x: Any, condition=None):
        parts = [b.constrain(x[np.asarray(b.places)]) for b in self.blocks]
        theta = jnp.concatenate([p[0] for p in parts])[_places(self.blocks)]
        return theta, sum(p[1] for p in parts)

    def inverse_and_log_det(self, y: Any, condition=None):
        parts = [b.law.unconstrain(y[np.asarray(b.places)]) for b in self.blocks]
        slopes = [b.constrain(z)[1] for b, z in zip(self.blocks, parts, strict=True)]
        return jnp.concatenate(parts)[_places(self.blocks)], -sum(slopes)


def _describe(law: Law) -> dict:
    values = {k: v if isinstance(v, str) else float(v) for k, v in vars(law).items()}
    return {"law": type(law).__name__, **values}


def _sentence(law: Law) -> str:
    given = {k: v for k, v in vars(law).items() if k not in ("unit", "label")}
    inside = ", ".join(f"{v:.6g}" for v in given.values())
    return f"{type(law).__name__}({inside}) {law.unit}".rstrip()


def _read(description: dict) -> Law:
    fields = {k: v for k, v in description.items() if k != "law"}
    return _named_class(laws, description["law"], Law)(**fields)


def _describe_joint(law: JointLaw) -> dict:
    columns = [[c.name, c.unit, c.label] for c in law.columns]
    described = {"law": type(law).__name__, "columns": columns}
    if isinstance(law, joint.CorrelatedNormal):
        described |= {"mean": law.mean.tolist(), "covariance": (law.root @ law.root.T).tolist()}
    if isinstance(law, joint.FromSamples):
        described |= {
            "samples": law.given.tolist(),
            "low": [v if np.isfinite(v) else None for v in law.minimum.tolist()],
            "high": [v if np.isfinite(v) else None for v in law.maximum.tolist()],
        }
    return described


def _read_joint(description: dict) -> JointLaw:
    kind = _named_class(joint, description["law"], JointLaw)
    if kind is joint.Custom:
        names = ", ".join(c[0] for c in description["columns"])
        raise ValueError(
            f"Expected the model to be given, because the law of {names} is a user's own code that "
            "a folder does not hold; got none: load with model=your_model."
        )
    fields = {k: v for k, v in description.items() if k not in ("law", "columns")}
    return kind([Column(*c) for c in description["columns"]], **fields)


def _named_class(module, name: str, base: type) -> type:
    kind = getattr(module, name, None)
    if not (isinstance(kind, type) and issubclass(kind, base)):
        raise ValueError(f"Expected a law of this version; got {name}: update lanternfish.")
    return kind
