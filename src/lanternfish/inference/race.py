"""Which density to learn with: a short race, decided by held-out density.

Coupling splines, autoregressive splines, masked autoregressive flows and mixtures of Gaussians each
win on some problems: the posterior's shape decides, not its dimension. Each candidate trains for a
few epochs on the same pairs, at most 50,000; the one under which pairs that it has not seen are
likelier goes on to the end. Of 10,000 pairs autoregressive splines learned as well on one benchmark
task (two_moons) and better on another (slcp), and compiling a second candidate takes longer than
training the first: of few pairs no race is held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import jax
import numpy as np

from lanternfish import flows
from lanternfish.inference.objectives import Pairs
from lanternfish.inference.training import Epoch, Training, train

SPLINE = flows.Architecture("spline")
_EPOCHS, _MINIBATCHES = 8, 400  # of a heat, at least
_MOST = 50_000  # pairs that a heat learns from, of more every k-th
_FEW = 12  # parameters that the narrower network is wide enough for
_LITTLE = 5_000  # simulations from which three layers are enough


def autoregressive(parameters: int, simulations: int = _MOST) -> flows.Architecture:
    """The default of few pairs: each unit of its networks sees some of the parameters.

    For few parameters a narrower one learned as well on the benchmark's tasks, in less time. From
    few simulations five layers learn more than three: with 4,000 of them, .02 nats (two moons) and
    .1 (slcp), and coverage of thin posteriors is nearer to what it says.
    """
    width, bins = (48, 6) if parameters <= _FEW else (64, 8)
    layers = 5 if simulations < _LITTLE else 3
    return flows.Architecture("autoregressive", layers=layers, width=width, depth=1, bins=bins)


def candidates(parameters: int) -> tuple[flows.Architecture, ...]:
    """Who races for a posterior of so many parameters."""
    others = flows.Architecture("maf"), flows.Architecture("mixture")
    return SPLINE, autoregressive(parameters), *others


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

    Raises:
        FloatingPointError: if none has a finite held-out loss; one that has not is out.
    """
    rows = np.linspace(0, len(pairs.z) - 1, min(len(pairs.z), _MOST)).astype(int)
    pairs = jax.tree.map(lambda a: np.asarray(a[rows]), pairs)
    settings = settings.for_pairs(len(rows))
    an_epoch = max(1, round(len(rows) * (1 - settings.held_out)) // (settings.batch or 1))
    heat = replace(settings, epochs=max(_EPOCHS, -(-_MINIBATCHES // an_epoch)))
    losses: dict[flows.Architecture, float] = {}
    for candidate in candidates:
        try:
            _, curves = train(build(candidate), pairs, heat, seed=seed, tell=tell)
        except FloatingPointError:
            if candidate is candidates[-1] and not losses:
                raise
            continue
        losses[candidate] = float(np.nanmin(curves["validation"]))
    return min(losses, key=lambda c: losses[c]), {c.kind: loss for c, loss in losses.items()}
