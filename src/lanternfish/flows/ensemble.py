"""Several flows as one density: the mixture of its members in equal parts.

    q(z | c) = 1/M sum_m q_m(z | c)

Members of one structure differ by their first weights and by the order in which they saw the data.
Where they agree, q is what each says; where they do not, q is wider than each, and how much they
disagree is part of the result (Lakshminarayanan, Pritzel & Blundell 2017; Hermans et al. 2022).
"""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array

from lanternfish.flows.condition import Condition
from lanternfish.flows.conditional import Architecture, ConditionalFlow, empty


class Ensemble(eqx.Module):
    """A conditional density over vectors z (d,) given c (k,), of members of one structure."""

    arrays: ConditionalFlow
    structure: ConditionalFlow = eqx.field(static=True)
    size: int = eqx.field(static=True)

    def __init__(self, members: Sequence[ConditionalFlow]) -> None:
        parts = [eqx.partition(member, _is_array) for member in members]
        stack = lambda *leaves: jax.device_put(np.stack(leaves))  # noqa: E731  (compiles nothing)
        self.arrays = jax.tree.map(stack, *(arrays for arrays, _ in parts))
        self.structure, self.size = parts[0][1], len(parts)

    @property
    def condition(self) -> Condition:
        """How the first member sees a condition; the others see the same places of it."""
        return self.members()[0].condition

    def members(self) -> list[ConditionalFlow]:
        """The members, each by itself."""
        held = jax.tree.map(np.asarray, self.arrays)
        put = lambda i: lambda a: jax.device_put(a[i].copy())  # noqa: E731  (compiles nothing)
        alone = [jax.tree.map(put(i), held) for i in range(self.size)]
        return [eqx.combine(arrays, self.structure) for arrays in alone]

    def _each(self, function):
        """A function of a member, over all of them: one program for all."""
        return jax.lax.map(lambda a: function(eqx.combine(a, self.structure)), self.arrays)

    def of_members(self, z: Array, c: Array) -> Array:
        """log q_m(z_i | c_i) of rows z (n, d) for each member, shape (n, M).

        Args:
            c: rows (n, k), or one condition (k,) of all.
        """
        return self._each(lambda member: member.log_probs(z, c)).T

    def log_probs(self, z: Array, c: Array) -> Array:
        """log q(z_i | c_i) of rows, shape (n,)."""
        return jax.nn.logsumexp(self.of_members(z, c), axis=1) - jnp.log(self.size)

    def log_prob(self, z: Array, c: Array) -> Array:
        """log q(z | c) of one point."""
        return self.log_probs(z[None], c)[0]

    def sample(self, key: Array, c: Array) -> Array:
        """One draw from q(. | c), shape (d,)."""
        which, inner = jr.split(key)
        draws = self._each(lambda member: member.sample(inner, c))
        return draws[jr.randint(which, (), 0, self.size)]


def _is_array(leaf) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray)


def empty_ensemble(architecture: Architecture, dim: int, layout, size: int):
    """A flow, or an ensemble of several, to be filled with stored weights."""
    flow = empty(architecture, dim, layout)
    return flow if size == 1 else Ensemble([flow] * size)
