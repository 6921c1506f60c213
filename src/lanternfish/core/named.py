"""``Named``: the parameters of one simulation, by name and as one vector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array


@jax.tree_util.register_pytree_node_class
class Named(Mapping):
    """A vector of parameters that reads like a dictionary.

    A JAX simulator that takes ``theta["a"]`` need not know. One with hundreds of parameters takes
    ``theta.vector``, whose gradient is one array and not the sum of hundreds.

    Args:
        vector: shape (d,).
        names: d of them.
    """

    def __init__(self, vector: Array, names: Sequence[str]) -> None:
        self.vector = vector
        self.names = tuple(names)
        self._places = {name: i for i, name in enumerate(self.names)}

    def __getitem__(self, name: str) -> Array:
        return self.vector[self._places[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __or__(self, other: Mapping) -> dict:
        return {**self, **other}

    def __ror__(self, other: Mapping) -> dict:
        return {**other, **self}

    def tree_flatten(self) -> tuple[tuple[Array], tuple[str, ...]]:
        return (self.vector,), self.names

    @classmethod
    def tree_unflatten(cls, names: tuple[str, ...], leaves: tuple[Array]) -> Named:
        return cls(leaves[0], names)


def vector_of(theta: Mapping[str, Array], names: Sequence[str]) -> Array:
    """The parameters of these names, in their order, shape (d,)."""
    if isinstance(theta, Named) and theta.names == tuple(names):
        return theta.vector
    return jnp.stack([jnp.asarray(theta[name]) for name in names])
