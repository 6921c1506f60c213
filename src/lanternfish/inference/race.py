"""Which density to learn with: a short race, decided by held-out density.

Coupling splines and autoregressive splines each win on some problems: the posterior's shape
decides, not its dimension. Each candidate trains for a few hundred minibatches on the same pairs;
the one under which pairs that it has not seen are likelier goes on to the end. Of 10,000 pairs
autoregressive splines learned as well on one benchmark task (two_moons) and better on another
(slcp), and compiling a second candidate takes longer than training the first: of few pairs no race
is held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from lanternfish import flows
from lanternfish.inference.objectives import Pairs
from lanternfish.inference.training import Epoch, Training, train

SPLINE = flows.Architecture("spline")
AUTOREGRESSIVE = flows.Architecture("autoregressive", layers=3, depth=1)

_EPOCHS, _MINIBATCHES = 8, 400  # of a heat, at least


def race(
    candidates: Sequence[flows.Architecture],
    build: Callable[[flows.Architecture], flows.ConditionalFlow],
    pairs: Pairs,
    settings: Training,
    *,
    seed: int,
    tell: Callable[[Epoch], None],
) -> tuple[flows.Architecture, dict[str, float]]:
    """The candidate of the least held-out loss, and the losses by name (nats).

    Args:
        build: a flow of an architecture, to be trained.
    """
    settings = settings.for_pairs(len(pairs.z))
    an_epoch = max(1, round(len(pairs.z) * (1 - settings.held_out)) // (settings.batch or 1))
    heat = replace(settings, epochs=max(_EPOCHS, -(-_MINIBATCHES // an_epoch)))
    losses = []
    for candidate in candidates:
        _, curves = train(build(candidate), pairs, heat, seed=seed, tell=tell)
        losses.append(float(np.nanmin(curves["validation"])))
    named = {c.kind: loss for c, loss in zip(candidates, losses, strict=True)}
    return candidates[int(np.argmin(losses))], named
