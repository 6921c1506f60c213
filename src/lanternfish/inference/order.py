"""The order in which a member sees its pairs: another one each epoch, the same for the same seed.

Where the pairs fit a window, an epoch is one permutation of them. Where they are more, they lie on
disk, and rows that are read one by one from all over a disk are slow to come: windows of
neighbouring rows are then visited in random order, and the rows of a window in random order, so
that reads stay together while a minibatch is still a mixture. Simulations have no order of their
own, so nothing is lost by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_WINDOW = 2**20  # rows


@dataclass(frozen=True)
class Order:
    """Orders of some rows.

    Attributes:
        rows: to be visited, rising, (n,).
        seed: of the member.
        window: rows that are mixed with each other.
    """

    rows: np.ndarray
    seed: int
    window: int = _WINDOW

    def epoch(self, number: int, batches: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the minibatches of an epoch, and which of them are real, (batches, batch) each.

        Where there are fewer rows than one minibatch takes, the rest of it is not real.
        """
        rng = np.random.default_rng([self.seed % 2**63, number])
        n = len(self.rows)
        places = self._permutation(rng, n)
        wanted = batches * batch
        real = np.arange(wanted) < n
        shape = (batches, batch)
        return self.rows[np.resize(places, wanted)].reshape(shape), real.reshape(shape)

    def _permutation(self, rng: np.random.Generator, n: int) -> np.ndarray:
        if n <= self.window:
            return rng.permutation(n)
        edges = np.arange(0, n, self.window)
        parts = [a + rng.permutation(min(self.window, n - a)) for a in rng.permutation(edges)]
        return np.concatenate(parts)
