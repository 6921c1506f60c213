"""Arrays of a module in a safetensors file, in the order of its structure."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lanternfish.core import DamagedFile, Folder


def write_weights(folder: Folder, name: str, module: eqx.Module) -> None:
    """Store the arrays of a module."""
    leaves = jax.tree.leaves(eqx.filter(module, eqx.is_array))
    folder.write_weights(name, {f"{i:04d}": np.asarray(leaf) for i, leaf in enumerate(leaves)})


def read_weights(folder: Folder, name: str, like):
    """``like`` with the arrays of a file, which may lack those without numbers.

    Raises:
        ValueError: if the file is damaged or holds the arrays of another module.
    """
    weights = folder.read_weights(name)
    arrays, rest = eqx.partition(like, eqx.is_array)
    shapes, structure = jax.tree.flatten(arrays)
    try:
        leaves = [
            jnp.asarray(weights[f"{i:04d}"]).reshape(a.shape) if a.size else a
            for i, a in enumerate(shapes)
        ]
    except (KeyError, TypeError) as error:
        raise DamagedFile(
            f"Expected the weights of this posterior in {name} of {folder.url}; got others "
            f"({error}): the file belongs to another run."
        ) from None
    return eqx.combine(jax.tree.unflatten(structure, leaves), rest)
