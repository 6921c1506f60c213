"""The pictures of a run: ``figures/*.png`` in its folder."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lanternfish.cli.console import say, sentence

if TYPE_CHECKING:
    from lanternfish.core import Model, Table
    from lanternfish.core.run import Run
    from lanternfish.diagnostics import PredictiveCheck

CIRCUITS = 4  # posterior samples whose traces are drawn


def missing(run: Run, model: Model, folder: Path) -> list[str]:
    """Pictures that a run of this model should have and that are not in its folder."""
    trained = any(entry.get("train") for entry in run.history.get("rounds", []))
    names = ["pair.png", *(["training.png"] if trained else []), "predictive.png"]
    names += ["optimisation.png"] if run.history.get("curves") else []
    names += [] if model.traces is None else ["traces.png"]
    return [name for name in names if not (folder / "figures" / name).is_file()]


def draw(
    run: Run, model: Model, samples: Table, check: PredictiveCheck | None, folder: Path
) -> None:
    """Draw what is not there yet. A picture that cannot be drawn costs one sentence."""
    pictures: dict[str, Callable] = {
        "pair.png": lambda: _pair(run, samples),
        "training.png": lambda: _training(run),
        "optimisation.png": lambda: _optimisation(run),
    }
    if check is not None and check.simulations.valid.any():
        pictures["predictive.png"] = lambda: _predictive(run, check)
    if check is not None and model.traces is not None:
        pictures["traces.png"] = lambda: _traces(run, model, check)
    absent = [name for name in pictures if name in missing(run, model, folder)]
    try:
        import matplotlib  # noqa: F401  (asked for once, before four pictures fail alike)
    except ImportError:
        if absent:
            say(f"No pictures ({', '.join(absent)}): pip install 'lanternfish[plot]' to have them.")
        return
    from lanternfish import plot

    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for name in absent:
        try:
            plot.save(pictures[name](), str(folder / "figures" / name))
        except (ValueError, TypeError, RuntimeError) as error:
            say(f"No picture {name}: {sentence(error)}", "yellow")


def _pair(run: Run, samples: Table):
    from lanternfish import plot

    return plot.pair(samples, prior=run.posterior.prior)


def _training(run: Run):
    from lanternfish import plot

    return plot.training(run.history)


def _optimisation(run: Run):
    """Entropy and constraints of the member that was kept, in units of what is near enough.

    The levels of an annealed population come first; it has an entropy once its base measure is
    that of the property.
    """
    from lanternfish import plot

    member = run.history.get("member", 0)
    levels = run.history.get("annealed", {}).get("levels", [])
    epochs = [
        {kind: epoch[kind][member] for kind in ("entropy", "mean", "variance")}
        for epoch in run.history["curves"]
    ]
    entropies = [level["entropy"] if level.get("base") == 1 else float("nan") for level in levels]
    entropies += [epoch["entropy"] for epoch in epochs]
    bound = run.checks.get("entropy", {})
    near = run.method["tolerance"]
    residuals = {
        f"{kind} of {name}": [(point[kind][i] - met) / near[kind] for point in levels + epochs]
        for i, name in enumerate(run.posterior.target)
        for kind, met in (("mean", 0.0), ("variance", 1.0))
    }
    return plot.optimisation(
        entropies,
        residuals,
        largest=None if bound.get("low") is None else (bound["low"], bound["high"]),
    )


def _predictive(run: Run, check: PredictiveCheck):
    from lanternfish import plot

    return plot.predictive(check.x, run.posterior.target)


def _traces(run: Run, model: Model, check: PredictiveCheck):
    """The first samples that are valid, in the order of their drawing: not the best ones."""
    import numpy as np

    from lanternfish import plot

    valid = np.flatnonzero(check.simulations.valid)
    rows = valid[:CIRCUITS] if len(valid) else np.arange(min(CIRCUITS, len(check.theta)))
    seen = check.simulations[rows]
    traces = model.traces(seen.theta.array, seen.seeds)
    titles = [
        f"posterior sample {row + 1}" + (", matches" if check.matching[row] else "") for row in rows
    ]
    return plot.traces(traces, titles=titles, observation_text=_measured(run))


def _measured(run: Run) -> str:
    """The measured statistics, or the wanted ones, in words; lines break between them only."""
    from lanternfish.core import EmergentProperty

    target = run.posterior.target
    wanted = isinstance(target, EmergentProperty)
    words = []
    for column in run.posterior.statistics:
        if column.name in target:
            value = target[column.name]
            told = f"{value.mean:.4g} ± {value.sd:.4g}" if wanted else column.in_words(value, 4)
            words.append(f"{column.name.replace('_', ' ')} {told} {column.unit}".rstrip())
    whole = ", ".join(word.replace(" ", "\N{NO-BREAK SPACE}") for word in words)
    return textwrap.fill(f"{'wanted' if wanted else 'measured'}: {whole}", 105)
