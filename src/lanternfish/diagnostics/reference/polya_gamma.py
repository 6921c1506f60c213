"""Gibbs sampling of logistic regression by Polya-Gamma augmentation: exact, without tuning.

    y_t ~ Bernoulli(1 / (1 + exp(-x_t' theta))),    theta ~ N(m, P^-1)

    omega_t | theta ~ PG(1, x_t' theta)
    theta | omega   ~ N(V (X'(y - 1/2) + P m), V),    V = (X' diag(omega) X + P)^-1

Reference: Polson, Scott & Windle (2013), J. Am. Stat. Assoc. 108:1339, equations 4 and 5.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from lanternfish.core import CorrelatedNormal, Prior
from lanternfish.core.seeds import check_seed, stream
from lanternfish.diagnostics.reference.samples import Reference, check_counts, needed, of_chains


def polya_gamma(
    prior: Prior,
    design: np.ndarray,
    spikes: np.ndarray,
    *,
    n: int = 5_000,
    chains: int = 2,
    warmup: int = 500,
    seed: int = 0,
) -> Reference:
    """Samples of the posterior of a Bernoulli generalised linear model.

    Args:
        prior: of one ``CorrelatedNormal`` law, whose parameters are the weights in order.
        design: a row x_t of regressors for each bin, (bins, d).
        spikes: 0 or 1 in each bin, (bins,).
        n: draws of each chain, kept after warm-up.
        chains: from draws of the prior.
        warmup: steps of each chain, thrown away.
        seed: of the chains.

    Raises:
        ValueError: if the prior is another, shapes differ, or spikes are not 0 and 1.
        ImportError: if polyagamma is not there.
    """
    draw = needed("polyagamma", "which draws Polya-Gamma variables").random_polyagamma
    check_counts(n=n, chains=chains, warmup=warmup)
    law = _normal_law(prior)
    design, spikes = np.asarray(design, np.float64), np.asarray(spikes, np.float64)
    _check(design, spikes, len(prior))
    precision = np.asarray(cho_solve((law.root, True), np.eye(len(prior))))
    pull = design.T @ (spikes - 0.5) + precision @ law.mean
    kept = np.empty((chains, n, len(prior)))
    starts = prior.sample(chains, seed=seed).array
    for chain in range(chains):
        rng = np.random.default_rng(stream(check_seed(seed), f"polya-gamma chain {chain}"))
        theta = starts[chain]
        for step in range(warmup + n):
            omega = draw(1.0, design @ theta, random_state=rng)
            root = cho_factor((design.T * omega) @ design + precision, lower=True)
            noise = solve_triangular(root[0], rng.normal(size=len(theta)), lower=True, trans=1)
            theta = cho_solve(root, pull) + noise
            if step >= warmup:
                kept[chain, step - warmup] = theta
    return of_chains(kept, prior.columns)


def _normal_law(prior: Prior) -> CorrelatedNormal:
    laws = prior.joint_laws
    if len(laws) != 1 or prior.named_laws or not isinstance(laws[0], CorrelatedNormal):
        raise ValueError(
            "Expected a prior of one CorrelatedNormal law, for which this sampler is exact; got "
            f"{prior!r:.80}: nuts samples any other."
        )
    return laws[0]


def _check(design: np.ndarray, spikes: np.ndarray, d: int) -> None:
    if design.ndim != 2 or design.shape[1] != d or spikes.shape != design.shape[:1]:
        raise ValueError(
            f"Expected a design (bins, {d}) and spikes (bins,); got {design.shape} and "
            f"{spikes.shape}."
        )
    if not np.isin(spikes, (0, 1)).all() or not np.isfinite(design).all():
        raise ValueError("Expected spikes of 0 and 1 and a finite design; got others.")
