"""The state of a training loop in a folder, so that an interrupted loop goes on with the same bits.

The arrays of a state are one file, named after the step; ``training.json`` names the file that
counts and is written after it, so that a reader meets the old state or the new one, whole.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from lanternfish.core import Folder

_NOTE = "training.json"


def kept(folder: Folder) -> bool:
    """Whether the folder holds a state."""
    return folder.exists(_NOTE)


def write(folder: Folder, state: Any, step: int, note: dict) -> None:
    """Keep the arrays of a state in place of those kept before, and a note in JSON beside them."""
    leaves = {str(i): np.atleast_1d(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
    name = f"training-{step:07d}.safetensors"
    before = [n for n in folder.names() if n.startswith("training-") and n != name]
    folder.write_weights(name, leaves)
    folder.write_json(_NOTE, {"state": name} | note)
    for old in before:
        folder.remove(old)


def read(folder: Folder, like: Any) -> tuple[Any, dict]:
    """The state that is kept, as NumPy arrays in the structure and shapes of ``like``; the note."""
    note = folder.read_json(_NOTE)
    leaves = folder.read_weights(note["state"])
    shapes, structure = jax.tree.flatten(like)
    arrays = [np.asarray(leaves[str(i)]).reshape(np.shape(leaf)) for i, leaf in enumerate(shapes)]
    return jax.tree.unflatten(structure, arrays), note
