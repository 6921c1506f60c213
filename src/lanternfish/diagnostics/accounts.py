"""Checks that need no simulation: what the posterior and the run's history say of themselves.

    support    posterior draws lie inside the prior's bounds
    ensemble   flows that were trained apart say the same
    samples    accepted samples are worth enough independent ones
    chains     Markov chains do not move any more
    rounds     the last round brought little

Each holds a number against a limit that is stated here; only ``chains`` is a test, of a paired
difference whose mean is 0 where chains have converged.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import f as f_law

from lanternfish.core import Posterior
from lanternfish.core.checks import Check
from lanternfish.core.run import Run
from lanternfish.core.seeds import mix, stream

LEAK = 0.001  # share of draws outside of the prior's bounds
NATS = 0.25  # disagreement of an ensemble
WORTH = 100  # effective samples
GAIN = 0.25  # nats that the last round may have brought, beyond two standard errors
_DRAWS = 2_000
_CHAINS = 500


class LeftOut(ValueError):
    """Why a check is not made of this run."""


def support(posterior: Posterior, seed: int) -> Check:
    """Whether the posterior keeps to the prior's bounds."""
    drawn = posterior.sample(_DRAWS, seed=stream(seed, "support")).array
    inside = posterior.prior.contains(drawn)
    outside = float(np.mean(~inside))
    low, high = posterior.prior.low, posterior.prior.high
    beyond = np.mean((drawn < low) | (drawn > high), axis=0)
    told = f"{_DRAWS:,} posterior draws lie inside the prior's bounds"
    if outside > 0:
        worst = posterior.parameters[int(np.argmax(beyond))].name
        told = (
            f"{100 * outside:.3g} % of {_DRAWS:,} posterior draws lie outside of the prior's "
            f"bounds, most in {worst}"
        )
    return Check(
        "support",
        outside <= LEAK,
        f"{told}.",
        "The posterior leaks: its density inside the bounds is too low. Build it in the prior's "
        "unbounded space, as our methods do, or reject draws outside and divide the density.",
        {"outside": outside, "limit": LEAK},
        picture={
            "kind": "bars",
            "names": [c.name for c in posterior.parameters],
            "values": beyond.tolist(),
            "limit": LEAK,
            "label": "share of draws outside of the prior",
        },
    )


def ensemble(run: Run, posterior: Any, seed: int) -> Check:
    """Whether members that were trained apart agree: of an ensemble, or those of EPI."""
    members = getattr(posterior, "members", 1)
    if members > 1 and hasattr(posterior, "disagreement"):
        nats, told = posterior.disagreement(seed=stream(seed, "disagreement")), "of the ensemble"
    else:
        members, nats = _of_property(run)
        told = "that have the property"
    return Check(
        "ensemble",
        nats <= NATS,
        f"The {members} members {told} disagree by {nats:.3f} nats, of at most "
        f"{np.log(members):.2f}; {NATS} are let pass.",
        "What one training finds another does not: more simulations make members of an ensemble "
        "agree, a longer loop those of EPI.",
        {"nats": nats, "members": members, "limit": NATS},
        picture={
            "kind": "bars", "names": ["disagreement"], "values": [nats], "limit": NATS,
            "label": f"nats, of at most {np.log(members):.2f}",
        },
    )  # fmt: skip


def _of_property(run: Run) -> tuple[int, float]:
    """How many members of EPI have the property, and how much they disagree, as they told."""
    found = list(run.history.get("members", []))
    if len(found) < 2:
        more = "EPI(members=3) trains three" if "convergence" in run.checks else None
        more = more or "NPE(members=3) trains an ensemble of three"
        raise LeftOut(f"there is one density, with none to compare it with; {more}")
    proven = sum(bool(member["proven"]) for member in found)
    nats = run.history.get("disagreement")
    if proven < 2 or nats is None:
        raise LeftOut(
            f"{proven} of {len(found)} members {'has' if proven == 1 else 'have'} the property, "
            "and it takes two to compare: train longer, or another seed"
        )
    return proven, float(nats)


def samples(posterior: Any) -> Check:
    """Whether accepted samples are worth enough."""
    worth = getattr(posterior, "effective", None)
    if worth is None:
        raise LeftOut("the posterior is no set of weighted samples: its draws are independent")
    return Check(
        "samples",
        worth >= WORTH,
        f"The posterior's {len(posterior.weight):,} weighted samples are worth {worth:,.0f} "
        f"independent ones; {WORTH} are asked for.",
        "Accept more simulations: a larger budget, or a larger quantile.",
        {"effective": worth, "samples": len(posterior.weight), "limit": WORTH},
        picture={
            "kind": "bars", "names": ["effective samples"], "values": [worth], "limit": WORTH,
            "label": "samples",
        },
    )  # fmt: skip


def chains(posterior: Any, seed: int) -> Check:
    """Whether chains that go on stay where they are: Hotelling's test of the paired difference."""
    pool = getattr(posterior, "pool", None)
    if pool is None or not hasattr(posterior, "chains"):
        raise LeftOut("no Markov chain was run")
    starts = np.asarray(pool)[:_CHAINS]
    n, d = starts.shape
    if n < d + 10:
        raise LeftOut(f"only {n} chains were kept, too few to compare {d} parameters")
    words = mix(np.uint64(stream(seed, "chains")) + np.arange(n, dtype=np.uint64))
    ends = posterior.chains(starts, words)
    sd = starts.std(axis=0) + 1e-12
    moved = np.concatenate([(ends - starts) / sd, (ends**2 - starts**2) / sd**2], axis=1)
    if n < 2 * moved.shape[1]:
        moved = moved[:, :d]
    k = moved.shape[1]
    root = np.linalg.pinv(np.cov(moved.T) + 1e-9 * np.eye(k))
    square = float(n * moved.mean(axis=0) @ root @ moved.mean(axis=0))
    p = float(f_law.sf(square * (n - k) / (k * (n - 1)), k, n - k))
    drift = np.abs((ends - starts).mean(axis=0) / sd)
    worst = posterior.parameters[int(np.argmax(drift))].name
    return Check(
        "chains",
        True,
        f"{n} chains that went on moved their mean by at most {drift.max():.2f} standard "
        f"deviations, in {worst}.",
        "Chains have not arrived: run the study with more simulations, or check the model's "
        "posterior for far-apart modes.",
        {"chains": n, "drift": dict(zip(
            (c.name for c in posterior.parameters), drift.tolist(), strict=True))},
        p,
        picture={
            "kind": "bars", "names": [c.name for c in posterior.parameters],
            "values": drift.tolist(), "limit": None, "label": "drift of the mean, sd",
        },
    )  # fmt: skip


def rounds(run: Run) -> Check:
    """Whether the last round brought little, so that more would bring little."""
    entries = list(run.history.get("rounds", []))
    if len(entries) < 2:
        raise LeftOut("there was one round")
    gains = [entry.get("gain") for entry in entries]
    if gains[-1] is None:
        if entries[-1].get("collapsed"):
            told = "The last round left too few valid simulations to learn from."
            advice = "Give each round more simulations."
            return Check("rounds", False, told, advice, {"gains": gains})
        raise LeftOut("rounds were not compared on simulations held out")
    gain, error = float(gains[-1]), float(entries[-1].get("gain_error") or 0.0)
    back = bool(entries[-1].get("reverted"))
    sure = gain - 2 * error
    told = (
        f"The last of {len(entries)} rounds made what it had not seen {gain:+.2f} ± {error:.2f} "
        f"nats likelier{', so the one before was kept' if back else ''}; {GAIN} are let pass."
    )
    return Check(
        "rounds",
        sure <= GAIN,
        told,
        "The posterior still moves: give more rounds or a larger budget.",
        {"gains": gains, "error": error, "limit": GAIN},
        picture={
            "kind": "bars",
            "names": [f"round {i}" for i in range(1, len(gains) + 1)],
            "values": gains,
            "limit": GAIN,
            "label": "gain over the round before, nats",
        },
    )


def proven(run: Run) -> Check:
    """What EPI's own equivalence test found."""
    found = run.checks.get("convergence")
    if found is None:
        raise LeftOut("the method proves nothing of itself")
    return Check(
        "convergence",
        bool(found["passed"]),
        found["sentence"],
        "Another seed, members=3 or more steps may converge; where the same moment stays off, no "
        "distribution in the prior may have the property.",
    )
